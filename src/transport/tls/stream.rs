//! TLS with a client, as the stream that hyper drives. The relay takes it apart again.

use std::future::Future as _;
use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};

use bytes::{Buf as _, Bytes};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, ReadBuf};

use super::engine::{Out, TlsEngine};
use crate::transport::impossible::{Impossible, at_most, slice};
use crate::transport::socket::ClientSocket;

/// Bytes per read: a record and a little more, or less if there is no room.
const READ: usize = 17 * 1024;

/// Minimum room for a read.
const READ_MIN: usize = 4 * 1024;

/// Maximum plaintext per write.
const WRITE: usize = 64 * 1024;

/// A connection after its handshake.
#[derive(Debug)]
pub struct TlsStream {
    socket: ClientSocket,
    engine: Box<TlsEngine>,
    /// Plaintext for which there was no room.
    ahead: Bytes,
    /// Records that could not be written yet.
    spill: Bytes,
    /// Records that are sent together with the first write, not by themselves.
    with_first: Vec<u8>,
    /// `close_notify` has been queued.
    closing: bool,
    http2: bool,
}

/// The parts of a stream.
#[derive(Debug)]
pub struct Parts {
    /// The socket.
    pub socket: ClientSocket,
    /// The state of its TLS.
    pub engine: Box<TlsEngine>,
    /// Plaintext that has not been read.
    pub ahead: Bytes,
    /// Records that are not written.
    pub spill: Bytes,
}

impl TlsStream {
    /// A stream after its handshake. `ahead` is plaintext that came after it; `with_first` can wait for the first
    /// answer.
    pub(super) fn new(
        socket: ClientSocket,
        engine: TlsEngine,
        mut ahead: Vec<u8>,
        mut with_first: Vec<u8>,
        http2: bool,
    ) -> io::Result<Self> {
        let mut engine = Box::new(engine.settle()?);
        Out::lent(|out| {
            engine.receive_kept(|bytes| ahead.extend_from_slice(bytes), out);
            with_first.extend_from_slice(out.bytes()?);
            Ok::<_, Impossible>(())
        })?;
        Ok(Self {
            socket,
            engine,
            ahead: ahead.into(),
            spill: Bytes::new(),
            with_first,
            closing: false,
            http2,
        })
    }

    /// Whether ALPN agreed on HTTP/2.
    #[must_use]
    pub fn is_http2(&self) -> bool {
        self.http2
    }

    /// The socket below.
    #[must_use]
    pub fn socket(&self) -> &ClientSocket {
        &self.socket
    }

    /// Takes the stream apart for the relay.
    #[must_use]
    pub fn into_parts(mut self) -> Parts {
        if !self.with_first.is_empty() {
            self.spill = [self.with_first.as_slice(), &self.spill].concat().into();
        }
        Parts {
            socket: self.socket,
            engine: self.engine,
            ahead: self.ahead,
            spill: self.spill,
        }
    }

    /// Sends the records at once that would otherwise wait for the first answer.
    #[cfg(test)]
    pub(super) async fn send_what_waits(&mut self) -> io::Result<()> {
        std::future::poll_fn(|cx| {
            let waits = std::mem::take(&mut self.with_first);
            self.send_all(cx, &waits)?;
            self.poll_spill(cx)
        })
        .await
    }

