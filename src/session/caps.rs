//! Caps on one session's traffic, and the meter that follows one direction and finds the frame that
//! would exceed one of them. Pure. Only frames count: bodies of plain requests are not part of a
//! session.
//!
//! A frame counts when its header is complete, with the length that it declares. So it is found
//! before its payload is passed on, and the bytes before it end on a frame boundary, where a Close
//! may be sent. Lengths are those on the wire; for compressed messages, the compressed length.

use std::time::{Duration, Instant};

use super::record::close::CapKey;
use crate::session::party::Direction;
use crate::ws::FrameHeader;
use crate::ws::Opcode;
use crate::ws::frame::{MAX_CONTROL_PAYLOAD, MAX_HEADER};

const NANOS: u128 = 1_000_000_000;

/// The caps of a session; each is off unless set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Caps {
    /// Bytes on the wire in each direction.
    pub bytes: Option<u64>,
    /// Bytes of one message in either direction, all its fragments together.
    pub message_bytes: Option<u64>,
    /// Messages from the client.
    pub messages: Option<Rate>,
    /// Bytes on the wire from the client.
    pub byte_rate: Option<Rate>,
}

/// A rate and its burst.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// Allowed per second in the long run.
    pub per_second: u64,
    /// Allowed at once after a pause.
    pub burst: u64,
}

/// The cap that a frame would exceed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Over {
    /// Number of bytes of the slice before the frame, which may pass.
    pub passes: usize,
    /// Which cap.
    pub key: CapKey,
    /// The configured cap; for a rate: per second.
    pub limit: u64,
    /// For a rate: the burst that is allowed.
    pub burst: Option<u64>,
    /// The count with this frame included. For a rate: within `within`.
    pub observed: u64,
    /// For a rate: how long this has been counted.
    pub within: Option<Duration>,
}

/// Follows one direction.
#[derive(Clone, Debug)]
pub(crate) struct Meter {
    bytes: Option<u64>,
    message_bytes: Option<u64>,
    messages: Option<Bucket>,
    byte_rate: Option<Bucket>,
    total: u64,
    message: u64,
    state: State,
}

#[derive(Clone, Copy, Debug)]
enum State {
    Header {
        bytes: [u8; MAX_HEADER],
        have: u8,
    },
    Payload {
        left: u64,
    },
    /// Its Close frame passes; nothing after it is checked.
    Closing,
    /// A cap was met; nothing more passes.
    Stopped(Over),
}

impl State {
    const NEXT: Self = Self::Header {
        bytes: [0; MAX_HEADER],
        have: 0,
    };
}

impl Meter {
    /// A meter for this direction; `None` if no cap applies to it.
    #[must_use]
    pub(crate) fn new(caps: &Caps, direction: Direction, now: Instant) -> Option<Self> {
        let of_clients = |rate: Option<Rate>| {
            rate.filter(|_| direction == Direction::ToGateway)
                .map(|rate| Bucket::new(rate, now))
        };
        let meter = Self {
            bytes: caps.bytes,
            message_bytes: caps.message_bytes,
            messages: of_clients(caps.messages),
            byte_rate: of_clients(caps.byte_rate),
            total: 0,
            message: 0,
            state: State::NEXT,
        };
        let any = meter.bytes.is_some()
            || meter.message_bytes.is_some()
            || meter.messages.is_some()
            || meter.byte_rate.is_some();
        any.then_some(meter)
    }

