//! A leg's socket, of any kind.

use std::io::{self, Read as _};
use std::pin::Pin;
use std::task::{Context, Poll};

use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};

use super::waking::Waking;
use crate::session::end_cause::EndCause;
use crate::session::record::TransportEnd;
use crate::session::record::frames::TcpFacts;
use crate::transport::http2_stream::Http2Stream;
use crate::transport::impossible::{Impossible, at_most, slice};
use crate::transport::socket::ClientSocket;
use crate::transport::{cause, tcp_info};

#[derive(Debug)]
pub(super) struct Socket {
    pub(super) stream: Raw,
    /// Bytes that the kernel has taken.
    pub(super) written: u64,
    waking: Waking,
}

#[derive(Debug)]
pub(super) enum Raw {
    Tcp(TcpStream),
    Unix(UnixStream),
    Http2(Box<Http2Stream>),
}

impl From<ClientSocket> for Raw {
    fn from(socket: ClientSocket) -> Self {
        match socket {
            ClientSocket::Tcp(tcp) => Self::Tcp(tcp),
            ClientSocket::Unix(unix) => Self::Unix(unix),
        }
    }
}

impl Socket {
    pub(super) fn new(stream: Raw) -> Self {
        Self {
            stream,
            written: 0,
            waking: Waking::default(),
        }
    }

    /// From now on every read asks the kernel, even if the reactor reports nothing to read.
    pub(super) fn read_at_once(&mut self) {
        self.waking.read_at_once();
    }

    /// Must always be called by the same task.
    pub(super) fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        room: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let mut buf = ReadBuf::new(room);
        let poll = self.waking.ask(cx, |cx| match &mut self.stream {
            Raw::Tcp(tcp) => Pin::new(tcp).poll_read(cx, &mut buf),
            Raw::Unix(unix) => Pin::new(unix).poll_read(cx, &mut buf),
            Raw::Http2(stream) => Pin::new(stream).poll_read(cx, &mut buf),
        })?;
        let poll = poll.map_ok(|()| buf.filled().len());
        if poll.is_ready() || !self.waking.is_at_once() {
            return poll;
        }
        let socket = match &self.stream {
            Raw::Tcp(tcp) => SockRef::from(tcp),
            Raw::Unix(unix) => SockRef::from(unix),
            Raw::Http2(_) => return poll,
        };
        match (&*socket).read(room) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Poll::Pending,
            read => Poll::Ready(read),
        }
    }

    pub(super) fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let poll = match &mut self.stream {
            Raw::Tcp(tcp) => Pin::new(tcp).poll_write(cx, bytes),
            Raw::Unix(unix) => Pin::new(unix).poll_write(cx, bytes),
            Raw::Http2(stream) => Pin::new(stream).poll_write(cx, bytes),
        };
        self.count(poll, bytes.len())
    }

    pub(super) fn poll_write_vectored(
        &mut self,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let poll = match &mut self.stream {
            Raw::Tcp(tcp) => Pin::new(tcp).poll_write_vectored(cx, bufs),
            Raw::Unix(unix) => Pin::new(unix).poll_write_vectored(cx, bufs),
            Raw::Http2(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
        };
        self.count(poll, bufs.iter().map(|buf| buf.len()).sum())
    }

    /// Counts a write of `given` bytes. The TLS library trusts the count: too large a count would make it drop later
    /// records.
    fn count(&mut self, poll: Poll<io::Result<usize>>, given: usize) -> Poll<io::Result<usize>> {
        let Poll::Ready(Ok(count)) = poll else {
            return poll;
        };
        let count = at_most(count, given, Impossible::Written)?;
        self.written += count as u64;
        Poll::Ready(Ok(count))
    }

    /// Writes as much as is possible without waiting and returns how much that was.
    pub(super) fn write(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> io::Result<usize> {
        let mut left = bytes;
        while !left.is_empty() {
            match self.poll_write(cx, left) {
                Poll::Ready(Ok(0)) => return Err(io::ErrorKind::WriteZero.into()),
                Poll::Ready(Ok(count)) => left = slice(left, count.., Impossible::Written)?,
                Poll::Ready(Err(error)) => return Err(error),
                Poll::Pending => break,
            }
        }
        Ok(bytes.len() - left.len())
    }

    pub(super) fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.stream {
            Raw::Tcp(tcp) => Pin::new(tcp).poll_shutdown(cx),
            Raw::Unix(unix) => Pin::new(unix).poll_shutdown(cx),
            Raw::Http2(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }

    pub(super) fn reset(self) {
        match self.stream {
            Raw::Tcp(tcp) => {
                if let Err(error) = tcp.set_zero_linger() {
                    tracing::debug!(%error, "failed to set SO_LINGER; the leg ends with FIN");
                }
            }
            Raw::Unix(_) => {}
            Raw::Http2(stream) => stream.reset(),
        }
    }

    pub(super) fn broke(&mut self) -> Option<(TransportEnd, EndCause)> {
        let error = match &mut self.stream {
            // Polling the stream replaces the waker of a waiting write, so it must be the task's
            // own waker.
            Raw::Http2(stream) => return stream.broke(self.waking.task()?),
            Raw::Tcp(tcp) => tcp.take_error(),
            Raw::Unix(unix) => unix.take_error(),
        };
        error.ok().flatten().map(|error| cause::of_error(&error))
    }

    pub(super) fn tcp_facts(&self) -> Option<TcpFacts> {
        match &self.stream {
            Raw::Tcp(tcp) => tcp_info::read(tcp),
            Raw::Unix(_) | Raw::Http2(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use tokio::io::AsyncWriteExt as _;

    use super::*;

    /// The reactor records readiness first and takes the waker afterwards. A task that reads in
    /// between and waits again must not conclude that nothing has happened.
    #[tokio::test]
    async fn a_promise_ends_with_the_waking_whatever_there_is_to_read() {
        let (near, mut far) = UnixStream::pair().unwrap();
        let mut socket = Socket::new(Raw::Unix(near));
        let mut room = [0; 8];
        let promised = |socket: &Socket| socket.waking.is_promised();
        poll_fn(|cx| {
            assert!(socket.poll_read(cx, &mut room).is_pending());
            assert!(promised(&socket));
            assert!(socket.poll_read(cx, &mut room).is_pending());
            socket.waking.wake();
            assert!(!promised(&socket));
            assert!(socket.poll_read(cx, &mut room).is_pending());
            assert!(promised(&socket), "made anew");
            Poll::Ready(())
        })
        .await;
        far.write_all(b"late").await.unwrap();
        let read = poll_fn(|cx| socket.poll_read(cx, &mut room)).await.unwrap();
        assert_eq!(&room[..read], b"late");
        assert!(!promised(&socket));
    }
}
