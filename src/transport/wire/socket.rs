//! A leg's socket, whatever carries it.

use std::io::{self, Read as _};
use std::pin::Pin;
use std::task::{Context, Poll};

use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::{TcpStream, UnixStream};

use crate::session::record::TransportEnd;
use crate::session::record::frames::TcpFacts;
use crate::transport::http2_stream::Http2Stream;
use crate::transport::socket::ClientSocket;
use crate::transport::{cause, tcp_info};

#[derive(Debug)]
pub(super) struct Socket {
    pub(super) stream: Raw,
    /// Bytes that the kernel has taken.
    pub(super) written: u64,
    /// The kernel is asked even if the reactor knows of nothing to read.
    pub(super) at_once: bool,
    /// There was nothing to read, and the reactor has promised to wake the task when there is.
    awaited: bool,
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
            at_once: false,
            awaited: false,
        }
    }

    /// Always by the same task.
    pub(super) fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        room: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        if self.awaited && !self.at_once && !self.is_readable() {
            return Poll::Pending;
        }
        let mut buf = ReadBuf::new(room);
        let poll = match &mut self.stream {
            Raw::Tcp(tcp) => Pin::new(tcp).poll_read(cx, &mut buf),
            Raw::Unix(unix) => Pin::new(unix).poll_read(cx, &mut buf),
            Raw::Http2(stream) => Pin::new(stream).poll_read(cx, &mut buf),
        };
        let poll = poll.map_ok(|()| buf.filled().len());
        self.awaited = poll.is_pending();
        if poll.is_ready() || !self.at_once {
            return poll;
        }
        let socket = match &self.stream {
            Raw::Tcp(tcp) => SockRef::from(tcp),
            Raw::Unix(unix) => SockRef::from(unix),
            // Nothing comes to a stream but by way of its connection.
            Raw::Http2(_) => return poll,
        };
        match (&*socket).read(room) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Poll::Pending,
            read => Poll::Ready(read),
        }
    }

    /// Whether the reactor has learned of something to read since there was nothing. It says so before
    /// it wakes the task: if it has not, the promise stands and need not be made again, which is six
    /// times the work.
    fn is_readable(&self) -> bool {
        let known = match &self.stream {
            Raw::Tcp(tcp) => tcp.try_io(Interest::READABLE, || Ok(())),
            Raw::Unix(unix) => unix.try_io(Interest::READABLE, || Ok(())),
            Raw::Http2(_) => Ok(()),
        };
        known.is_ok()
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
        self.count(poll)
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
        self.count(poll)
    }

    fn count(&mut self, poll: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if let Poll::Ready(Ok(count)) = &poll {
            self.written += *count as u64;
        }
        poll
    }

    /// Writes as much as is taken at once and returns how much that was.
    pub(super) fn write(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> io::Result<usize> {
        let mut left = bytes;
        while !left.is_empty() {
            match self.poll_write(cx, left) {
                Poll::Ready(Ok(0)) => return Err(io::ErrorKind::WriteZero.into()),
                Poll::Ready(Ok(count)) => left = left.get(count..).unwrap_or_default(),
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

    pub(super) fn broke(&mut self) -> Option<(TransportEnd, String)> {
        let error = match &mut self.stream {
            Raw::Http2(stream) => return stream.broke(),
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
