//! A passive look at a stream while hyper drives it. hyper's own errors do not distinguish a FIN
//! from a reset.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::cause;
use super::impossible::{Impossible, slice};
use super::sensed::Sensed;
use super::stream::Stream;
use crate::session::end_cause::EndCause;
use crate::session::record::TransportEnd;
use crate::session::record::frames::TcpFacts;

/// A stream whose reads and writes are observed.
#[derive(Debug)]
pub(crate) struct Sensor {
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
    /// Observes `stream`.
    #[must_use]
    pub(crate) fn new(stream: Stream) -> (Self, Arc<Sensed>) {
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
    pub(crate) fn stream(&self) -> &Stream {
        &self.stream
    }

    /// Watches a `stream` to a server. A server that answers a request before it has read all of it may
    /// close or reset the connection at once. HTTP libraries give up at the first failed write and lose
    /// an answer that has already arrived. So after a failed write, further writes are dropped, and
    /// reading returns the answer or shows how the connection ended.
    #[must_use]
    pub(crate) fn for_answers(stream: Stream) -> (Self, Arc<Sensed>) {
        let (mut sensor, sensed) = Self::new(stream);
        sensor.writes = Writes::AnswerMatters;
        (sensor, sensed)
    }

    /// Whether bytes that were sent after the far end's FIN were answered with a reset. Reading
    /// would not show it: it returns the FIN again.
    pub(crate) fn refused_after_fin(&self) -> bool {
        if let Some((end, cause)) = self.stream.broke() {
            self.ended(end, Some(cause));
        }
        self.sensed.end().is_some_and(|end| end.refused.is_some())
    }

    /// Unwraps the stream.
    #[must_use]
    pub(crate) fn into_inner(self) -> Stream {
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
            let read = slice(buf.filled(), before.., Impossible::Read);
            match read {
                Err(bug) => {
                    let poll = Poll::Ready(Err(bug.into()));
                    self.note(&poll);
                    return poll;
                }
                Ok(bytes) if !bytes.is_empty() => self.sensed.read(bytes),
                Ok(_) if buf.capacity() > before => {
                    if let Writes::Refused(end, words) = &self.writes {
                        // The system reports an error once, and the write got it.
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
                Ok(_) => {}
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

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::UnixStream;

    use super::*;
    use crate::transport::impossible::test_only;

    /// An empty buffer would look like a FIN.
    #[tokio::test]
    async fn a_wrong_count_of_read_bytes_is_a_bug_and_no_end() {
        let (near, mut far) = UnixStream::pair().unwrap();
        let (mut sensor, sensed) = Sensor::new(Stream::Unix(near));
        far.write_all(b"bytes").await.unwrap();
        test_only::make_wrong(Impossible::Read, 0);
        let error = sensor.read(&mut [0; 8]).await.unwrap_err();
        assert_eq!(Impossible::of(&error), Some(Impossible::Read));
        assert!(sensed.end().unwrap().cause.unwrap().is_bug());
    }
}
