//! Frame counters of one direction.

use std::time::Instant;

use super::moment::Anchor;
use super::record::frames::{DirectionFrames, InProgress, Largest, OpcodeCounts, ViolationCount};
use super::sizes::Sizes;
use crate::ws::scanner::{FrameSink, Scanner};
use crate::ws::violation::Violation;
use crate::ws::{CloseFrame, FrameHeader, Opcode};

/// Counts frames as a scanner reports them. Memory is constant except for [`Sizes`] and the at most
/// fourteen kinds of violation.
#[derive(Clone, Debug, Default)]
pub struct DirectionStats {
    opcodes: OpcodeCounts,
    messages: u64,
    fragmented_messages: u64,
    compressed_messages: u64,
    wire_bytes: u64,
    payload_bytes: u64,
    sizes: Sizes,
    largest: Option<(u64, Opcode, Instant)>,
    first_at: Option<Instant>,
    last_at: Option<Instant>,
    message: Option<OpenMessage>,
    /// Boxed: most directions have none until their end.
    rare: Option<Box<Rare>>,
}

/// Facts that decide endings: breaches of RFC 6455 and the Close frame.
#[derive(Clone, Debug, Default)]
struct Rare {
    /// Kinds of breach and Close frames seen so far.
    count: u32,
    violations: Vec<(Violation, u64, Instant)>,
    /// How many of them have been dated by [`DirectionStats::date_breaches`].
    dated: usize,
    close: Option<(CloseFrame, Instant)>,
}

#[derive(Clone, Copy, Debug)]
struct OpenMessage {
    compressed: bool,
    fragments: u64,
}

impl DirectionStats {
    /// Counts relayed bytes, whatever they are.
    pub fn add_wire_bytes(&mut self, count: usize, now: Instant) {
        self.wire_bytes += count as u64;
        self.first_at.get_or_insert(now);
        self.last_at = Some(now);
    }

    /// Number of finished messages.
    #[must_use]
    pub fn messages(&self) -> u64 {
        self.messages
    }

    /// Bytes relayed so far.
    #[must_use]
    pub fn wire_bytes(&self) -> u64 {
        self.wire_bytes
    }

    /// The first Close frame of this direction.
    #[must_use]
    pub fn close(&self) -> Option<&(CloseFrame, Instant)> {
        self.rare.as_ref()?.close.as_ref()
    }

    /// Changes on a Close frame or on the first breach of a kind: the facts that decide endings.
    #[must_use]
    pub fn rare(&self) -> u32 {
        self.rare.as_ref().map_or(0, |rare| rare.count)
    }

    /// Dates the first breach of each kind since the last call with this time. The sink's own clock
    /// reading may be older than events of the other direction.
    pub fn date_breaches(&mut self, at: Instant) {
        if let Some(rare) = &mut self.rare {
            for (_, _, first) in rare.violations.iter_mut().skip(rare.dated) {
                *first = at;
            }
            rare.dated = rare.violations.len();
        }
    }

    /// Returns a sink that counts with this clock reading.
    pub fn sink(&mut self, now: Instant) -> CountingSink<'_> {
        CountingSink { stats: self, now }
    }

    /// The summary for the record.
    #[must_use]
    pub fn summary(&self, scanner: &Scanner, anchor: &Anchor) -> DirectionFrames {
        DirectionFrames {
            opcodes: self.opcodes,
            messages: self.messages,
            fragmented_messages: self.fragmented_messages,
            compressed_messages: self.compressed_messages,
            wire_bytes: self.wire_bytes,
            payload_bytes: self.payload_bytes,
            payload: self.sizes.summary(),
            largest: self.largest.map(|(size, opcode, at)| Largest {
                size,
                opcode,
                at: anchor.at(at),
            }),
            first_at: self.first_at.map(|at| anchor.at(at)),
            last_at: self.last_at.map(|at| anchor.at(at)),
            in_progress: scanner.in_progress().map(|frame| InProgress {
                opcode: frame.opcode,
                declared: frame.declared,
                seen: frame.seen,
            }),
            partial_header: scanner.partial_header(),
            violations: self
                .rare
                .iter()
                .flat_map(|rare| &rare.violations)
                .map(|(kind, count, first)| ViolationCount {
                    kind: *kind,
                    count: *count,
                    first_at: anchor.at(*first),
                })
                .collect(),
            lost_sync: scanner.lost_sync(),
        }
    }
}

