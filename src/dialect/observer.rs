//! Shows the bytes of one direction to the scanner, the counters and the dialect.

use std::time::Instant;

use super::{Dialect, Message};
use crate::session::heartbeats::Heartbeats;
use crate::session::party::Direction;
use crate::session::stats::{CountingSink, DirectionStats};
use crate::ws::extensions::Extensions;
use crate::ws::frame::apply_mask;
use crate::ws::{CloseFrame, FrameHeader, FrameSink, Masking, Opcode, Scanner, Violation};

/// Everything that follows one direction of a tunnel.
#[derive(Clone, Debug)]
pub struct Observer {
    direction: Direction,
    scanner: Scanner,
    stats: DirectionStats,
    collector: Collector,
}

/// What an [`Observer`] needs besides the bytes; shared by both directions of a session.
pub struct Shared<'a> {
    /// Reads messages.
    pub dialect: &'a mut dyn Dialect,
    /// Matches pings with pongs.
    pub heartbeats: &'a mut Heartbeats,
}

impl Observer {
    /// At the first byte after the 101, with the extensions that it agreed.
    #[must_use]
    pub fn new(direction: Direction, extensions: Extensions) -> Self {
        let masking = match direction {
            Direction::ToGateway => Masking::Masked,
            Direction::ToClient => Masking::Unmasked,
        };
        Self {
            direction,
            scanner: Scanner::new(masking, extensions),
            stats: DirectionStats::default(),
            collector: Collector::default(),
        }
    }

    /// Shows bytes that were read at `now`.
    pub fn observe(&mut self, bytes: &[u8], now: Instant, shared: &mut Shared<'_>) {
        self.stats.add_wire_bytes(bytes.len(), now);
        let mut sink = Sink {
            counting: self.stats.sink(now),
            collector: &mut self.collector,
            shared,
            direction: self.direction,
            now,
        };
        self.scanner.scan(bytes, &mut sink);
    }

    /// The scanner, for where in a frame the direction stands.
    #[must_use]
    pub fn scanner(&self) -> &Scanner {
        &self.scanner
    }

    /// The counters.
    #[must_use]
    pub fn stats(&self) -> &DirectionStats {
        &self.stats
    }
}

/// The most that a collector keeps for the next message: room for the front of an event, so that
/// an open session allocates once; the handshake's longer messages are given back.
const KEEP: usize = 1024;

/// Puts the wanted front of a data message together. Its buffer grows with what really came,
/// never by a declared length.
#[derive(Clone, Debug, Default)]
struct Collector {
    message: Option<Collected>,
    bytes: Vec<u8>,
}

#[derive(Clone, Copy, Debug)]
struct Collected {
    opcode: Opcode,
    compressed: bool,
    wanted: usize,
    seen: u64,
}

impl Collector {
    fn begin(&mut self, header: &FrameHeader, wanted: impl FnOnce() -> usize) {
        if !matches!(header.opcode, Opcode::Text | Opcode::Binary) {
            return;
        }
        self.bytes.clear();
        let (opcode, compressed) = (header.opcode, header.rsv1());
        let wanted = Some(wanted()).filter(|wanted| *wanted > 0);
        self.message = wanted.map(|wanted| Collected {
            opcode,
            compressed,
            wanted,
            seen: 0,
        });
    }

    fn add(&mut self, header: &FrameHeader, offset: u64, wire: &[u8]) {
        let Some(message) = &mut self.message else {
            return;
        };
        message.seen += wire.len() as u64;
        let room = message.wanted.saturating_sub(self.bytes.len());
        let Some(piece) = wire
            .get(..room.min(wire.len()))
            .filter(|piece| !piece.is_empty())
        else {
            return;
        };
        let from = self.bytes.len();
        self.bytes.extend_from_slice(piece);
        if let (Some(key), Some(added)) = (header.mask, self.bytes.get_mut(from..)) {
            apply_mask(added, key, offset);
        }
    }

    /// The message, once its last frame has ended.
    fn finish(&mut self) -> Option<Message<'_>> {
        let message = self.message.take()?;
        Some(Message {
            opcode: message.opcode,
            compressed: message.compressed,
            bytes: &self.bytes,
            whole: message.seen == self.bytes.len() as u64,
        })
    }

    fn give_back(&mut self) {
        if self.bytes.capacity() > KEEP {
            self.bytes = Vec::new();
        }
    }
}

