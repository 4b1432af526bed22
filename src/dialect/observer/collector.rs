//! Assembles the wanted beginning of a data message. Its buffer grows with the bytes that really
//! came, never by a declared length.

use std::time::Instant;

use crate::dialect::protocol::{Dialect, Message};
use crate::session::moment::Anchor;
use crate::session::party::Direction;
use crate::session::record::dialect::InflateDirection;
use crate::ws::extensions::Extensions;
use crate::ws::inflate::Inflater;
use crate::ws::masking::apply_mask;
use crate::ws::{FrameHeader, Opcode};

/// Maximum capacity that a collector keeps for the next message: room for the beginning of a
/// request, so that an open session allocates once; the handshake's longer messages are released.
const KEEP: usize = 256;

/// The position in its direction where a slice ends, and when the slice was read.
type Read = (u64, Instant);

/// See the module.
#[derive(Debug)]
pub(super) struct Collector {
    direction: Direction,
    extensions: Extensions,
    inflater: Option<Inflater>,
    /// Whether a compressed message was skipped before the first one that was read.
    skipped: bool,
    stopped_at: Option<Instant>,
    message: Option<Collected>,
    bytes: Vec<u8>,
}

#[derive(Clone, Copy, Debug)]
struct Collected {
    opcode: Opcode,
    body: Body,
    wanted: usize,
    seen: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Body {
    Plain,
    /// Goes through the inflater.
    Inflated,
    /// Compressed, and not readable here.
    Compressed,
}

impl Collector {
    pub(super) fn new(direction: Direction, extensions: Extensions) -> Self {
        Self {
            direction,
            extensions,
            inflater: None,
            skipped: false,
            stopped_at: None,
            message: None,
            bytes: Vec::new(),
        }
    }

    pub(super) fn direction(&self) -> Direction {
        self.direction
    }

    /// A data message begins with this frame.
    pub(super) fn begin(&mut self, header: &FrameHeader, dialect: &dyn Dialect) {
        let wanted = dialect.wants(self.direction, header.opcode);
        let body = if header.rsv1() && self.extensions.permessage_deflate {
            self.compressed(wanted)
        } else if header.rsv1() {
            Body::Compressed
        } else {
            Body::Plain
        };
        self.bytes.clear();
        self.message = (wanted > 0 || body == Body::Inflated).then_some(Collected {
            opcode: header.opcode,
            body,
            wanted,
            seen: 0,
        });
    }

    /// A later frame of the message is compressed on its own, as `x-webkit-deflate-frame` allows,
    /// so the message cannot be read here.
    pub(super) fn piece_is_compressed(&mut self, header: &FrameHeader) {
        if header.opcode == Opcode::Continuation
            && self.extensions.deflate_frame
            && let Some(message) = &mut self.message
        {
            message.body = Body::Compressed;
        }
    }

    /// A compressed message begins.
    fn compressed(&mut self, wanted: usize) -> Body {
        let takeover = match self.direction {
            Direction::ToGateway => !self.extensions.client_no_context_takeover,
            Direction::ToClient => !self.extensions.server_no_context_takeover,
        };
        if wanted == 0 && (self.inflater.is_none() || !takeover) {
            // A message that is never read costs nothing; a message read later may lack this
            // window.
            self.skipped |= takeover;
            return Body::Compressed;
        }
        let skipped = self.skipped;
        let inflater = self.inflater.get_or_insert_with(|| {
            let mut inflater = Inflater::new(takeover);
            if skipped {
                inflater.skip();
            }
            inflater
        });
        // A carried window must also take in messages that are not wanted.
        if inflater.begin() {
            Body::Inflated
        } else {
            Body::Compressed
        }
    }

