//! A passive look at a stream while hyper drives it: how much came, what it began with and how
//! it ended. hyper's own errors do not tell a FIN from a reset.

use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Instant;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::cause;
use super::stream::Stream;
use crate::session::end_cause::EndCause;
use crate::session::record::frames::TcpFacts;
use crate::session::record::{FirstBytes, TransportEnd};

/// What was sensed; shared with whoever writes the record.
#[derive(Debug, Default)]
pub struct Sensed {
    bytes_read: AtomicU64,
    bytes_written: AtomicU64,
    /// Locked on the first read and on the end only.
    rare: Mutex<Rare>,
}

#[derive(Debug, Default)]
struct Rare {
    first: Vec<u8>,
    end: Option<End>,
}

/// How a stream ended.
#[derive(Clone, Debug)]
pub struct End {
    /// What the far end, or its kernel, did.
    pub end: TransportEnd,
    /// Why the stream did not end normally.
    pub cause: Option<EndCause>,
    /// When it was seen.
    pub at: Instant,
    /// What the kernel knew of a TCP connection that it gave up.
    pub tcp: Option<TcpFacts>,
    /// After FIN: when what was sent to the far end was found to be answered with a reset.
    pub refused: Option<Instant>,
}

impl Sensed {
    /// Bytes read so far, after TLS.
    #[must_use]
    pub fn bytes_read(&self) -> u64 {
        self.bytes_read.load(Ordering::Relaxed)
    }

    /// Bytes written so far, before TLS.
    #[must_use]
    pub fn bytes_written(&self) -> u64 {
        self.bytes_written.load(Ordering::Relaxed)
    }

    /// How it ended, once it has.
    #[must_use]
    pub fn end(&self) -> Option<End> {
        self.rare().end.clone()
    }

    /// What the first bytes looked like.
    #[must_use]
    pub fn first_bytes(&self) -> FirstBytes {
        FirstBytes::of(&self.rare().first)
    }

    /// It began with a TLS alert (RFC 8446 section 5.1): the far end wants TLS.
    #[must_use]
    pub fn began_with_tls_alert(&self) -> bool {
        self.rare().first.starts_with(&[0x15, 0x03])
    }

    /// It began with an HTTP/1 status line.
    #[must_use]
    pub fn began_with_http_answer(&self) -> bool {
        self.rare().first.starts_with(b"HTTP/")
    }

    fn rare(&self) -> std::sync::MutexGuard<'_, Rare> {
        self.rare.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn read(&self, bytes: &[u8]) {
        if self
            .bytes_read
            .fetch_add(bytes.len() as u64, Ordering::Relaxed)
            < 8
        {
            let mut rare = self.rare();
            let room = 8usize.saturating_sub(rare.first.len());
            rare.first.extend(bytes.iter().take(room));
        }
    }

    /// Bytes came in a stream of it that is sensed for itself.
    pub fn came(&self, bytes: usize) {
        self.bytes_read.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// It has ended; the first who tells it is right.
    pub fn ended(&self, end: TransportEnd, cause: Option<EndCause>) {
        self.ended_with(end, cause, None);
    }

    fn ended_with(&self, end: TransportEnd, cause: Option<EndCause>, tcp: Option<TcpFacts>) {
        let at = Instant::now();
        match &mut self.rare().end {
            // Its FIN ended one direction; the reset shows that it does not read either.
            Some(before) if before.end.is_orderly() && end == TransportEnd::Rst => {
                before.refused.get_or_insert(at);
            }
            Some(_) => {}
            none => {
                *none = Some(End {
                    end,
                    cause,
                    at,
                    tcp,
                    refused: None,
                });
            }
        }
    }
}

/// A stream that is looked at.
#[derive(Debug)]
pub struct Sensor {
    stream: Stream,
    sensed: Arc<Sensed>,
    writes: Writes,
}

/// What a failed write means for the code that drives the stream.
#[derive(Debug)]
enum Writes {
    /// The write returns the error.
    Matter,
    /// The write's error is dropped and reading decides: an answer that the far end sent before it
    /// stopped reading is still there.
    AnswerMatters,
    /// Like `AnswerMatters`, after a write has failed: nothing is written any more.
    Refused(TransportEnd, EndCause),
}

impl Sensor {
    /// Looks at `stream`.
    #[must_use]
    pub fn new(stream: Stream) -> (Self, Arc<Sensed>) {
        let sensed = Arc::new(Sensed::default());
        (
            Self {
                stream,
                sensed: Arc::clone(&sensed),
                writes: Writes::Matter,
            },
            sensed,
        )
    }

