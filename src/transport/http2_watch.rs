//! A passive look at the frames of an HTTP/2 connection (RFC 9113 section 4.1). Only their headers
//! are read.
//!
//! The library answers some requests by itself without reporting it: a malformed request gets a
//! `RST_STREAM`, a head that is much too large a 431. They are found as streams that a client has
//! opened, that were never handed to us, and that the library answers.

use std::collections::VecDeque;
use std::future::Future as _;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Sleep;

use super::sensor::Sensor;

/// Length of the connection preface, the client's first bytes (RFC 9113 section 3.4).
const PREFACE: usize = 24;

/// Maximum number of streams on their way to us; more than the library lets wait.
const MAX_NEW: usize = 4096;

/// Maximum number of refused streams that are kept one by one; further ones are only counted.
const MAX_REPORTED: usize = 32;

/// How long we keep reading from a client after our GOAWAY.
pub(crate) const LINGER: Duration = Duration::from_secs(1);

/// Maximum number of bytes that are read during that time.
const LINGER_BYTES: usize = 256 * 1024;

const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;

/// A request that the library has refused by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Refused {
    /// The id of its stream.
    pub stream: u32,
    /// The code of the `RST_STREAM`; `None` if the request got a 431.
    pub reset: Option<u32>,
}

/// The observed streams; shared with the code that serves the connection.
#[derive(Debug, Default)]
pub(crate) struct Watch(Mutex<WatchState>);

#[derive(Debug, Default)]
struct WatchState {
    /// Streams that the client opened and that were not handed to us yet.
    new: VecDeque<u32>,
    last: u32,
    refused: Vec<Refused>,
    refused_total: u64,
}

impl Watch {
    /// Records that the library has handed this stream to us.
    pub(crate) fn taken(&self, stream: u32) {
        self.seen().new.retain(|new| *new != stream);
    }

    /// Takes the streams that were refused since the last call, at most 32 of them.
    pub(crate) fn refused(&self) -> Vec<Refused> {
        std::mem::take(&mut self.seen().refused)
    }

    /// Total number of refused streams.
    #[must_use]
    pub(crate) fn refused_total(&self) -> u64 {
        self.seen().refused_total
    }

    fn came(&self, frame: &Frame) {
        let mut seen = self.seen();
        // Trailers are HEADERS too, but on a stream that is already known.
        if frame.kind == HEADERS && frame.stream % 2 == 1 && frame.stream > seen.last {
            seen.last = frame.stream;
            seen.new.push_back(frame.stream);
            if seen.new.len() > MAX_NEW {
                seen.new.pop_front();
            }
        }
    }

    fn went(&self, frame: &Frame) {
        if !matches!(frame.kind, HEADERS | RST_STREAM) {
            return;
        }
        let mut seen = self.seen();
        let Some(at) = seen.new.iter().position(|new| *new == frame.stream) else {
            return;
        };
        seen.new.remove(at);
        seen.refused_total += 1;
        if seen.refused.len() < MAX_REPORTED {
            seen.refused.push(Refused {
                stream: frame.stream,
                reset: (frame.kind == RST_STREAM).then_some(frame.code),
            });
        }
    }

    fn seen(&self) -> MutexGuard<'_, WatchState> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Frame {
    kind: u8,
    stream: u32,
    /// The first four bytes of the payload.
    code: u32,
}

/// Finds frames in a stream of bytes that comes in pieces of any size.
#[derive(Debug, Default)]
struct Frames {
    /// Bytes left before the next frame's header.
    skip: usize,
    head: [u8; 13],
    have: usize,
}

impl Frames {
    fn read(&mut self, mut bytes: &[u8], mut found: impl FnMut(&Frame)) {
        while !bytes.is_empty() {
            let skipped = self.skip.min(bytes.len());
            self.skip -= skipped;
            bytes = bytes.get(skipped..).unwrap_or_default();
            let Some((first, rest)) = bytes.split_first() else {
                return;
            };
            if let Some(place) = self.head.get_mut(self.have) {
                *place = *first;
                self.have += 1;
            }
            bytes = rest;
            let [a, b, c, kind, _, s1, s2, s3, s4, code @ ..] = self.head;
            let length = u32::from_be_bytes([0, a, b, c]) as usize;
            // The header has nine bytes, and an error code four more.
            let wanted = if kind == RST_STREAM && length >= 4 {
                13
            } else {
                9
            };
            if self.have < 9 || self.have < wanted {
                continue;
            }
            found(&Frame {
                kind,
                stream: u32::from_be_bytes([s1 & 0x7f, s2, s3, s4]),
                code: u32::from_be_bytes(code),
            });
            self.skip = length - (self.have - 9);
            self.have = 0;
            self.head = [0; 13];
        }
    }
}

/// A client's byte stream whose frames are watched.
#[derive(Debug)]
pub(crate) struct Watched {
    io: Sensor,
    watch: Arc<Watch>,
    inward: Frames,
    outward: Frames,
    /// The client's side has ended.
    ended: bool,
    linger: Option<Linger>,
}