struct Sink<'a, 'b> {
    counting: CountingSink<'a>,
    collector: &'a mut Collector,
    shared: &'a mut Shared<'b>,
    direction: Direction,
    now: Instant,
}

impl FrameSink for Sink<'_, '_> {
    fn header(&mut self, header: &FrameHeader) {
        self.counting.header(header);
        let (dialect, direction) = (&self.shared.dialect, self.direction);
        self.collector.begin(header, || dialect.wants(direction));
    }

    fn payload(&mut self, header: &FrameHeader, offset: u64, wire: &[u8]) {
        self.counting.payload(header, offset, wire);
        if header.opcode.is_data() {
            self.collector.add(header, offset, wire);
        }
    }

    fn end(&mut self, header: &FrameHeader) {
        self.counting.end(header);
        if header.opcode.is_data() && header.fin {
            if let Some(message) = self.collector.finish() {
                self.shared
                    .dialect
                    .message(self.direction, &message, self.now);
            }
            self.collector.give_back();
        }
    }

    fn close(&mut self, close: CloseFrame) {
        self.counting.close(close);
    }

    fn heartbeat(&mut self, pong: bool, body: &[u8]) {
        if pong {
            self.shared.heartbeats.pong(self.direction, body, self.now);
        } else {
            self.shared.heartbeats.ping(self.direction, body, self.now);
        }
    }

    fn violation(&mut self, kind: Violation) {
        self.counting.violation(kind);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::session::credential::Credential;
    use crate::session::moment::Anchor;
    use crate::session::record::DialectFacts;

    /// Wants the first `wants` bytes of every message and keeps what it got.
    #[derive(Default)]
    struct Listener {
        wants: usize,
        heard: Vec<(Opcode, Vec<u8>, bool)>,
    }

    impl Dialect for Listener {
        fn wants(&self, _: Direction) -> usize {
            self.wants
        }
        fn message(&mut self, _: Direction, message: &Message<'_>, _: Instant) {
            self.heard
                .push((message.opcode, message.bytes.to_vec(), message.whole));
        }
        fn is_open(&self) -> bool {
            true
        }
        fn facts(&self, _: &Anchor) -> (DialectFacts, Vec<Credential>) {
            (DialectFacts::default(), Vec::new())
        }
    }

    fn listen(wants: usize, pieces: &[&[u8]]) -> Vec<(Opcode, Vec<u8>, bool)> {
        let mut listener = Listener {
            wants,
            ..Listener::default()
        };
        let mut heartbeats = Heartbeats::default();
        let mut observer = Observer::new(Direction::ToGateway, Extensions::default());
        for piece in pieces {
            let mut shared = Shared {
                dialect: &mut listener,
                heartbeats: &mut heartbeats,
            };
            observer.observe(piece, Instant::now(), &mut shared);
        }
        listener.heard
    }

    /// `hello world` as a masked text in two fragments with a ping between.
    fn fragments() -> Vec<u8> {
        let mut bytes = Vec::new();
        for (first, part, key) in [
            (0x01, "hello ", [1, 2, 3, 4]),
            (0x89, "?", [9, 9, 9, 9]),
            (0x80, "world", [5, 6, 7, 8]),
        ] {
            let mut body = part.as_bytes().to_vec();
            apply_mask(&mut body, key, 0);
            bytes.extend([first, 0x80 | u8::try_from(body.len()).unwrap()]);
            bytes.extend(key);
            bytes.extend(body);
        }
        bytes
    }

    #[test]
    fn fragments_are_unmasked_and_put_together() {
        let heard = listen(64, &[&fragments()]);
        assert_eq!(heard, [(Opcode::Text, b"hello world".to_vec(), true)]);
    }

    #[test]
    fn only_the_wanted_front_is_kept() {
        assert_eq!(
            listen(8, &[&fragments()]),
            [(Opcode::Text, b"hello wo".to_vec(), false)]
        );
        assert_eq!(listen(0, &[&fragments()]), []);
    }

    proptest! {
        #[test]
        fn any_chunking_gives_the_same_message(size in 1usize..24, wants in 1usize..16) {
            let bytes = fragments();
            let pieces: Vec<&[u8]> = bytes.chunks(size).collect();
            prop_assert_eq!(listen(wants, &pieces), listen(wants, &[&bytes]));
        }
    }
}
