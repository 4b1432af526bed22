//! Bounded inflating of one direction's compressed messages (RFC 7692 section 7.2.2).
//!
//! Only the beginning of a message is wanted. If every message begins with an empty window, the
//! rest is never inflated. If the window is carried over, the rest has to be inflated too, so that
//! the next message can be read; then a budget bounds the whole direction. Once stopped, it stays
//! stopped and keeps the reason; the bytes pass all the same.

use std::fmt;

use flate2::{Decompress, FlushDecompress, Status};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The bytes that a sender leaves out at the end of a message.
const TAIL: [u8; 4] = [0x00, 0x00, 0xff, 0xff];

/// Maximum bytes in and out of a direction whose window is carried over. A CLI session needs a
/// tenth of it.
pub const BUDGET: u64 = 1024 * 1024;

/// Up to this size any ratio is accepted: short JSON repeats itself.
const UNSUSPECTED: u64 = 64 * 1024;

/// A larger ratio of bytes out to bytes in is not text; DEFLATE can reach 1032.
const RATIO: u64 = 100;

/// Why inflating ended before the session did.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum InflateStop {
    /// The window is carried from message to message, and following it had cost 1 MiB.
    Budget,
    /// More than 100 bytes came out of one byte.
    Ratio,
    /// The bytes are not DEFLATE data.
    Broken,
    /// A message was skipped whose window the next one needs.
    Skipped,
}

/// Inflates the compressed messages of one direction.
pub struct Inflater {
    raw: Box<Decompress>,
    /// Whether messages refer to earlier ones.
    takeover: bool,
    /// A block was marked as the last one; the rest of its message is padding.
    ended: bool,
    bytes_in: u64,
    bytes_out: u64,
    messages: u64,
    stopped: Option<InflateStop>,
}

impl fmt::Debug for Inflater {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inflater")
            .field("takeover", &self.takeover)
            .field("bytes_in", &self.bytes_in)
            .field("bytes_out", &self.bytes_out)
            .field("stopped", &self.stopped)
            .finish_non_exhaustive()
    }
}

impl Inflater {
    /// An inflater for a direction whose sender carries its window over, or does not.
    #[must_use]
    pub fn new(takeover: bool) -> Self {
        Self {
            raw: Box::new(Decompress::new(false)),
            takeover,
            ended: false,
            bytes_in: 0,
            bytes_out: 0,
            messages: 0,
            stopped: None,
        }
    }

    /// The reason why it stopped, if it has.
    #[must_use]
    pub fn stopped(&self) -> Option<InflateStop> {
        self.stopped
    }

    /// Number of compressed messages begun, bytes in, bytes out.
    #[must_use]
    pub fn counts(&self) -> (u64, u64, u64) {
        (self.messages, self.bytes_in, self.bytes_out)
    }

    /// Begins a compressed message. Returns false if it cannot be read.
    pub fn begin(&mut self) -> bool {
        if self.stopped.is_some() {
            return false;
        }
        if (!self.takeover && self.messages > 0) || self.ended {
            self.raw.reset(false);
            self.ended = false;
        }
        self.messages += 1;
        true
    }

    /// Skips a compressed message.
    pub fn skip(&mut self) {
        if self.takeover {
            self.stopped.get_or_insert(InflateStop::Skipped);
        }
    }

    /// Inflates the next unmasked bytes of the message onto `front`, which keeps the first `wanted`.
    pub fn push(&mut self, mut bytes: &[u8], front: &mut Vec<u8>, wanted: usize) {
        let mut out = [0; 4096];
        while self.stopped.is_none() && !self.ended {
            if !self.takeover && front.len() >= wanted {
                return;
            }
            let (read, wrote) = (self.raw.total_in(), self.raw.total_out());
            let status = self.raw.decompress(bytes, &mut out, FlushDecompress::Sync);
            let read = self.raw.total_in() - read;
            let wrote = self.raw.total_out() - wrote;
            self.bytes_in += read;
            self.bytes_out += wrote;
            let piece = usize::try_from(wrote)
                .ok()
                .and_then(|wrote| out.get(..wrote));
            let room = wanted.saturating_sub(front.len());
            front.extend(piece.unwrap_or_default().iter().take(room));
            bytes = usize::try_from(read)
                .ok()
                .and_then(|read| bytes.get(read..))
                .unwrap_or_default();
            match status {
                Err(_) => self.stopped = Some(InflateStop::Broken),
                Ok(Status::StreamEnd) => self.ended = true,
                Ok(_) => {}
            }
            if self.takeover {
                self.stopped = self.stopped.or_else(|| self.too_much());
            }
            // Output may have been waiting for room: only a call that moves nothing shows that
            // everything is done.
            if read == 0 && wrote == 0 {
                return;
            }
        }
    }

    /// Without a carried window, a message costs no more than its wanted beginning.
    fn too_much(&self) -> Option<InflateStop> {
        if self.bytes_out > UNSUSPECTED && self.bytes_out / RATIO > self.bytes_in {
            Some(InflateStop::Ratio)
        } else if self.bytes_in + self.bytes_out > BUDGET {
            Some(InflateStop::Budget)
        } else {
            None
        }
    }

