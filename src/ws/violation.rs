//! Violations of RFC 6455 that can be seen in frames.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A violation of RFC 6455 in the frames of one direction.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Violation {
    /// A client's frame without a mask (section 5.1).
    Unmasked,
    /// A server's frame with a mask (section 5.1).
    Masked,
    /// An RSV bit to which no agreed extension gives a meaning (section 5.2).
    Rsv,
    /// An opcode that is not defined (section 5.2).
    ReservedOpcode,
    /// A control frame of more than 125 bytes (section 5.5).
    ControlTooLong,
    /// A control frame without FIN (section 5.5).
    ControlFragmented,
    /// A length not in its shortest form (section 5.2).
    NonMinimalLength,
    /// A 64-bit length with its top bit set (section 5.2); sync is lost.
    LengthMsb,
    /// A continuation without an unfinished message (section 5.4).
    UnexpectedContinuation,
    /// A new data message before the last one was finished (section 5.4).
    InterleavedData,
    /// A frame after the Close frame (section 5.5.1).
    DataAfterClose,
    /// Text, or a close reason, that is not UTF-8 (sections 5.6 and 7.1.6).
    InvalidUtf8,
    /// A close code that must not be on the wire (section 7.4).
    InvalidCloseCode,
    /// A Close body of exactly one byte (section 5.5.1).
    #[serde(rename = "close_body_1", alias = "close_body1")]
    CloseBody1,
}

impl Violation {
    /// Number of kinds; for counters indexed by kind.
    pub const COUNT: usize = 14;

    /// Every kind, in the order of its discriminant.
    pub const ALL: [Self; Self::COUNT] = [
        Self::Unmasked,
        Self::Masked,
        Self::Rsv,
        Self::ReservedOpcode,
        Self::ControlTooLong,
        Self::ControlFragmented,
        Self::NonMinimalLength,
        Self::LengthMsb,
        Self::UnexpectedContinuation,
        Self::InterleavedData,
        Self::DataAfterClose,
        Self::InvalidUtf8,
        Self::InvalidCloseCode,
        Self::CloseBody1,
    ];

    /// Whether receivers usually ignore it: the content can still be read, and most libraries do
    /// not check.
    #[must_use]
    pub fn is_overlooked(self) -> bool {
        matches!(self, Self::NonMinimalLength | Self::DataAfterClose)
    }
}
