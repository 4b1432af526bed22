//! The incremental frame scanner: slices of one direction in, frame events out.
//!
//! It yields the same events however the bytes are cut, needs no memory beyond one header, and
//! never fails: at something that cannot be followed (a length with its top bit set) it reports a
//! violation once and counts no further frames. RFC 6455 section 5.

use super::close::CloseFrame;
use super::extensions::Extensions;
use super::frame::{FrameHeader, MAX_CONTROL_PAYLOAD, MAX_HEADER};
use super::masking::{Masking, apply_mask, is_masked_ascii};
use super::opcode::Opcode;
use super::utf8::Utf8Stream;
use super::violation::Violation;

/// Receives what a scanner finds in the bytes. Every method has a default that does nothing.
pub trait FrameSink {
    /// A header is complete.
    fn header(&mut self, header: &FrameHeader) {
        let _ = header;
    }
    /// A piece of the payload as it was on the wire (still masked), at `offset` of its frame.
    fn payload(&mut self, header: &FrameHeader, offset: u64, wire: &[u8]) {
        let _ = (header, offset, wire);
    }
    /// The frame's last byte was seen.
    fn end(&mut self, header: &FrameHeader) {
        let _ = header;
    }
    /// A complete Close frame.
    fn close(&mut self, close: CloseFrame) {
        let _ = close;
    }
    /// A complete ping (`pong` false) or pong with its unmasked body, at most 125 bytes.
    fn heartbeat(&mut self, pong: bool, body: &[u8]) {
        let _ = (pong, body);
    }
    /// A breach of the protocol.
    fn violation(&mut self, kind: Violation) {
        let _ = kind;
    }
}

/// Follows the frames of one direction.
#[derive(Clone, Debug)]
pub struct Scanner {
    masking: Masking,
    extensions: Extensions,
    state: State,
    /// The unfinished data message, with the type of its first frame.
    message: Option<Message>,
    closed: bool,
    lost_sync: bool,
    utf8: Utf8Stream,
    /// Body of the unfinished control frame; most have none.
    control: Vec<u8>,
}

#[derive(Clone, Copy, Debug)]
enum State {
    Header { bytes: [u8; MAX_HEADER], have: u8 },
    Payload { header: FrameHeader, seen: u64 },
}

impl State {
    const NEXT: Self = Self::Header {
        bytes: [0; MAX_HEADER],
        have: 0,
    };
}

#[derive(Clone, Copy, Debug)]
struct Message {
    /// Whether UTF-8 is checked: the message is uncompressed text, and not found invalid yet.
    check_utf8: bool,
}

/// A frame whose header was complete and whose payload was not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InProgress {
    /// Opcode of the unfinished frame.
    pub opcode: Opcode,
    /// Payload bytes that its header declared.
    pub declared: u64,
    /// Payload bytes that came.
    pub seen: u64,
}

impl Scanner {
    /// A scanner at the first byte after the 101, with the masking of its direction and the
    /// extensions that the 101 agreed.
    #[must_use]
    pub fn new(masking: Masking, extensions: Extensions) -> Self {
        Self {
            masking,
            extensions,
            state: State::NEXT,
            message: None,
            closed: false,
            lost_sync: false,
            utf8: Utf8Stream::default(),
            control: Vec::new(),
        }
    }

    /// Scans the next bytes of this direction.
    pub fn scan(&mut self, mut bytes: &[u8], sink: &mut impl FrameSink) {
        while !bytes.is_empty() && !self.lost_sync {
            bytes = match self.state {
                State::Header {
                    bytes: partial,
                    have,
                } => self.scan_header(partial, have, bytes, sink),
                State::Payload { header, seen } => self.scan_payload(header, seen, bytes, sink),
            };
        }
    }

    /// Whether the next byte begins a frame: only there can a frame of our own be inserted.
    #[must_use]
    pub fn at_frame_boundary(&self) -> bool {
        !self.lost_sync && matches!(self.state, State::Header { have: 0, .. })
    }

    /// Whether frame boundaries are lost.
    #[must_use]
    pub fn lost_sync(&self) -> bool {
        self.lost_sync
    }

