//! Passes the bytes of one direction to the scanner, the counters and the dialect.

mod collector;

use std::time::Instant;

use self::collector::Collector;
use super::protocol::Dialect;
use crate::session::heartbeats::Heartbeats;
use crate::session::moment::Anchor;
use crate::session::party::Direction;
use crate::session::record::dialect::InflateDirection;
use crate::session::stats::{CountingSink, DirectionStats};
use crate::ws::extensions::Extensions;
use crate::ws::{CloseFrame, FrameHeader, FrameSink, Masking, Opcode, Scanner, Violation};

/// Everything that follows one direction of a tunnel.
#[derive(Debug)]
pub struct Observer {
    scanner: Scanner,
    stats: DirectionStats,
    collector: Collector,
}

/// What an [`Observer`] needs besides the bytes; shared by both directions of a session.
pub struct SessionReaders<'a> {
    /// Reads messages.
    pub dialect: &'a mut dyn Dialect,
    /// Matches pings with pongs.
    pub heartbeats: &'a mut Heartbeats,
}

impl Observer {
    /// Starts at the first byte after the 101, with the extensions that the 101 agreed.
    #[must_use]
    pub fn new(direction: Direction, extensions: Extensions) -> Self {
        let masking = match direction {
            Direction::ToGateway => Masking::Masked,
            Direction::ToClient => Masking::Unmasked,
        };
        Self {
            scanner: Scanner::new(masking, extensions),
            stats: DirectionStats::default(),
            collector: Collector::new(direction, extensions),
        }
    }

    /// Processes bytes that were read at `now`.
    pub fn observe(&mut self, bytes: &[u8], now: Instant, shared: &mut SessionReaders<'_>) {
        self.stats.add_wire_bytes(bytes.len(), now);
        let mut sink = Sink {
            end: self.stats.wire_bytes(),
            counting: self.stats.sink(now),
            collector: &mut self.collector,
            shared,
            now,
        };
        self.scanner.scan(bytes, &mut sink);
    }

    /// Returns the first breach of each kind since the last call, and dates it with this time.
    pub fn date_breaches(&mut self, at: Instant) {
        self.stats.date_breaches(at);
    }

    /// The scanner, which knows the position within a frame.
    #[must_use]
    pub fn scanner(&self) -> &Scanner {
        &self.scanner
    }

    /// The counters.
    #[must_use]
    pub fn stats(&self) -> &DirectionStats {
        &self.stats
    }

    /// How reading of compressed messages went; `None` if there were none to read.
    #[must_use]
    pub fn inflated(&self, anchor: &Anchor) -> Option<InflateDirection> {
        self.collector.inflated(anchor)
    }
}

struct Sink<'a, 'b> {
    counting: CountingSink<'a>,
    collector: &'a mut Collector,
    shared: &'a mut SessionReaders<'b>,
    now: Instant,
    /// Position of the slice's end in the direction, in bytes.
    end: u64,
}

impl FrameSink for Sink<'_, '_> {
    fn header(&mut self, header: &FrameHeader) {
        self.counting.header(header);
        if matches!(header.opcode, Opcode::Text | Opcode::Binary) {
            self.collector.begin(header, self.shared.dialect);
        } else if header.rsv1() {
            self.collector.piece_is_compressed(header);
        }
    }

    fn payload(&mut self, header: &FrameHeader, offset: u64, wire: &[u8]) {
        self.counting.payload(header, offset, wire);
        if header.opcode.is_data() {
            let (dialect, now) = (&mut *self.shared.dialect, self.now);
            self.collector
                .add(header, offset, wire, dialect, (self.end, now));
        }
    }

    fn end(&mut self, header: &FrameHeader) {
        self.counting.end(header);
        if header.opcode.is_data() && header.fin {
            let dialect = &mut *self.shared.dialect;
            self.collector.finish(dialect, (self.end, self.now));
        }
    }

    fn close(&mut self, close: CloseFrame) {
        self.counting.close(close);
    }

    fn heartbeat(&mut self, pong: bool, body: &[u8]) {
        let direction = self.collector.direction();
        if pong {
            self.shared.heartbeats.pong(direction, body, self.now);
        } else {
            self.shared.heartbeats.ping(direction, body, self.now);
        }
    }

    fn violation(&mut self, kind: Violation) {
        self.counting.violation(kind);
    }
}

#[cfg(test)]
mod tests;