    /// Writes `bytes` after the records that still wait, and keeps what the socket does not take.
    fn send(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> io::Result<()> {
        if bytes.is_empty() || self.with_first.is_empty() {
            return self.send_all(cx, bytes);
        }
        let mut all = std::mem::take(&mut self.with_first);
        all.extend_from_slice(bytes);
        self.send_all(cx, &all)
    }

    fn send_all(&mut self, cx: &mut Context<'_>, mut bytes: &[u8]) -> io::Result<()> {
        let blocked = self.poll_spill(cx)?.is_pending();
        while !blocked && !bytes.is_empty() {
            match Pin::new(&mut self.socket).poll_write(cx, bytes) {
                Poll::Ready(Ok(0)) => return Err(io::ErrorKind::WriteZero.into()),
                Poll::Ready(Ok(count)) => bytes = slice(bytes, count.., Impossible::Written)?,
                Poll::Ready(Err(error)) => return Err(error),
                Poll::Pending => break,
            }
        }
        if !bytes.is_empty() {
            self.spill = [&self.spill, bytes].concat().into();
        }
        Ok(())
    }

    fn poll_spill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.spill.is_empty() {
            let count = ready!(Pin::new(&mut self.socket).poll_write(cx, &self.spill))?;
            if count == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            let count = at_most(count, self.spill.len(), Impossible::Written)?;
            self.spill.advance(count);
        }
        // An empty `Bytes` would keep its buffer alive.
        self.spill = Bytes::new();
        Poll::Ready(Ok(()))
    }
}

impl AsyncRead for TlsStream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if buf.remaining() == 0 {
            return Poll::Ready(Ok(()));
        }
        loop {
            if !this.ahead.is_empty() {
                let count = this.ahead.len().min(buf.remaining());
                buf.put_slice(&this.ahead.split_to(count));
                if this.ahead.is_empty() {
                    this.ahead = Bytes::new();
                }
                return Poll::Ready(Ok(()));
            }
            if let Some(end) = this.engine.end() {
                return Poll::Ready(end.failure().map_or(Ok(()), Err));
            }
            let (engine, socket) = (&mut this.engine, &mut this.socket);
            let read = engine.read_with(buf.remaining().clamp(READ_MIN, READ), |kept| {
                pin!(socket.read_buf(kept)).poll(cx)
            });
            let Poll::Ready(Ok(1..)) = read else {
                return read.map(|read| match read {
                    Ok(_) => Err(io::ErrorKind::UnexpectedEof.into()),
                    Err(error) => Err(error),
                });
            };
            let (before, mut more) = (buf.filled().len(), Vec::new());
            let sent = Out::lent(|out| {
                let plain = |bytes: &[u8]| {
                    let (now, later) = bytes.split_at(bytes.len().min(buf.remaining()));
                    buf.put_slice(now);
                    more.extend_from_slice(later);
                };
                this.engine.receive_kept(plain, out);
                this.send(cx, out.bytes()?)
            });
            this.ahead = more.into();
            if buf.filled().len() > before {
                return Poll::Ready(Ok(()));
            }
            if this.engine.end().is_none() {
                sent?;
            }
        }
    }
}

impl AsyncWrite for TlsStream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        ready!(this.poll_spill(cx))?;
        let buf = buf.get(..WRITE).unwrap_or(buf);
        Out::lent(|out| {
            this.engine.seal(buf, out)?;
            this.send(cx, out.bytes()?)
        })?;
        Poll::Ready(Ok(buf.len()))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        ready!(this.poll_spill(cx))?;
        let mut count = 0;
        let pieces = bufs.iter().map(|buf| {
            let piece: &[u8] = buf;
            let some = piece.get(..WRITE - count).unwrap_or(piece);
            count += some.len();
            some
        });
        Out::lent(|out| {
            this.engine.seal_all(pieces, out)?;
            this.send(cx, out.bytes()?)
        })?;
        Poll::Ready(Ok(count))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(this.poll_spill(cx))?;
        Pin::new(&mut this.socket).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if !std::mem::replace(&mut this.closing, true) {
            Out::lent(|out| {
                this.engine.close(out);
                this.send(cx, out.bytes()?)
            })?;
            // There is no answer to wait for, and an alert may be among these records.
            let waits = std::mem::take(&mut this.with_first);
            this.send_all(cx, &waits)?;
        }
        ready!(this.poll_spill(cx))?;
        match ready!(Pin::new(&mut this.socket).poll_shutdown(cx)) {
            // The connection is already closed, as it should be.
            Err(error) if error.kind() == io::ErrorKind::NotConnected => Poll::Ready(Ok(())),
            done => Poll::Ready(done),
        }
    }
}

#[cfg(test)]
mod tests;