#[derive(Debug)]
struct Linger {
    sleep: Pin<Box<Sleep>>,
    left: usize,
}

impl Watched {
    /// Watches `io` from its first byte on.
    #[must_use]
    pub(crate) fn new(io: Sensor) -> (Self, Arc<Watch>) {
        let watch = Arc::new(Watch::default());
        let watched = Self {
            io,
            watch: Arc::clone(&watch),
            inward: Frames {
                skip: PREFACE,
                ..Frames::default()
            },
            outward: Frames::default(),
            ended: false,
            linger: None,
        };
        (watched, watch)
    }

    fn wrote(&mut self, bytes: &[u8]) {
        let watch = &self.watch;
        self.outward.read(bytes, |frame| watch.went(frame));
    }
}

impl AsyncRead for Watched {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let poll = Pin::new(&mut self.io).poll_read(cx, buf);
        let came = buf.filled().get(before..).unwrap_or_default();
        let Self {
            inward,
            watch,
            ended,
            ..
        } = &mut *self;
        *ended |= !matches!(poll, Poll::Pending) && came.is_empty() && buf.capacity() > before;
        inward.read(came, |frame| watch.came(frame));
        poll
    }
}

impl AsyncWrite for Watched {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let poll = Pin::new(&mut self.io).poll_write(cx, bytes);
        if let Poll::Ready(Ok(count)) = poll {
            self.wrote(bytes.get(..count).unwrap_or_default());
        }
        poll
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let poll = Pin::new(&mut self.io).poll_write_vectored(cx, slices);
        if let Poll::Ready(Ok(mut left)) = poll {
            for slice in slices {
                let count = left.min(slice.len());
                self.wrote(slice.get(..count).unwrap_or_default());
                left -= count;
            }
        }
        poll
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    /// Reads on for a moment: unread bytes would cause a reset, which would destroy our GOAWAY.
    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let watched = self.get_mut();
        if watched.linger.is_none() {
            std::task::ready!(Pin::new(&mut watched.io).poll_shutdown(cx))?;
            if watched.ended {
                return Poll::Ready(Ok(()));
            }
        }
        let linger = watched.linger.get_or_insert_with(|| Linger {
            sleep: Box::pin(tokio::time::sleep(LINGER)),
            left: LINGER_BYTES,
        });
        let mut waste = [0; 4096];
        while linger.left > 0 && linger.sleep.as_mut().poll(cx).is_pending() {
            let mut waste = ReadBuf::new(&mut waste);
            let read = std::task::ready!(Pin::new(&mut watched.io).poll_read(cx, &mut waste));
            let count = waste.filled().len();
            if read.is_err() || count == 0 {
                break;
            }
            linger.left = linger.left.saturating_sub(count);
        }
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
        let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
        let mut bytes = length[1..].to_vec();
        bytes.extend([kind, 0]);
        bytes.extend(stream.to_be_bytes());
        bytes.extend(payload);
        bytes
    }

    #[test]
    fn frames_are_found_in_any_pieces() {
        let mut bytes = frame(HEADERS, 1, b"some block");
        bytes.extend(frame(4, 0, b""));
        bytes.extend(frame(RST_STREAM, 1, &8_u32.to_be_bytes()));
        bytes.extend(frame(0, 3, &[7; 300]));
        let read = |size: usize| {
            let (mut frames, mut found) = (Frames::default(), Vec::new());
            for piece in bytes.chunks(size) {
                frames.read(piece, |frame| found.push(*frame));
            }
            found
        };
        let whole = read(bytes.len());
        let kinds: Vec<_> = whole
            .iter()
            .map(|frame| (frame.kind, frame.stream))
            .collect();
        assert_eq!(kinds, [(HEADERS, 1), (4, 0), (RST_STREAM, 1), (0, 3)]);
        assert_eq!(whole[2].code, 8);
        for size in 1..bytes.len() {
            assert_eq!(read(size), whole, "in pieces of {size}");
        }
    }

    #[test]
    fn what_was_never_handed_over_and_is_answered_was_refused() {
        let watch = Watch::default();
        let at = |kind, stream, code| Frame { kind, stream, code };
        for stream in [1, 3, 5, 7] {
            watch.came(&at(HEADERS, stream, 0));
        }
        watch.taken(1);
        watch.went(&at(HEADERS, 1, 0));
        watch.went(&at(RST_STREAM, 3, 1));
        watch.went(&at(HEADERS, 5, 0));
        let refused = [(3, Some(1)), (5, None)];
        let refused = refused.map(|(stream, reset)| Refused { stream, reset });
        assert_eq!(watch.refused(), refused);
        assert!(watch.refused().is_empty(), "once is enough");
        // Trailers of a stream that is already known.
        watch.came(&at(HEADERS, 3, 0));
        watch.went(&at(RST_STREAM, 3, 1));
        assert_eq!(watch.refused_total(), 2);
    }
}
