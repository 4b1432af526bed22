//! WebSocket frames by hand (RFC 6455 section 5.2), independent of the code under test.

/// One frame, payload unmasked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    pub fin: bool,
    /// RSV1, RSV2, RSV3 as bits 4, 2, 1.
    pub rsv: u8,
    pub opcode: u8,
    /// The masking key, where there is one.
    pub mask: Option<[u8; 4]>,
    pub payload: Vec<u8>,
}

pub const CONTINUATION: u8 = 0;
pub const TEXT: u8 = 1;
pub const BINARY: u8 = 2;
pub const CLOSE: u8 = 8;
pub const PING: u8 = 9;
pub const PONG: u8 = 10;

impl Frame {
    pub fn new(opcode: u8, payload: impl Into<Vec<u8>>) -> Self {
        Self {
            fin: true,
            rsv: 0,
            opcode,
            mask: None,
            payload: payload.into(),
        }
    }

    pub fn text(text: &str) -> Self {
        Self::new(TEXT, text)
    }

    pub fn binary(payload: impl Into<Vec<u8>>) -> Self {
        Self::new(BINARY, payload)
    }

    pub fn ping(payload: &[u8]) -> Self {
        Self::new(PING, payload)
    }

    pub fn pong(payload: &[u8]) -> Self {
        Self::new(PONG, payload)
    }

    pub fn close(code: u16, reason: &str) -> Self {
        let mut payload = code.to_be_bytes().to_vec();
        payload.extend_from_slice(reason.as_bytes());
        Self::new(CLOSE, payload)
    }

    pub fn empty_close() -> Self {
        Self::new(CLOSE, Vec::new())
    }

    /// As a client sends it.
    #[must_use]
    pub fn masked(self) -> Self {
        self.masked_with([0x37, 0xfa, 0x21, 0x3d])
    }

    #[must_use]
    pub fn masked_with(mut self, key: [u8; 4]) -> Self {
        self.mask = Some(key);
        self
    }

    /// The payload as text; panics when it is none.
    pub fn as_text(&self) -> &str {
        std::str::from_utf8(&self.payload).expect("a text payload")
    }

    /// Code and reason of a Close frame; `None` for other frames. An empty one is `(None, "")`.
    pub fn as_close(&self) -> Option<(Option<u16>, String)> {
        if self.opcode != CLOSE {
            return None;
        }
        let Some((code, reason)) = self.payload.split_first_chunk::<2>() else {
            return Some((None, String::new()));
        };
        let reason = String::from_utf8_lossy(reason).into_owned();
        Some((Some(u16::from_be_bytes(*code)), reason))
    }

    /// As it is on the wire, with the shortest form of the length.
    pub fn to_bytes(&self) -> Vec<u8> {
        let declared = u64::try_from(self.payload.len()).unwrap();
        let mut out = header(self.fin, self.rsv, self.opcode, self.mask, declared);
        match self.mask {
            None => out.extend_from_slice(&self.payload),
            Some(key) => out.extend(masked(&self.payload, key)),
        }
        out
    }

    /// Takes a frame off the front of `buf`; `None` when more bytes are needed.
    pub fn take(buf: &mut Vec<u8>) -> Option<Self> {
        let (&[first, second], mut rest) = buf.split_first_chunk::<2>()?;
        let declared = match second & 0x7f {
            126 => {
                let (raw, after) = rest.split_first_chunk::<2>()?;
                rest = after;
                u64::from(u16::from_be_bytes(*raw))
            }
            127 => {
                let (raw, after) = rest.split_first_chunk::<8>()?;
                rest = after;
                u64::from_be_bytes(*raw)
            }
            short => u64::from(short),
        };
        let mask = if second & 0x80 == 0 {
            None
        } else {
            let (key, after) = rest.split_first_chunk::<4>()?;
            rest = after;
            Some(*key)
        };
        let declared = usize::try_from(declared).ok()?;
        let payload = rest.get(..declared)?;
        let payload = mask.map_or_else(|| payload.to_vec(), |key| masked(payload, key).collect());
        let used = buf.len() - rest.len() + declared;
        let frame = Self {
            fin: first & 0x80 != 0,
            rsv: (first >> 4) & 7,
            opcode: first & 0x0f,
            mask,
            payload,
        };
        buf.drain(..used);
        Some(frame)
    }
}

/// A header with any declared length, true or not.
pub fn header(fin: bool, rsv: u8, opcode: u8, mask: Option<[u8; 4]>, declared: u64) -> Vec<u8> {
    let mask_bit = if mask.is_some() { 0x80 } else { 0 };
    let mut out = vec![(u8::from(fin) << 7) | (rsv << 4) | opcode];
    if let Some(short) = u8::try_from(declared).ok().filter(|len| *len < 126) {
        out.push(mask_bit | short);
    } else if let Ok(medium) = u16::try_from(declared) {
        out.push(mask_bit | 0x7e);
        out.extend_from_slice(&medium.to_be_bytes());
    } else {
        out.push(mask_bit | 0x7f);
        out.extend_from_slice(&declared.to_be_bytes());
    }
    out.extend(mask.into_iter().flatten());
    out
}

fn masked(payload: &[u8], key: [u8; 4]) -> impl Iterator<Item = u8> {
    payload
        .iter()
        .zip(key.into_iter().cycle())
        .map(|(byte, key)| byte ^ key)
}

#[test]
fn examples_of_rfc_6455_section_5_7() {
    let hello = Frame::text("Hello");
    assert_eq!(hello.to_bytes(), b"\x81\x05Hello");
    let masked = hello.clone().masked().to_bytes();
    assert_eq!(masked, b"\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58");
    let big = Frame::binary(vec![7; 65_536]);
    assert_eq!(big.to_bytes()[..10], [0x82, 0x7f, 0, 0, 0, 0, 0, 1, 0, 0]);
    for frame in [
        hello.clone(),
        hello.masked(),
        Frame::binary(vec![1; 256]),
        big,
    ] {
        let mut bytes = frame.to_bytes();
        let last = bytes.pop().unwrap();
        assert_eq!(Frame::take(&mut bytes), None);
        bytes.extend([last, 0x81]);
        assert_eq!(Frame::take(&mut bytes), Some(frame));
        assert_eq!(bytes, [0x81]);
    }
}
