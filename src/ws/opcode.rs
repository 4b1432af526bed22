//! Frame opcodes (RFC 6455 section 5.2).

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The type of a frame. Reserved values are kept, not dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Opcode {
    /// 0x0: continues the message that an earlier frame began.
    Continuation,
    /// 0x1: UTF-8 text.
    Text,
    /// 0x2: bytes.
    Binary,
    /// 0x8: the close handshake.
    Close,
    /// 0x9: asks for a pong.
    Ping,
    /// 0xA: answers a ping.
    Pong,
    /// 0x3–0x7 and 0xB–0xF: not defined by the RFC.
    Reserved(u8),
}

impl Opcode {
    /// From the low four bits of a frame's first byte; higher bits are ignored.
    #[must_use]
    pub fn from_bits(bits: u8) -> Self {
        match bits & 0x0f {
            0x0 => Self::Continuation,
            0x1 => Self::Text,
            0x2 => Self::Binary,
            0x8 => Self::Close,
            0x9 => Self::Ping,
            0xa => Self::Pong,
            other => Self::Reserved(other),
        }
    }

    /// The low four bits of a frame's first byte.
    #[must_use]
    pub fn bits(self) -> u8 {
        match self {
            Self::Continuation => 0x0,
            Self::Text => 0x1,
            Self::Binary => 0x2,
            Self::Close => 0x8,
            Self::Ping => 0x9,
            Self::Pong => 0xa,
            Self::Reserved(bits) => bits & 0x0f,
        }
    }

    /// Control frames have the fourth bit set (RFC 6455 section 5.5), reserved ones included.
    #[must_use]
    pub fn is_control(self) -> bool {
        self.bits() & 0x8 != 0
    }

    /// Text, binary or continuation: the frames that `payload` statistics cover.
    #[must_use]
    pub fn is_data(self) -> bool {
        matches!(self, Self::Text | Self::Binary | Self::Continuation)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_nibble_survives_a_round_trip() {
        for bits in 0..16 {
            assert_eq!(Opcode::from_bits(bits).bits(), bits);
            assert_eq!(Opcode::from_bits(bits).is_control(), bits >= 8);
        }
    }
}