    /// The wrapped stream.
    #[must_use]
    pub fn stream(&self) -> &Stream {
        &self.stream
    }

    /// Watches a `stream` to a server. A server that answers a request before it has read all of it may
    /// close or reset the connection at once. HTTP libraries give up at the first failed write and lose
    /// an answer that has already arrived. So after a failed write, further writes are dropped, and
    /// reading returns the answer or shows how the connection ended.
    #[must_use]
    pub fn for_answers(stream: Stream) -> (Self, Arc<Sensed>) {
        let (mut sensor, sensed) = Self::new(stream);
        sensor.writes = Writes::AnswerMatters;
        (sensor, sensed)
    }

    /// Whether a reset came for what was sent after the far end's FIN. Reading would not show it: it
    /// returns the FIN again.
    pub fn refused_after_fin(&self) -> bool {
        if let Some((end, cause)) = self.stream.broke() {
            self.ended(end, Some(cause));
        }
        self.sensed.end().is_some_and(|end| end.refused.is_some())
    }

    /// The stream again.
    #[must_use]
    pub fn into_inner(self) -> Stream {
        self.stream
    }

    /// Result of a write for the code that drives the stream: `discarded` where the bytes are
    /// dropped.
    fn written<T>(&mut self, poll: Poll<io::Result<T>>, discarded: T) -> Poll<io::Result<T>> {
        let Poll::Ready(Err(error)) = &poll else {
            return poll;
        };
        let (end, words) = cause::of_error(error);
        if matches!(self.writes, Writes::Matter) || !end.is_by_peer() {
            self.ended(end, Some(words));
            return poll;
        }
        tracing::debug!(error = %words, "the gateway takes no more of a request; its answer is awaited");
        self.writes = Writes::Refused(end, words);
        Poll::Ready(Ok(discarded))
    }

    fn refuses(&self) -> bool {
        matches!(self.writes, Writes::Refused(..))
    }

    fn note<T>(&self, poll: &Poll<io::Result<T>>) {
        if let Poll::Ready(Err(error)) = poll {
            let (end, cause) = cause::of_error(error);
            self.ended(end, Some(cause));
        }
    }

    fn ended(&self, end: TransportEnd, cause: Option<EndCause>) {
        let gave_up = end == TransportEnd::Timeout;
        let tcp = gave_up.then(|| self.stream.tcp_facts()).flatten();
        let tcp = tcp.map(TcpFacts::from);
        self.sensed.ended_with(end, cause, tcp);
    }
}

impl AsyncRead for Sensor {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let poll = Pin::new(&mut self.stream).poll_read(cx, buf);
        if matches!(poll, Poll::Ready(Ok(()))) {
            match buf.filled().get(before..) {
                Some(bytes) if !bytes.is_empty() => self.sensed.read(bytes),
                _ if buf.capacity() > before => {
                    if let Writes::Refused(end, words) = &self.writes {
                        // The system tells an error once, and the write had it.
                        self.ended(*end, Some(words.clone()));
                    }
                    let tls = self.stream.is_tls();
                    let end = if tls {
                        TransportEnd::TlsClose
                    } else {
                        TransportEnd::Fin
                    };
                    self.ended(end, None);
                }
                _ => {}
            }
        }
        self.note(&poll);
        poll
    }
}

impl AsyncWrite for Sensor {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.refuses() {
            return Poll::Ready(Ok(buf.len()));
        }
        let poll = Pin::new(&mut self.stream).poll_write(cx, buf);
        if let Poll::Ready(Ok(count)) = &poll {
            self.sensed
                .bytes_written
                .fetch_add(*count as u64, Ordering::Relaxed);
        }
        self.written(poll, buf.len())
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let all = bufs.iter().map(|buf| buf.len()).sum();
        if self.refuses() {
            return Poll::Ready(Ok(all));
        }
        let poll = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        if let Poll::Ready(Ok(count)) = &poll {
            self.sensed
                .bytes_written
                .fetch_add(*count as u64, Ordering::Relaxed);
        }
        self.written(poll, all)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.refuses() {
            return Poll::Ready(Ok(()));
        }
        let poll = Pin::new(&mut self.stream).poll_flush(cx);
        self.written(poll, ())
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
