//! Sits between a client's stream and hyper: hyper sees only heads that have passed the check of
//! [`crate::admission::head`], one at a time, and the bodies between them.
//!
//! For each head there is one entry in the connection's
//! [`Heads`](crate::proxy::connection::heads::Heads), in order, so that the service knows the bytes
//! that were on the wire. A head that may not pass is replaced by a stand-in, whose entry has the
//! reason, so that the same service answers the refusal, after the answers to earlier requests.
//! Bytes after a refused head or after an upgrade never reach hyper's parser: after an upgrade they
//! are kept for the tunnel.

use std::future::Future;
use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Sleep;

use crate::admission::head::{Checked, Limits, Requests, Step};
use crate::config::Timeouts;
use crate::proxy::connection::Connection;
use crate::proxy::connection::heads::{CheckedHead, GaveUp};
use crate::transport::sensor::Sensor;
use crate::transport::stream::Stream;

/// Maximum number of bytes per read.
const CHUNK: usize = 8 * 1024;

/// Maximum number of bytes that are held back from hyper: a request after one that is under way, or
/// bytes that a client sends after its upgrade without waiting for the 101. Beyond this the client
/// has to wait.
const HELD: usize = 64 * 1024;

/// How long we keep reading from a client after a refusal, so that a reset does not destroy the
/// answer on its way.
const LINGER: Duration = Duration::from_secs(1);

/// Maximum number of bytes that are read during that time.
const LINGER_BYTES: usize = 256 * 1024;

/// Maximum time between a request and a client's FIN for the FIN to count as a half-close, so that
/// the answer is still awaited. `nc -N` sends its FIN at once, and a lost segment is retransmitted
/// within this time. Clients that give up on a slow gateway wait longer than that, and their
/// request ends with them.
const RIGHT_BEHIND: Duration = Duration::from_millis(500);

/// How long a redirected connection waits for one end after the FIN of the other, where `timeouts.half_close` is
/// longer: the tap's timers are off for such connections, and the client may be gone.
pub(crate) const REDIRECTED_WAIT: Duration = Duration::from_secs(30);

/// Time limit for the acknowledgement of an answer to a client that had ended its sending side.
/// After it the record is written without knowing whether the answer arrived.
const DELIVERY: Duration = Duration::from_secs(1);

/// Pauses between two checks for a reset: the first and the longest.
const LOOKS: [Duration; 2] = [Duration::from_millis(1), Duration::from_millis(500)];

/// The head that hyper parses in place of one that may not pass.
const STAND_IN: &[u8] = b"GET / HTTP/1.1\r\nhost: refused\r\nconnection: close\r\n\r\n";

/// A client's stream, with the check of heads.
#[derive(Debug)]
pub(crate) struct Gate {
    io: Sensor,
    connection: Arc<Connection>,
    requests: Requests,
    /// Bytes that were read and not yet handed on.
    buffer: BytesMut,
    /// Bytes at the front of the buffer that hyper may have.
    passed: usize,
    /// The rest of the stand-in that hyper has not read yet.
    stand_in: &'static [u8],
    /// A head was refused: nothing more is read.
    refused: bool,
    /// The client's side has ended.
    ended: bool,
    /// When the request under way had arrived completely, with its body.
    whole: Option<Instant>,
    /// hyper may hold bytes of an answer that are not written yet.
    unflushed: bool,
    /// The reader that waits until they are written.
    awaits_flush: Option<Waker>,
    /// The client ended its sending side right after a request.
    half_closed: Option<Box<HalfClosed>>,
    head_limit: Duration,
    /// How long to wait for the answer after that.
    half_close_limit: Duration,
    deadline: Option<Deadline>,
    linger: Option<Linger>,
    /// The unwritten rest of an interim answer.
    interim: Vec<u8>,
}

/// The time by which a head has to be complete.
#[derive(Debug)]
struct Deadline {
    since: Instant,
    /// Whether the time has started: with the first byte of a head, or when the connection was
    /// accepted.
    begun: bool,
    sleep: Pin<Box<Sleep>>,
}

/// A client that has ended its sending side and may still read.
#[derive(Debug)]
struct HalfClosed {
    /// When the wait for the answer began.
    since: Instant,
    /// When the wait ends.
    deadline: Pin<Box<Sleep>>,
    looks: Looks,
    /// Bytes that the client's host had acknowledged when the wait began.
    acknowledged: Option<u64>,
    /// When our side was shut down; from then on we wait up to [`DELIVERY`] for the answer's
    /// delivery.
    shut: Option<Instant>,
}