    /// Looks at the next bytes before they are passed on. `Some` when not all of them may pass;
    /// from then on none may.
    pub(crate) fn look(&mut self, slice: &[u8], now: Instant) -> Option<Over> {
        let mut at = 0;
        while let Some(rest) = slice.get(at..).filter(|rest| !rest.is_empty()) {
            match self.state {
                State::Closing => return None,
                State::Stopped(over) => return Some(Over { passes: 0, ..over }),
                State::Payload { left } => {
                    let take = usize::try_from(left).unwrap_or(usize::MAX).min(rest.len());
                    at += take;
                    let left = left - take as u64;
                    self.state = if left == 0 {
                        State::NEXT
                    } else {
                        State::Payload { left }
                    };
                }
                State::Header { mut bytes, have } => {
                    let before = usize::from(have);
                    let mut filled = before;
                    for (slot, byte) in bytes.iter_mut().skip(before).zip(rest) {
                        *slot = *byte;
                        filled += 1;
                    }
                    let Some(header) = bytes.get(..filled).and_then(FrameHeader::parse) else {
                        let have = u8::try_from(filled).unwrap_or(0);
                        self.state = State::Header { bytes, have };
                        return None;
                    };
                    if let Some(over) = self.frame(&header, now) {
                        self.state = State::Stopped(over);
                        return Some(Over { passes: at, ..over });
                    }
                    at += usize::from(header.header_len).saturating_sub(before);
                }
            }
        }
        None
    }

    /// Counts a frame, or returns the cap that it would exceed.
    fn frame(&mut self, header: &FrameHeader, now: Instant) -> Option<Over> {
        self.state = if header.len == 0 {
            State::NEXT
        } else {
            State::Payload { left: header.len }
        };
        if header.opcode == Opcode::Close && header.len <= u64::from(MAX_CONTROL_PAYLOAD) {
            // A party that ends the session by itself may do so.
            self.state = State::Closing;
            return None;
        }
        let wire = header.len.saturating_add(u64::from(header.header_len));
        self.total = self.total.saturating_add(wire);
        let begins = matches!(header.opcode, Opcode::Text | Opcode::Binary);
        if begins {
            self.message = 0;
        }
        if header.opcode.is_data() {
            self.message = self.message.saturating_add(header.len);
        }
        let plain = |key, limit: Option<u64>, observed| {
            limit.filter(|limit| observed > *limit).map(|limit| Over {
                passes: 0,
                key,
                limit,
                burst: None,
                observed,
                within: None,
            })
        };
        let message = self.message_bytes.filter(|_| header.opcode.is_data());
        plain(CapKey::MessageBytes, message, self.message)
            .or_else(|| plain(CapKey::Bytes, self.bytes, self.total))
            .or_else(|| {
                let bucket = self.messages.as_mut().filter(|_| begins)?;
                bucket.take(1, CapKey::MessagesPerSecond, now)
            })
            .or_else(|| {
                let bucket = self.byte_rate.as_mut()?;
                bucket.take(wire, CapKey::BytesPerSecond, now)
            })
    }
}

/// A token bucket in whole numbers: the inflow per nanosecond is a billionth of the inflow per
/// second.
#[derive(Clone, Copy, Debug)]
struct Bucket {
    rate: Rate,
    level: u128,
    at: Instant,
    /// Tokens taken since the bucket was last full, and when that was.
    taken: u64,
    full_at: Instant,
}

impl Bucket {
    fn new(rate: Rate, now: Instant) -> Self {
        Self {
            rate,
            level: u128::from(rate.burst) * NANOS,
            at: now,
            taken: 0,
            full_at: now,
        }
    }

    fn take(&mut self, count: u64, key: CapKey, now: Instant) -> Option<Over> {
        let passed = now.saturating_duration_since(self.at).as_nanos();
        let full = u128::from(self.rate.burst) * NANOS;
        let flowed = passed.saturating_mul(u128::from(self.rate.per_second));
        self.level = self.level.saturating_add(flowed).min(full);
        self.at = self.at.max(now);
        if self.level == full {
            (self.taken, self.full_at) = (0, now);
        }
        self.taken = self.taken.saturating_add(count);
        let wanted = u128::from(count) * NANOS;
        if let Some(left) = self.level.checked_sub(wanted) {
            self.level = left;
            return None;
        }
        Some(Over {
            passes: 0,
            key,
            limit: self.rate.per_second,
            burst: Some(self.rate.burst),
            observed: self.taken,
            within: Some(now.saturating_duration_since(self.full_at)),
        })
    }
}

#[cfg(test)]
mod tests;
