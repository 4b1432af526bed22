//! A frame's header: reading it from bytes, and writing the few frames that the tap itself sends
//! (RFC 6455 section 5.2).

use super::close::CloseCode;
use super::masking::{Masking, apply_mask};
use super::opcode::Opcode;

/// The longest header: 2 bytes, 8 of extended length, 4 of masking key.
pub const MAX_HEADER: usize = 14;

/// The longest payload that a control frame may have (RFC 6455 section 5.5).
pub const MAX_CONTROL_PAYLOAD: u8 = 125;

/// A frame header as it was on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameHeader {
    /// Whether this is the final fragment of its message.
    pub fin: bool,
    /// RSV1, RSV2, RSV3 as bits 4, 2, 1.
    pub rsv: u8,
    /// The type of the payload.
    pub opcode: Opcode,
    /// The masking key, if the MASK bit was set.
    pub mask: Option<[u8; 4]>,
    /// The declared payload length in bytes; a peer's claim, never allocated for.
    pub len: u64,
    /// The header's own size on the wire, 2 to 14 bytes.
    pub header_len: u8,
    /// The length was not in its shortest form (RFC 6455 section 5.2 requires that form).
    pub non_minimal: bool,
}

impl FrameHeader {
    /// Size of the header that has this second byte.
    #[must_use]
    pub fn size_of(second: u8) -> usize {
        let length = match second & 0x7f {
            126 => 2,
            127 => 8,
            _ => 0,
        };
        2 + length + if second & 0x80 != 0 { 4 } else { 0 }
    }

    /// Reads a header from the beginning of `bytes`; `None` if more bytes are needed.
    #[must_use]
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        Self::split(bytes).map(|(header, _)| header)
    }

    /// Like [`FrameHeader::parse`], and also returns the bytes after the header.
    #[must_use]
    pub fn split(bytes: &[u8]) -> Option<(Self, &[u8])> {
        let (&[first, second], rest) = bytes.split_first_chunk::<2>()?;
        let (len, rest, non_minimal) = match second & 0x7f {
            126 => {
                let (raw, rest) = rest.split_first_chunk::<2>()?;
                let len = u64::from(u16::from_be_bytes(*raw));
                (len, rest, len < 126)
            }
            127 => {
                let (raw, rest) = rest.split_first_chunk::<8>()?;
                let len = u64::from_be_bytes(*raw);
                (len, rest, u16::try_from(len).is_ok())
            }
            short => (u64::from(short), rest, false),
        };
        let (mask, rest) = if second & 0x80 != 0 {
            let (key, rest) = rest.split_first_chunk::<4>()?;
            (Some(*key), rest)
        } else {
            (None, rest)
        };
        let header = Self {
            fin: first & 0x80 != 0,
            rsv: (first >> 4) & 0x07,
            opcode: Opcode::from_bits(first),
            mask,
            len,
            header_len: u8::try_from(Self::size_of(second)).unwrap_or(u8::MAX),
            non_minimal,
        };
        Some((header, rest))
    }

    /// RSV1: with permessage-deflate agreed, this message is compressed (RFC 7692 section 6).
    #[must_use]
    pub fn rsv1(&self) -> bool {
        self.rsv & 0x4 != 0
    }
}

/// A Close frame from the tap itself, as bytes for the wire.
///
/// The reason is cut at a character boundary so that the body stays within 125 bytes (RFC 6455
/// section 5.5). `masking` is that of the frame's direction; the key may be constant because the
/// content is ours and not secret.
#[must_use]
pub fn encode_close(code: CloseCode, reason: &str, masking: Masking) -> Vec<u8> {
    let mut cut = reason.len().min(123);
    while !reason.is_char_boundary(cut) {
        cut -= 1;
    }
    let mut body = code.0.to_be_bytes().to_vec();
    body.extend_from_slice(reason.get(..cut).unwrap_or_default().as_bytes());
    let len = u8::try_from(body.len()).unwrap_or(125);

    let mut frame = vec![0x80 | Opcode::Close.bits()];
    match masking {
        Masking::Masked => {
            const KEY: [u8; 4] = [0x77, 0x73, 0x74, 0x61];
            frame.push(0x80 | len);
            frame.extend_from_slice(&KEY);
            apply_mask(&mut body, KEY, 0);
        }
        Masking::Unmasked => frame.push(len),
    }
    frame.extend_from_slice(&body);
    frame
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn section_5_7_examples() {
        let hello = FrameHeader::parse(&[0x81, 0x05, 0x48]).unwrap();
        assert_eq!(
            (hello.fin, hello.opcode, hello.len, hello.mask),
            (true, Opcode::Text, 5, None)
        );
        let masked = FrameHeader::parse(&[0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f]).unwrap();
        assert_eq!(
            (masked.len, masked.mask),
            (5, Some([0x37, 0xfa, 0x21, 0x3d]))
        );
        let k64 = FrameHeader::parse(&[0x82, 0x7f, 0, 0, 0, 0, 0, 1, 0, 0]).unwrap();
        assert_eq!(
            (k64.len, k64.header_len, k64.non_minimal),
            (65536, 10, false)
        );
    }

    #[test]
    fn short_input_asks_for_more() {
        let full = [0x82, 0xff, 0, 0, 0, 0, 0, 1, 0, 0, 1, 2, 3, 4];
        for cut in 0..full.len() {
            assert_eq!(FrameHeader::parse(&full[..cut]), None, "{cut}");
        }
        assert!(FrameHeader::parse(&full).is_some());
    }

    #[test]
    fn non_minimal_lengths_are_seen() {
        assert!(
            FrameHeader::parse(&[0x82, 126, 0, 125])
                .unwrap()
                .non_minimal
        );
        assert!(
            !FrameHeader::parse(&[0x82, 126, 0, 126])
                .unwrap()
                .non_minimal
        );
        assert!(
            FrameHeader::parse(&[0x82, 127, 0, 0, 0, 0, 0, 0, 255, 255])
                .unwrap()
                .non_minimal
        );
    }

    #[test]
    fn own_close_keeps_the_control_frame_limit() {
        let frame = encode_close(CloseCode::GOING_AWAY, &"é".repeat(100), Masking::Masked);
        let header = FrameHeader::parse(&frame).unwrap();
        assert!(header.len <= u64::from(MAX_CONTROL_PAYLOAD));
        assert_eq!(
            frame.len(),
            usize::from(header.header_len) + usize::try_from(header.len).unwrap()
        );
        let mut body = frame[6..].to_vec();
        apply_mask(&mut body, header.mask.unwrap(), 0);
        assert_eq!(&body[..2], &1001u16.to_be_bytes());
        assert!(std::str::from_utf8(&body[2..]).is_ok());
    }
}