/// Timer for checking the connection again: after a FIN, the reactor has no event for a reset.
#[derive(Debug)]
struct Looks {
    sleep: Pin<Box<Sleep>>,
    pause: Duration,
}

impl Looks {
    fn new() -> Self {
        let [pause, _] = LOOKS;
        Self {
            sleep: Box::pin(tokio::time::sleep(pause)),
            pause,
        }
    }

    /// Ready when a check is due. Poll until it is pending.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        std::task::ready!(self.sleep.as_mut().poll(cx));
        let [_, longest] = LOOKS;
        self.pause = (2 * self.pause).min(longest);
        let next = tokio::time::Instant::now() + self.pause;
        self.sleep.as_mut().reset(next);
        Poll::Ready(())
    }
}

#[derive(Debug)]
struct Linger {
    sleep: Pin<Box<Sleep>>,
    left: usize,
}

impl Gate {
    pub(crate) fn new(
        io: Sensor,
        connection: Arc<Connection>,
        limits: Limits,
        timeouts: &Timeouts,
    ) -> Self {
        let half_close_limit = if connection.is_redirected() {
            timeouts.half_close.min(REDIRECTED_WAIT)
        } else {
            timeouts.half_close
        };
        Self {
            io,
            connection,
            requests: Requests::new(limits),
            buffer: BytesMut::new(),
            passed: 0,
            stand_in: &[],
            refused: false,
            ended: false,
            whole: None,
            unflushed: false,
            awaits_flush: None,
            half_closed: None,
            head_limit: timeouts.request_head,
            half_close_limit,
            deadline: None,
            linger: None,
            interim: Vec::new(),
        }
    }

    /// Returns the stream, and the bytes that were read after an upgrade.
    pub(crate) fn into_parts(self) -> (Stream, bytes::Bytes) {
        (self.io.into_inner(), self.buffer.freeze())
    }

