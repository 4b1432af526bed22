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
    /// Why, where it did not end in order.
    pub cause: Option<EndCause>,
    /// When it was seen.
    pub at: Instant,
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
        self.rare().end.get_or_insert(End {
            end,
            cause,
            at: Instant::now(),
        });
    }
}

/// A stream that is looked at.
#[derive(Debug)]
pub struct Sensor {
    stream: Stream,
    sensed: Arc<Sensed>,
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
            },
            sensed,
        )
    }

    /// The stream.
    #[must_use]
    pub fn stream(&self) -> &Stream {
        &self.stream
    }

    /// The stream again.
    #[must_use]
    pub fn into_inner(self) -> Stream {
        self.stream
    }

    fn note<T>(&self, poll: &Poll<io::Result<T>>) {
        if let Poll::Ready(Err(error)) = poll {
            let (end, cause) = cause::of_error(error);
            self.sensed.ended(end, Some(cause));
        }
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
                    let tls = self.stream.is_tls();
                    let end = if tls {
                        TransportEnd::TlsClose
                    } else {
                        TransportEnd::Fin
                    };
                    self.sensed.ended(end, None);
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
        let poll = Pin::new(&mut self.stream).poll_write(cx, buf);
        if let Poll::Ready(Ok(count)) = &poll {
            self.sensed
                .bytes_written
                .fetch_add(*count as u64, Ordering::Relaxed);
        }
        self.note(&poll);
        poll
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let poll = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        if let Poll::Ready(Ok(count)) = &poll {
            self.sensed
                .bytes_written
                .fetch_add(*count as u64, Ordering::Relaxed);
        }
        self.note(&poll);
        poll
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let poll = Pin::new(&mut self.stream).poll_flush(cx);
        self.note(&poll);
        poll
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
