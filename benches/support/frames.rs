//! WebSocket frames (RFC 6455 section 5.2): writes them, and finds their ends in a stream.

use wstap::ws::frame::FrameHeader;
use wstap::ws::masking::apply_mask;

use super::Fallible;

pub const TEXT: u8 = 1;
pub const BINARY: u8 = 2;
pub const CLOSE: u8 = 8;

/// The masking key of every client frame. Constant, so that a frame's bytes can be made once.
const KEY: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

/// An unmasked frame, as a gateway sends it.
pub fn of_server(opcode: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = Vec::with_capacity(payload.len() + 10);
    write_header(&mut frame, opcode, payload.len(), 0);
    frame.extend_from_slice(payload);
    frame
}

/// A masked frame, as a client sends it.
pub fn of_client(opcode: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = Vec::with_capacity(payload.len() + 14);
    write_header(&mut frame, opcode, payload.len(), 0x80);
    frame.extend_from_slice(&KEY);
    let start = frame.len();
    frame.extend_from_slice(payload);
    apply_mask(&mut frame[start..], KEY, 0);
    frame
}

/// Writes `text` over part of the payload of a client's frame.
pub fn overwrite(frame: &mut [u8], at: usize, text: &[u8]) {
    let Some(header) = FrameHeader::parse(frame) else {
        return;
    };
    let start = usize::from(header.header_len) + at;
    for (index, byte) in text.iter().enumerate() {
        frame[start + index] = byte ^ KEY[(at + index) % 4];
    }
}

/// The header without a key.
pub fn write_header(out: &mut Vec<u8>, opcode: u8, len: usize, mask_bit: u8) {
    out.push(0x80 | opcode);
    if let Some(short) = u8::try_from(len).ok().filter(|len| *len < 126) {
        out.push(mask_bit | short);
    } else if let Ok(medium) = u16::try_from(len) {
        out.push(mask_bit | 0x7e);
        out.extend_from_slice(&medium.to_be_bytes());
    } else {
        out.push(mask_bit | 0x7f);
        out.extend_from_slice(&(len as u64).to_be_bytes());
    }
}

/// Counts the frames of a stream without keeping their payload.
#[derive(Debug, Default)]
pub struct Counter {
    /// A header that is still incomplete.
    header: Vec<u8>,
    /// Number of payload bytes of the current frame that are still to come.
    left: u64,
    opcode: u8,
}

/// The frames and messages that a slice of a stream completed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ended {
    pub messages: usize,
    pub closes: usize,
}

impl Counter {
    /// Processes the next bytes of the stream.
    pub fn feed(&mut self, mut bytes: &[u8]) -> Ended {
        let mut ended = Ended::default();
        loop {
            if self.left > 0 {
                let here =
                    usize::try_from(self.left).map_or(bytes.len(), |left| left.min(bytes.len()));
                self.left -= here as u64;
                bytes = &bytes[here..];
                if self.left > 0 {
                    return ended;
                }
                self.count(&mut ended);
            }
            let Some((first, rest)) = bytes.split_first() else {
                return ended;
            };
            self.header.push(*first);
            bytes = rest;
            if let Some(header) = FrameHeader::parse(&self.header) {
                self.header.clear();
                self.left = header.len;
                self.opcode = header.opcode.bits();
                if self.left == 0 {
                    self.count(&mut ended);
                }
            }
        }
    }

    fn count(&self, ended: &mut Ended) {
        if self.opcode == CLOSE {
            ended.closes += 1;
        } else {
            ended.messages += 1;
        }
    }
}

/// A whole frame in a buffer, its payload unmasked.
#[derive(Debug, PartialEq, Eq)]
pub struct Whole<'a> {
    pub opcode: u8,
    pub payload: &'a mut [u8],
    /// Header and payload.
    pub size: usize,
}

/// The frame at the front of `bytes`; `None` while it is incomplete. Unmasks in place, once.
pub fn first(bytes: &mut [u8]) -> Fallible<Option<Whole<'_>>> {
    let Some(header) = FrameHeader::parse(bytes) else {
        return Ok(None);
    };
    let start = usize::from(header.header_len);
    let end = start + usize::try_from(header.len)?;
    let opcode = header.opcode.bits();
    let Some(payload) = bytes.get_mut(start..end) else {
        return Ok(None);
    };
    if let Some(key) = header.mask {
        apply_mask(payload, key, 0);
    }
    Ok(Some(Whole {
        opcode,
        payload,
        size: end,
    }))
}