/// Borrowed while one slice is scanned.
#[derive(Debug)]
pub struct CountingSink<'a> {
    stats: &'a mut DirectionStats,
    now: Instant,
}

impl FrameSink for CountingSink<'_> {
    fn header(&mut self, header: &FrameHeader) {
        let counts = &mut self.stats.opcodes;
        let count = match header.opcode {
            Opcode::Text => &mut counts.text,
            Opcode::Binary => &mut counts.binary,
            Opcode::Continuation => &mut counts.continuation,
            Opcode::Ping => &mut counts.ping,
            Opcode::Pong => &mut counts.pong,
            Opcode::Close => &mut counts.close,
            Opcode::Reserved(_) => &mut counts.reserved,
        };
        *count += 1;
        if header.opcode.is_data() {
            let open = self.stats.message.get_or_insert(OpenMessage {
                compressed: header.rsv1(),
                fragments: 0,
            });
            open.fragments += 1;
        }
    }

    fn payload(&mut self, _: &FrameHeader, _: u64, wire: &[u8]) {
        self.stats.payload_bytes += wire.len() as u64;
    }

    fn end(&mut self, header: &FrameHeader) {
        if !header.opcode.is_data() {
            return;
        }
        self.stats.sizes.add(header.len);
        if self
            .stats
            .largest
            .is_none_or(|(size, ..)| header.len > size)
        {
            self.stats.largest = Some((header.len, header.opcode, self.now));
        }
        if header.fin
            && let Some(message) = self.stats.message.take()
        {
            self.stats.messages += 1;
            self.stats.fragmented_messages += u64::from(message.fragments > 1);
            self.stats.compressed_messages += u64::from(message.compressed);
        }
    }

    fn close(&mut self, close: CloseFrame) {
        let rare = self.stats.rare.get_or_insert_default();
        rare.count = rare.count.wrapping_add(1);
        rare.close.get_or_insert((close, self.now));
    }

    fn violation(&mut self, kind: Violation) {
        let rare = self.stats.rare.get_or_insert_default();
        let mut known = rare.violations.iter_mut();
        if let Some((_, count, _)) = known.find(|(known, ..)| *known == kind) {
            *count += 1;
        } else {
            rare.count = rare.count.wrapping_add(1);
            rare.violations.push((kind, 1, self.now));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::ws::Masking;
    use crate::ws::extensions::Extensions;

    #[test]
    fn counts_what_the_contract_names() {
        let start = Instant::now();
        let anchor = Anchor::new("2026-11-21T00:00:00Z".parse().unwrap(), start);
        let mut scanner = Scanner::new(
            Masking::Unmasked,
            Extensions {
                permessage_deflate: true,
                ..Extensions::default()
            },
        );
        let mut stats = DirectionStats::default();
        let bytes = b"\x01\x01a\x80\x02bc\xc1\x01z\x89\x01p\x82\x05ab";
        for (index, byte) in bytes.iter().enumerate() {
            let now = start + Duration::from_millis(index as u64);
            stats.add_wire_bytes(1, now);
            scanner.scan(&[*byte], &mut stats.sink(now));
        }
        let frames = stats.summary(&scanner, &anchor);
        assert_eq!((frames.opcodes.text, frames.opcodes.continuation), (2, 1));
        assert_eq!((frames.opcodes.binary, frames.opcodes.ping), (1, 1));
        assert_eq!((frames.messages, frames.fragmented_messages), (2, 1));
        assert_eq!(frames.compressed_messages, 1);
        assert_eq!(frames.wire_bytes, bytes.len() as u64);
        assert_eq!(frames.payload_bytes, 1 + 2 + 1 + 1 + 2);
        let payload = frames.payload.unwrap();
        assert_eq!(
            (payload.min, payload.max),
            (1, 2),
            "unfinished and control frames are left out"
        );
        let largest = frames.largest.unwrap();
        assert_eq!((largest.size, largest.opcode), (2, Opcode::Continuation));
        let unfinished = frames.in_progress.unwrap();
        assert_eq!((unfinished.declared, unfinished.seen), (5, 2));
        assert_eq!(
            frames.first_at.unwrap().to_string(),
            "2026-11-21T00:00:00.000000Z"
        );
    }
}
