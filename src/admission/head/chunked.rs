//! The chunked coding (RFC 9112 section 7.1), parsed only as far as needed to find its end.

use super::limits::Limits;
use super::lines::split_field;
use super::refusal::Refusal;
use crate::admission::hop::{is_protected, is_underscore_twin};
use crate::session::record::HeadFault;

/// Maximum bytes of chunk extensions in one body; they have no use in practice.
const MAX_EXTENSIONS: usize = 4096;

/// Maximum bytes of a trailer section; hyper stops at 16 KiB.
const MAX_TRAILERS: usize = 8 * 1024;

/// Maximum hexadecimal digits of a chunk's size: 60 bits.
const MAX_DIGITS: u8 = 15;

/// A chunked body that is being read.
#[derive(Debug, Default)]
pub(super) struct Chunked {
    state: State,
    extensions: usize,
    trailer: Vec<u8>,
    trailer_bytes: usize,
    trailers: usize,
}

#[derive(Clone, Copy, Debug)]
enum State {
    Size {
        digits: u8,
        size: u64,
    },
    Extension {
        size: u64,
    },
    SizeLf {
        size: u64,
    },
    Data {
        left: u64,
    },
    DataCr,
    DataLf,
    /// A line of the trailer section; an empty one is the end.
    Trailer,
    TrailerLf,
}

impl Default for State {
    fn default() -> Self {
        Self::Size { digits: 0, size: 0 }
    }
}

impl Chunked {
    /// Returns how many bytes belong to the body, and whether it ends there.
    pub(super) fn read(&mut self, bytes: &[u8], limits: Limits) -> Result<(usize, bool), Refusal> {
        let mut at = 0;
        while let Some(rest) = bytes.get(at..).filter(|rest| !rest.is_empty()) {
            if let State::Data { left } = &mut self.state {
                let count = usize::try_from(*left).unwrap_or(usize::MAX).min(rest.len());
                *left -= count as u64;
                at += count;
                if *left == 0 {
                    self.state = State::DataCr;
                }
                continue;
            }
            let Some(byte) = rest.first() else { break };
            at += 1;
            if self.byte(*byte, limits)? {
                return Ok((at, true));
            }
        }
        Ok((at, false))
    }

    /// Reads one byte outside the data; `true` for the last of the body.
    fn byte(&mut self, byte: u8, limits: Limits) -> Result<bool, Refusal> {
        self.state = match (self.state, byte) {
            (State::Size { digits, size }, _)
                if byte.is_ascii_hexdigit() && digits < MAX_DIGITS =>
            {
                let digit = char::from(byte).to_digit(16).unwrap_or_default();
                let size = size * 16 + u64::from(digit);
                State::Size {
                    digits: digits + 1,
                    size,
                }
            }
            (State::Size { digits: 1.., size }, b';') => State::Extension { size },
            (State::Size { digits: 1.., size } | State::Extension { size }, b'\r') => {
                State::SizeLf { size }
            }
            (State::Extension { size }, b'\t' | b' '..=b'~') => {
                self.extensions += 1;
                if self.extensions > MAX_EXTENSIONS {
                    return Err(broken("the chunk extensions are longer than 4 KiB"));
                }
                State::Extension { size }
            }
            (State::SizeLf { size: 0 }, b'\n') => State::Trailer,
            (State::SizeLf { size }, b'\n') => State::Data { left: size },
            (State::DataCr, b'\r') => State::DataLf,
            (State::DataLf, b'\n') => State::default(),
            (State::Trailer, b'\r') => State::TrailerLf,
            (State::Trailer, b'\n') => return Err(broken("a trailer line ends with LF alone")),
            (State::Trailer, _) => {
                self.trailer_bytes += 1;
                if self.trailer_bytes > MAX_TRAILERS {
                    return Err(broken("the trailers are longer than 8 KiB"));
                }
                self.trailer.push(byte);
                State::Trailer
            }
            (State::TrailerLf, b'\n') => {
                if self.trailer.is_empty() {
                    return Ok(true);
                }
                self.trailer_line(limits)?;
                State::Trailer
            }
            _ => return Err(broken("the chunked coding is broken")),
        };
        Ok(false)
    }

    fn trailer_line(&mut self, limits: Limits) -> Result<(), Refusal> {
        let line = std::mem::take(&mut self.trailer);
        let (name, _) = split_field(&line).map_err(|refusal| broken(&refusal.detail))?;
        // Fields that frame, route or identify a request are not allowed after it (RFC 9110 section
        // 6.5.1): nobody has checked it there.
        let shown = String::from_utf8_lossy(name);
        if is_protected(name) || is_underscore_twin(&shown) {
            return Err(broken(&format!("{shown} is not allowed in a trailer")));
        }
        self.trailers += 1;
        if self.trailers > limits.fields {
            return Err(broken("there are more trailers than limits.headers allows"));
        }
        Ok(())
    }
}

fn broken(detail: &str) -> Refusal {
    Refusal::new(HeadFault::Chunk, detail)
}