    /// Ends a message after its last byte was pushed: adds the bytes that its sender left out.
    /// Returns false if the beginning cannot be trusted.
    pub fn finish(&mut self, front: &mut Vec<u8>, wanted: usize) -> bool {
        self.push(&TAIL, front, wanted);
        self.stopped.is_none()
    }
}

#[cfg(test)]
mod tests {
    use flate2::{Compress, Compression, FlushCompress};
    use proptest::prelude::*;

    use super::*;

    /// Compresses a message as a sender does: the tail is left out.
    fn deflate(raw: &mut Compress, text: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(text.len() * 2 + 1024);
        let before = raw.total_in();
        raw.compress_vec(text, &mut out, FlushCompress::Sync)
            .unwrap();
        assert_eq!(raw.total_in() - before, text.len() as u64);
        assert!(out.ends_with(&TAIL));
        out.truncate(out.len() - TAIL.len());
        out
    }

    fn read(inflater: &mut Inflater, bytes: &[u8], chunk: usize, wanted: usize) -> Option<Vec<u8>> {
        let mut front = Vec::new();
        let begun = inflater.begin();
        for piece in bytes.chunks(chunk) {
            inflater.push(piece, &mut front, wanted);
        }
        (begun && inflater.finish(&mut front, wanted)).then_some(front)
    }

    /// RFC 7692 section 7.2.3.
    #[test]
    fn examples_of_the_rfc() {
        let hello = |messages: &[&[u8]], takeover| {
            let mut inflater = Inflater::new(takeover);
            for bytes in messages {
                assert_eq!(
                    read(&mut inflater, bytes, 3, 99).as_deref(),
                    Some(&b"Hello"[..])
                );
            }
        };
        let first: &[u8] = &[0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00];
        // Twice with an empty window, then with the window carried over.
        hello(&[first, first], false);
        hello(&[first, &[0xf2, 0x00, 0x11, 0x00, 0x00]], true);
        // A block without compression, a block with BFINAL, two blocks.
        hello(
            &[&[0, 5, 0, 0xfa, 0xff, b'H', b'e', b'l', b'l', b'o', 0]],
            true,
        );
        hello(
            &[&[0xf3, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00, 0x00], first],
            true,
        );
        hello(
            &[&[
                0xf2, 0x48, 0x05, 0x00, 0x00, 0x00, 0xff, 0xff, 0xca, 0xc9, 0xc9, 0x07, 0x00,
            ]],
            true,
        );
    }

    #[test]
    fn a_bomb_is_not_followed() {
        let mut raw = Compress::new(Compression::best(), false);
        let bomb = deflate(&mut raw, &vec![0; 8 << 20]);
        for takeover in [false, true] {
            let mut inflater = Inflater::new(takeover);
            let front = read(&mut inflater, &bomb, 1 << 20, 64 * 1024);
            let (_, _, out) = inflater.counts();
            assert!(out <= 80 * 1024, "{out} bytes were inflated");
            if takeover {
                assert_eq!(inflater.stopped(), Some(InflateStop::Ratio));
                assert!(!inflater.begin(), "it stays stopped");
            } else {
                assert_eq!(front.unwrap().len(), 64 * 1024, "the front was enough");
            }
        }
    }

    #[test]
    fn a_carried_window_has_a_budget_and_cannot_be_left_out() {
        let mut raw = Compress::new(Compression::fast(), false);
        let mut inflater = Inflater::new(true);
        let noise: Vec<u8> = (0..60_000u32)
            .map(|n| (n.wrapping_mul(2_654_435_761) >> 13).to_le_bytes()[0])
            .collect();
        let mut read_so_far = 0;
        while let Some(front) = read(&mut inflater, &deflate(&mut raw, &noise), 4096, 16) {
            assert_eq!(front, noise[..16]);
            read_so_far += 1;
            assert!(read_so_far < 40, "no end of it");
        }
        assert_eq!(inflater.stopped(), Some(InflateStop::Budget));
        let mut inflater = Inflater::new(true);
        inflater.skip();
        assert_eq!(inflater.stopped(), Some(InflateStop::Skipped));
        let mut inflater = Inflater::new(false);
        inflater.skip();
        assert!(inflater.begin());
    }

    proptest! {
        #[test]
        fn any_chunking_gives_the_same_front(
            texts in proptest::collection::vec("[a-e]{0,200}", 1..6),
            takeover: bool,
            chunk in 1usize..40,
            wanted in 0usize..300,
        ) {
            let mut raw = Compress::new(Compression::default(), false);
            let mut inflater = Inflater::new(takeover);
            for text in &texts {
                if !takeover {
                    raw.reset();
                }
                let bytes = deflate(&mut raw, text.as_bytes());
                let front = read(&mut inflater, &bytes, chunk, wanted);
                let all = &text.as_bytes()[..text.len().min(wanted)];
                prop_assert_eq!(front.as_deref(), Some(all));
            }
        }

        #[test]
        fn noise_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..400), takeover: bool) {
            let mut inflater = Inflater::new(takeover);
            for _ in 0..3 {
                let front = read(&mut inflater, &bytes, 7, 64);
                prop_assert!(front.is_none_or(|front| front.len() <= 64));
            }
        }
    }
}