    /// Determines which bytes hyper may have next. Ready when there are some, or when the end is
    /// reached.
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            if self.passed > 0 || !self.stand_in.is_empty() {
                return Poll::Ready(Ok(()));
            }
            if self.refused {
                return Poll::Pending;
            }
            let at_head = self.requests.is_at_head();
            // One head at a time: while its request is under way, the next head waits here.
            let waits = at_head && self.connection.state.heads.wait_if_busy(cx.waker());
            let stuck = if waits {
                true
            } else {
                match self.requests.step(&self.buffer) {
                    Step::More => true,
                    Step::Skip(count) => {
                        self.buffer.advance(count);
                        false
                    }
                    Step::Head(count, checked) => {
                        self.let_in(*checked);
                        self.passed = count;
                        self.note_whole();
                        false
                    }
                    Step::Body(count) => {
                        self.passed = count;
                        self.note_whole();
                        false
                    }
                    Step::Refused(checked) => {
                        self.refuse(*checked);
                        false
                    }
                    Step::BrokenBody(refusal) => {
                        self.refused = true;
                        let error =
                            io::Error::new(io::ErrorKind::InvalidData, refusal.detail.clone());
                        self.connection.state.heads.break_body(refusal);
                        return Poll::Ready(Err(error));
                    }
                }
            };
            // The head that was just passed is complete; after an upgrade there is no later check
            // for it.
            if at_head && self.passed == 0 {
                self.connection.state.heads.set_partial(self.buffer.len());
            }
            if !stuck {
                continue;
            }
            // The check itself bounds the head that it reads.
            let room = if at_head && !waits {
                CHUNK
            } else {
                HELD.saturating_sub(self.buffer.len()).min(CHUNK)
            };
            match self.poll_fill(cx, room) {
                Poll::Ready(Ok(())) if self.ended => {
                    // A request that was complete before the end must still be served.
                    let later = waits && !self.buffer.is_empty();
                    if self.requests.is_in_body() {
                        return Poll::Ready(Ok(()));
                    }
                    if self.connection.state.heads.wait_if_busy(cx.waker()) {
                        return self.poll_half_closed(later, cx);
                    }
                    if self.unflushed {
                        // At the end of the stream hyper closes even with bytes unwritten.
                        self.awaits_flush = Some(cx.waker().clone());
                        return Poll::Pending;
                    }
                    return Poll::Ready(Ok(()));
                }
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending if at_head && !waits => {
                    std::task::ready!(self.poll_deadline(cx));
                }
                Poll::Pending => return Poll::Pending,
            }
        }
    }

    /// Reads once, at most `room` bytes. Pending without room; the end of the request under way
    /// wakes the task.
    fn poll_fill(&mut self, cx: &mut Context<'_>, room: usize) -> Poll<io::Result<()>> {
        if self.ended {
            return Poll::Ready(Ok(()));
        }
        if room == 0 {
            return Poll::Pending;
        }
        // Read into a stack buffer, so that an idle connection holds no memory.
        let mut space = [MaybeUninit::uninit(); CHUNK];
        let mut bytes = ReadBuf::uninit(&mut space);
        let mut bytes = bytes.take(room);
        std::task::ready!(Pin::new(&mut self.io).poll_read(cx, &mut bytes))?;
        self.ended = bytes.filled().is_empty();
        self.buffer.extend_from_slice(bytes.filled());
        Poll::Ready(Ok(()))
    }

    /// Pending while we wait for the answer to a complete request although the client's FIN has
    /// come. A FIN alone does not distinguish a client that still reads from one that is gone; only
    /// sending to it does. `later`: another request waits for its turn.
    fn poll_half_closed(&mut self, later: bool, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let now = Instant::now();
        let half = match &mut self.half_closed {
            Some(half) => half,
            none => {
                let behind = self
                    .whole
                    .map_or(Duration::ZERO, |whole| now.duration_since(whole));
                if behind > RIGHT_BEHIND && !later {
                    return Poll::Ready(Ok(()));
                }
                tracing::debug!(
                    ?behind,
                    "the client ended its sending side after its request"
                );
                self.connection.state.heads.half_closed();
                let deadline = now + self.half_close_limit;
                none.insert(Box::new(HalfClosed {
                    since: now,
                    deadline: Box::pin(tokio::time::sleep_until(deadline.into())),
                    looks: Looks::new(),
                    acknowledged: self.io.stream().acknowledged(),
                    shut: None,
                }))
            }
        };
        while half.looks.poll(cx).is_ready() {
            if self.io.refused_after_fin() {
                return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
            }
        }
        if later || self.connection.state.heads.has_answer() {
            return Poll::Pending;
        }
        std::task::ready!(half.deadline.as_mut().poll(cx));
        let limit = self.half_close_limit;
        let waited = half.since.elapsed();
        let at = Instant::now();
        tracing::debug!(
            ?waited,
            "no answer for a client that ended its sending side"
        );
        self.connection
            .state
            .heads
            .gives_up(GaveUp { limit, waited, at });
        Poll::Ready(Ok(()))
    }

    /// Records when the request under way had arrived completely.
    fn note_whole(&mut self) {
        if self.requests.is_in_body() {
            return;
        }
        let now = Instant::now();
        self.whole = Some(now);
        if let Some(half) = &mut self.half_closed {
            // Several requests came before the FIN: the next one gets the full time again.
            half.since = now;
            let deadline = now + self.half_close_limit;
            half.deadline.as_mut().reset(deadline.into());
        }
    }

    /// Ready when it is known whether a client that had ended its sending side received its answer,
    /// or when that has taken too long. A client that reads acknowledges the answer; one that is
    /// gone replies with a reset and acknowledges nothing.
    fn poll_delivery(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(half) = &mut self.half_closed else {
            return Poll::Ready(());
        };
        let began = *half.shut.get_or_insert_with(|| {
            half.looks = Looks::new();
            Instant::now()
        });
        loop {
            let now = self.io.stream().acknowledged();
            if now.is_none() || now > half.acknowledged {
                return Poll::Ready(());
            }
            if self.io.refused_after_fin() || began.elapsed() > DELIVERY {
                return Poll::Ready(());
            }
            std::task::ready!(half.looks.poll(cx));
        }
    }

    /// Pending while there is time left for a head. Ready when something has changed.
    fn poll_deadline(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let limit = self.head_limit;
        let connection = &self.connection;
        let begun = !self.buffer.is_empty();
        // A connection that is kept may be idle for as long as a head may take; the time for the
        // head itself starts with its first byte.
        if begun
            && self
                .deadline
                .as_ref()
                .is_some_and(|deadline| !deadline.begun)
        {
            self.deadline = None;
        }
        let deadline = self.deadline.get_or_insert_with(|| {
            let first = connection.state.heads.is_first();
            let since = if first {
                connection.accepted.opened()
            } else {
                Instant::now()
            };
            let sleep = Box::pin(tokio::time::sleep_until((since + limit).into()));
            Deadline {
                since,
                begun: begun || first,
                sleep,
            }
        });
        std::task::ready!(deadline.sleep.as_mut().poll(cx));
        let waited = deadline.since.elapsed();
        self.deadline = None;
        if self.buffer.is_empty() {
            // No request, so no answer: just end the connection.
            self.connection.state.heads.nothing_came(waited);
            self.ended = true;
        } else {
            let detail = format!("{} bytes of a head came in time", self.buffer.len());
            let checked = self.requests.too_slow(&self.buffer, detail);
            self.refuse_after(*checked, waited);
        }
        Poll::Ready(())
    }

    fn let_in(&mut self, checked: Checked) {
        let waited = self
            .deadline
            .take()
            .map(|deadline| deadline.since.elapsed());
        let waited = waited.unwrap_or_default();
        self.connection
            .state
            .heads
            .push(CheckedHead { checked, waited });
        self.unflushed = true;
    }

    fn refuse(&mut self, checked: Checked) {
        let waited = self
            .deadline
            .take()
            .map(|deadline| deadline.since.elapsed());
        self.refuse_after(checked, waited.unwrap_or_default());
    }

    fn refuse_after(&mut self, checked: Checked, waited: Duration) {
        self.connection
            .state
            .heads
            .push(CheckedHead { checked, waited });
        self.connection.state.heads.set_partial(0);
        self.refused = true;
        self.stand_in = STAND_IN;
        self.buffer = BytesMut::new();
    }

    /// Whether bytes may be on their way that will not be read.
    fn must_linger(&self) -> bool {
        !self.ended && (self.refused || !self.requests.is_at_head())
    }
}

