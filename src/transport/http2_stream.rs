//! One stream of an HTTP/2 connection as a client's leg of a tunnel (RFC 8441 section 5): DATA
//! frames are its bytes, `END_STREAM` its FIN, `RST_STREAM` its reset.
//!
//! Flow control is the backpressure: the window grows only by bytes that were read here, and
//! nothing is taken from the gateway while the client takes nothing.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use h2::{Reason, RecvStream, SendStream};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::cause;
use super::sensed::Sensed;
use crate::session::end_cause::EndCause;
use crate::session::record::TransportEnd;

/// Both directions of a stream.
#[derive(Debug)]
pub struct Http2Stream {
    send: SendStream<Bytes>,
    recv: RecvStream,
    /// Bytes that came and are not read yet.
    ahead: Bytes,
    /// Our side has ended.
    ended: bool,
    /// The connection that carries the stream.
    connection: Arc<Sensed>,
}

impl Http2Stream {
    /// A stream whose response head has been sent.
    #[must_use]
    pub fn new(send: SendStream<Bytes>, recv: RecvStream, connection: Arc<Sensed>) -> Self {
        Self {
            send,
            recv,
            ahead: Bytes::new(),
            ended: false,
            connection,
        }
    }

    /// Ends both directions at once, as a reset of TCP does (RFC 8441 section 5).
    pub fn reset(mut self) {
        self.send.send_reset(Reason::CANCEL);
    }

    /// Whether the client has reset the stream, without reading. The library keeps one waker for this and for writes,
    /// so `task` must be the task that writes.
    pub fn broke(&mut self, task: &Waker) -> Option<(TransportEnd, EndCause)> {
        match self.send.poll_reset(&mut Context::from_waker(task)) {
            Poll::Pending => None,
            Poll::Ready(Ok(reason)) => Some((TransportEnd::Rst, reset_cause(reason))),
            Poll::Ready(Err(error)) => Some(cause::of_error(&self.error(&error))),
        }
    }

    fn error(&self, error: &h2::Error) -> io::Error {
        if error.is_reset()
            && let Some(reason) = error.reason()
        {
            return io::Error::new(io::ErrorKind::ConnectionReset, reset_cause(reason));
        }
        of_connection(&self.connection, error)
    }
}

/// A reset of a stream, for its record.
#[must_use]
pub(crate) fn reset_cause(reason: Reason) -> EndCause {
    let words = format!("the stream was reset (RST_STREAM {reason:?})");
    EndCause::reset(words, u32::from(reason).into())
}

/// The error for a stream that ended with its connection: the stream ended in the same way.
fn of_connection(connection: &Sensed, error: &h2::Error) -> io::Error {
    let Some(end) = connection.end() else {
        return io::Error::other(error.to_string());
    };
    let kind = match end.kind {
        TransportEnd::Rst => io::ErrorKind::ConnectionReset,
        TransportEnd::Timeout => io::ErrorKind::TimedOut,
        TransportEnd::TlsTruncated => io::ErrorKind::UnexpectedEof,
        // An orderly end: the reader gets an end of the stream instead of an error.
        TransportEnd::Fin | TransportEnd::TlsClose => io::ErrorKind::BrokenPipe,
        TransportEnd::Local | TransportEnd::None => io::ErrorKind::Other,
    };
    let cause = end.cause.unwrap_or_else(|| error.to_string().into());
    io::Error::new(kind, cause)
}

impl AsyncRead for Http2Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let stream = self.get_mut();
        while stream.ahead.is_empty() {
            match std::task::ready!(stream.recv.poll_data(cx)) {
                Some(Ok(bytes)) => stream.ahead = bytes,
                None => return Poll::Ready(Ok(())),
                Some(Err(error)) => {
                    let error = stream.error(&error);
                    return Poll::Ready(if error.kind() == io::ErrorKind::BrokenPipe {
                        Ok(())
                    } else {
                        Err(error)
                    });
                }
            }
        }
        let count = stream.ahead.len().min(buf.remaining());
        buf.put_slice(&stream.ahead.split_to(count));
        // Fails only if there is no flow left to control.
        let _ = stream.recv.flow_control().release_capacity(count);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Http2Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let stream = self.get_mut();
        if bytes.is_empty() {
            return Poll::Ready(Ok(0));
        }
        match stream.send.poll_reset(cx) {
            Poll::Pending => {}
            Poll::Ready(Ok(reason)) => {
                let cause = reset_cause(reason);
                return Poll::Ready(Err(io::Error::new(io::ErrorKind::ConnectionReset, cause)));
            }
            Poll::Ready(Err(error)) => return Poll::Ready(Err(stream.error(&error))),
        }
        stream.send.reserve_capacity(bytes.len());
        while stream.send.capacity() == 0 {
            match std::task::ready!(stream.send.poll_capacity(cx)) {
                Some(Ok(_)) => {}
                Some(Err(error)) => return Poll::Ready(Err(stream.error(&error))),
                None => return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
            }
        }
        let count = stream.send.capacity().min(bytes.len());
        let (now, _) = bytes.split_at(count);
        let sent = stream.send.send_data(Bytes::copy_from_slice(now), false);
        Poll::Ready(match sent {
            Ok(()) => Ok(count),
            Err(error) => Err(stream.error(&error)),
        })
    }

    /// Written bytes belong to the connection, which sends them as fast as its client reads.
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        let stream = self.get_mut();
        if std::mem::replace(&mut stream.ended, true) {
            return Poll::Ready(Ok(()));
        }
        let sent = stream.send.send_data(Bytes::new(), true);
        Poll::Ready(sent.map_err(|error| stream.error(&error)))
    }
}