    /// The frame that is being received, once its header is complete.
    #[must_use]
    pub fn in_progress(&self) -> Option<InProgress> {
        match self.state {
            State::Payload { header, seen } => Some(InProgress {
                opcode: header.opcode,
                declared: header.len,
                seen,
            }),
            State::Header { .. } => None,
        }
    }

    /// Number of bytes of an incomplete header.
    #[must_use]
    pub fn partial_header(&self) -> u8 {
        match self.state {
            State::Header { have, .. } => have,
            State::Payload { .. } => 0,
        }
    }

    fn scan_header<'a>(
        &mut self,
        mut partial: [u8; MAX_HEADER],
        have: u8,
        bytes: &'a [u8],
        sink: &mut impl FrameSink,
    ) -> &'a [u8] {
        if have == 0
            && let Some((header, rest)) = FrameHeader::split(bytes)
        {
            self.begin(header, sink);
            return rest;
        }
        // The second byte determines the length of the header.
        let mut size = if have < 2 {
            MAX_HEADER
        } else {
            FrameHeader::size_of(partial[1])
        };
        let (mut rest, mut filled) = (bytes.iter(), have);
        for (count, slot) in (1..).zip(&mut partial).skip(usize::from(have)) {
            let Some(byte) = rest.next() else { break };
            (*slot, filled) = (*byte, count);
            if count == 2 {
                size = FrameHeader::size_of(*byte);
            }
            if usize::from(count) == size {
                break;
            }
        }
        if usize::from(filled) == size
            && let Some(header) = FrameHeader::parse(&partial)
        {
            self.begin(header, sink);
            return rest.as_slice();
        }
        self.state = State::Header {
            bytes: partial,
            have: filled,
        };
        &[]
    }

    /// Takes a complete header: checks it, then waits for its payload or ends the frame at once.
    fn begin(&mut self, header: FrameHeader, sink: &mut impl FrameSink) {
        sink.header(&header);
        self.check_header(&header, sink);
        if header.len >> 63 != 0 {
            sink.violation(Violation::LengthMsb);
            self.lost_sync = true;
            self.state = State::Payload { header, seen: 0 };
            return;
        }
        if !header.opcode.is_control() {
            self.begin_message(&header, sink);
        }
        if header.len == 0 {
            self.finish(&header, sink);
        } else {
            self.state = State::Payload { header, seen: 0 };
        }
    }

    fn check_header(&self, header: &FrameHeader, sink: &mut impl FrameSink) {
        if self.closed {
            sink.violation(Violation::DataAfterClose);
        }
        match (self.masking, header.mask) {
            (Masking::Masked, None) => sink.violation(Violation::Unmasked),
            (Masking::Unmasked, Some(_)) => sink.violation(Violation::Masked),
            _ => {}
        }
        if header.rsv != 0 && header.rsv & !self.extensions.reserved_bits(header.opcode) != 0 {
            sink.violation(Violation::Rsv);
        }
        if matches!(header.opcode, Opcode::Reserved(_)) && !self.extensions.unknown {
            sink.violation(Violation::ReservedOpcode);
        }
        if header.opcode.is_control() {
            if header.len > u64::from(MAX_CONTROL_PAYLOAD) {
                sink.violation(Violation::ControlTooLong);
            }
            if !header.fin {
                sink.violation(Violation::ControlFragmented);
            }
        }
        if header.non_minimal {
            sink.violation(Violation::NonMinimalLength);
        }
    }

    fn begin_message(&mut self, header: &FrameHeader, sink: &mut impl FrameSink) {
        match (header.opcode, self.message) {
            (Opcode::Continuation, None) => {
                sink.violation(Violation::UnexpectedContinuation);
                self.message = Some(Message { check_utf8: false });
            }
            (Opcode::Continuation, Some(_)) => {
                // With per-frame compression a later frame may be compressed.
                if header.rsv1() {
                    self.message = Some(Message { check_utf8: false });
                }
            }
            (opcode, open) => {
                if open.is_some() {
                    sink.violation(Violation::InterleavedData);
                }
                self.utf8 = Utf8Stream::default();
                self.message = Some(Message {
                    check_utf8: opcode == Opcode::Text
                        && !header.rsv1()
                        && !self.extensions.unknown,
                });
            }
        }
    }

    fn scan_payload<'a>(
        &mut self,
        header: FrameHeader,
        seen: u64,
        bytes: &'a [u8],
        sink: &mut impl FrameSink,
    ) -> &'a [u8] {
        let left = header.len.saturating_sub(seen);
        let take = usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len());
        let (piece, rest) = bytes.split_at(take);
        sink.payload(&header, seen, piece);
        if header.opcode.is_control() {
            self.keep_control(piece);
        } else {
            self.check_text(&header, seen, piece, sink);
        }
        let seen = seen + piece.len() as u64;
        if seen == header.len {
            self.finish(&header, sink);
        } else {
            self.state = State::Payload { header, seen };
        }
        rest
    }

    fn keep_control(&mut self, piece: &[u8]) {
        let room = usize::from(MAX_CONTROL_PAYLOAD).saturating_sub(self.control.len());
        let kept = piece.get(..room).unwrap_or(piece);
        self.control.extend_from_slice(kept);
    }

    fn check_text(
        &mut self,
        header: &FrameHeader,
        offset: u64,
        piece: &[u8],
        sink: &mut impl FrameSink,
    ) {
        let Some(message) = &mut self.message else {
            return;
        };
        if !message.check_utf8 {
            return;
        }
        let valid = match header.mask {
            None => self.utf8.push(piece),
            Some(key) => {
                let mut plain = [0; 1024];
                let mut at = offset;
                piece.chunks(plain.len()).all(|chunk| {
                    let from = at;
                    at += chunk.len() as u64;
                    if self.utf8.is_between() && is_masked_ascii(chunk, key, from) {
                        return true;
                    }
                    let (plain, _) = plain.split_at_mut(chunk.len());
                    plain.copy_from_slice(chunk);
                    apply_mask(plain, key, from);
                    self.utf8.push(plain)
                })
            }
        };
        if !valid {
            message.check_utf8 = false;
            sink.violation(Violation::InvalidUtf8);
        }
    }

    fn finish(&mut self, header: &FrameHeader, sink: &mut impl FrameSink) {
        self.state = State::NEXT;
        if header.opcode.is_control() {
            self.finish_control(header, sink);
        } else if header.fin
            && let Some(message) = self.message.take()
            && message.check_utf8
            && !self.utf8.finish()
        {
            sink.violation(Violation::InvalidUtf8);
        }
        sink.end(header);
    }

    fn finish_control(&mut self, header: &FrameHeader, sink: &mut impl FrameSink) {
        let mut control = std::mem::take(&mut self.control);
        if let Some(key) = header.mask {
            apply_mask(&mut control, key, 0);
        }
        self.finish_unmasked(header, &control, sink);
        control.clear();
        self.control = control;
    }

    fn finish_unmasked(&mut self, header: &FrameHeader, body: &[u8], sink: &mut impl FrameSink) {
        match header.opcode {
            Opcode::Close => {
                // A second Close was reported as data after Close; the first one counts.
                if self.closed {
                    return;
                }
                let mut close = CloseFrame::parse(body);
                close.cut = header.len.saturating_sub(u64::from(MAX_CONTROL_PAYLOAD));
                let in_body = [
                    (Violation::CloseBody1, body.len() == 1),
                    (
                        Violation::InvalidCloseCode,
                        close.code.is_some_and(|code| !code.is_legal_on_the_wire()),
                    ),
                    // The reason was cut at the limit, perhaps inside a character.
                    (
                        Violation::InvalidUtf8,
                        close.cut == 0 && std::str::from_utf8(&close.reason).is_err(),
                    ),
                ];
                for (kind, _) in in_body.into_iter().filter(|(_, found)| *found) {
                    sink.violation(kind);
                    close.breaks.push(kind);
                }
                // Violations in its header were reported when the header was complete.
                self.check_header(header, &mut Breaks(&mut close.breaks));
                self.closed = true;
                sink.close(close);
            }
            Opcode::Ping => sink.heartbeat(false, body),
            Opcode::Pong => sink.heartbeat(true, body),
            _ => {}
        }
    }
}

/// Collects the rules that a Close frame breaks.
struct Breaks<'a>(&'a mut Vec<Violation>);

impl FrameSink for Breaks<'_> {
    fn violation(&mut self, kind: Violation) {
        if !kind.is_overlooked() {
            self.0.push(kind);
        }
    }
}

#[cfg(test)]
mod tests;