impl AsyncRead for Gate {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let gate = self.get_mut();
        std::task::ready!(gate.poll_next(cx))?;
        if gate.stand_in.is_empty() {
            let count = gate.passed.min(out.remaining());
            out.put_slice(gate.buffer.get(..count).unwrap_or_default());
            gate.buffer.advance(count);
            gate.passed -= count;
            if gate.buffer.is_empty() && gate.passed == 0 {
                // An idle connection holds no memory for earlier bytes.
                gate.buffer = BytesMut::new();
            }
        } else {
            let count = gate.stand_in.len().min(out.remaining());
            let (now, later) = gate.stand_in.split_at(count);
            out.put_slice(now);
            gate.stand_in = later;
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Gate {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let gate = self.get_mut();
        // hyper flushes after all of its own bytes are written.
        if gate.interim.is_empty() {
            gate.interim = gate.connection.state.interim.take_text();
        }
        while !gate.interim.is_empty() {
            let written = Pin::new(&mut gate.io).poll_write(cx, &gate.interim);
            let count = std::task::ready!(written)?;
            if count == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            gate.interim.drain(..count);
            if gate.interim.is_empty() {
                gate.connection.state.interim.written();
            }
        }
        std::task::ready!(Pin::new(&mut gate.io).poll_flush(cx))?;
        if gate.unflushed && gate.connection.state.heads.in_flight() == 0 {
            gate.unflushed = false;
            if let Some(reader) = gate.awaits_flush.take() {
                reader.wake();
            }
        }
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let gate = self.get_mut();
        if gate
            .half_closed
            .as_ref()
            .is_some_and(|half| half.shut.is_some())
        {
            std::task::ready!(gate.poll_delivery(cx));
            return Poll::Ready(Ok(()));
        }
        if gate.linger.is_none() {
            let shut = std::task::ready!(Pin::new(&mut gate.io).poll_shutdown(cx));
            std::task::ready!(gate.poll_delivery(cx));
            shut?;
            if !gate.must_linger() {
                return Poll::Ready(Ok(()));
            }
        }
        let linger = gate.linger.get_or_insert_with(|| Linger {
            sleep: Box::pin(tokio::time::sleep(LINGER)),
            left: LINGER_BYTES,
        });
        let mut waste = [0; 4096];
        while linger.left > 0 && linger.sleep.as_mut().poll(cx).is_pending() {
            let mut waste = ReadBuf::new(&mut waste);
            let read = std::task::ready!(Pin::new(&mut gate.io).poll_read(cx, &mut waste));
            let count = waste.filled().len();
            if read.is_err() || count == 0 {
                break;
            }
            linger.left = linger.left.saturating_sub(count);
        }
        Poll::Ready(Ok(()))
    }
}