    /// A piece of the payload, as it was on the wire.
    pub(super) fn add(
        &mut self,
        header: &FrameHeader,
        offset: u64,
        wire: &[u8],
        dialect: &mut dyn Dialect,
        read: Read,
    ) {
        let Some(message) = &mut self.message else {
            return;
        };
        if message.body == Body::Inflated {
            let wanted = message.wanted;
            return self.inflate(header, offset, wire, wanted, read.1);
        }
        // The whole message in one piece, like nearly all messages: nothing has to be kept.
        let all = header.fin && header.opcode != Opcode::Continuation;
        if all && offset == 0 && wire.len() as u64 == header.len {
            let message = *message;
            self.message = None;
            self.at_once(message, header, wire, dialect, read);
            return;
        }
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

    fn at_once(
        &mut self,
        message: Collected,
        header: &FrameHeader,
        wire: &[u8],
        dialect: &mut dyn Dialect,
        read: Read,
    ) {
        let mut front = wire.get(..message.wanted).unwrap_or(wire);
        if let Some(key) = header.mask {
            self.bytes.extend_from_slice(front);
            apply_mask(&mut self.bytes, key, 0);
            front = &self.bytes;
        }
        let compressed = message.body == Body::Compressed;
        let message = Message {
            opcode: message.opcode,
            compressed,
            bytes: if compressed { &[] } else { front },
            whole: front.len() == wire.len() && !compressed,
            end: read.0,
        };
        dialect.message(self.direction, &message, read.1);
        self.give_back();
    }

    fn inflate(
        &mut self,
        header: &FrameHeader,
        offset: u64,
        wire: &[u8],
        wanted: usize,
        now: Instant,
    ) {
        let Some(inflater) = &mut self.inflater else {
            return;
        };
        match header.mask {
            // One byte more than wanted shows whether there was more.
            None => inflater.push(wire, &mut self.bytes, wanted.saturating_add(1)),
            Some(key) => {
                let mut plain = [0; 1024];
                let mut at = offset;
                for chunk in wire.chunks(plain.len()) {
                    let Some(plain) = plain.get_mut(..chunk.len()) else {
                        return;
                    };
                    plain.copy_from_slice(chunk);
                    apply_mask(plain, key, at);
                    at += chunk.len() as u64;
                    inflater.push(plain, &mut self.bytes, wanted.saturating_add(1));
                }
            }
        }
        if inflater.stopped().is_some() {
            self.stopped_at.get_or_insert(now);
        }
    }

    /// The message's last frame has ended.
    pub(super) fn finish(&mut self, dialect: &mut dyn Dialect, (end, now): Read) {
        let Some(message) = self.message.take() else {
            return;
        };
        let mut whole = message.seen == self.bytes.len() as u64;
        let mut compressed = message.body == Body::Compressed;
        if let (Body::Inflated, Some(inflater)) = (message.body, &mut self.inflater) {
            compressed = !inflater.finish(&mut self.bytes, message.wanted.saturating_add(1));
            if inflater.stopped().is_some() {
                self.stopped_at.get_or_insert(now);
            }
            whole = self.bytes.len() <= message.wanted;
            self.bytes.truncate(message.wanted);
        }
        if message.wanted > 0 {
            let message = Message {
                opcode: message.opcode,
                compressed,
                bytes: if compressed { &[] } else { &self.bytes },
                whole: whole && !compressed,
                end,
            };
            dialect.message(self.direction, &message, now);
        }
        self.give_back();
    }

    fn give_back(&mut self) {
        if self.bytes.capacity() > KEEP {
            self.bytes = Vec::new();
        }
    }

    pub(super) fn inflated(&self, anchor: &Anchor) -> Option<InflateDirection> {
        let inflater = self.inflater.as_ref()?;
        let (messages, bytes_in, bytes_out) = inflater.counts();
        Some(InflateDirection {
            messages,
            bytes_in,
            bytes_out,
            stopped: inflater.stopped(),
            stopped_at: self
                .stopped_at
                .filter(|_| inflater.stopped().is_some())
                .map(|at| anchor.at(at)),
        })
    }
}
