//! A client's connection as it was accepted: on a TCP or a unix socket.
//!
//! Bytes before TLS and HTTP (a PROXY header) are read exactly; everything after them stays in the
//! kernel for TLS or the relay, which need the socket itself.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use rustix::net::{RecvFlags, recv};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, Interest, ReadBuf};
use tokio::net::{TcpStream, UnixStream};

use super::tcp_info;
use crate::admission::proxy_header::{Header, Reader};
use crate::session::record::proxy_protocol::ProxyFault;

/// Maximum number of bytes that are peeked at once for a PROXY header.
const LOOK: usize = 512;

/// An accepted connection.
#[derive(Debug)]
pub enum ClientSocket {
    /// TCP.
    Tcp(TcpStream),
    /// A unix socket.
    Unix(UnixStream),
}

/// How reading a PROXY header ended without one.
#[derive(Debug)]
pub enum NoHeader {
    /// The bytes are not a valid header.
    Fault(ProxyFault),
    /// The connection ended; the fault is `None` if nothing had come.
    Ended(Option<ProxyFault>),
    /// The connection broke.
    Broke(io::Error),
}

impl ClientSocket {
    /// The socket's pending error, which the kernel returns only once.
    pub fn take_error(&self) -> io::Result<Option<io::Error>> {
        match self {
            Self::Tcp(tcp) => tcp.take_error(),
            Self::Unix(unix) => unix.take_error(),
        }
    }

    /// How many bytes the far end's host has acknowledged. `None` for a unix socket, where a write
    /// fails at once if it can no longer be read.
    #[must_use]
    pub fn acknowledged(&self) -> Option<u64> {
        match self {
            Self::Tcp(tcp) => tcp_info::acknowledged(tcp),
            Self::Unix(_) => None,
        }
    }

    /// Peeks at the first bytes without consuming them.
    pub async fn peek(&self, room: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(tcp) => tcp.peek(room).await,
            Self::Unix(unix) => {
                let look = || Ok(recv(unix, &mut *room, RecvFlags::PEEK)?.0);
                unix.async_io(Interest::READABLE, look).await
            }
        }
    }

    /// Reads a PROXY header and not one byte more. If this is dropped, the reader keeps the bytes
    /// that came.
    pub async fn read_header(&mut self, reader: &mut Reader) -> Result<Header, NoHeader> {
        let mut room = [0; LOOK];
        loop {
            let count = self.peek(&mut room).await.map_err(NoHeader::Broke)?;
            if count == 0 {
                return Err(NoHeader::Ended(reader.cut()));
            }
            let (taken, result) = reader.offer(room.get(..count).unwrap_or_default());
            // The bytes have arrived: this does not wait.
            let taken = room.get_mut(..taken).unwrap_or_default();
            self.read_exact(taken).await.map_err(NoHeader::Broke)?;
            match result {
                Some(Ok(header)) => return Ok(header),
                Some(Err(fault)) => return Err(NoHeader::Fault(fault)),
                None => {}
            }
        }
    }
}

impl AsyncRead for ClientSocket {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(tcp) => Pin::new(tcp).poll_read(cx, buf),
            Self::Unix(unix) => Pin::new(unix).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for ClientSocket {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp(tcp) => Pin::new(tcp).poll_write(cx, buf),
            Self::Unix(unix) => Pin::new(unix).poll_write(cx, buf),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp(tcp) => Pin::new(tcp).poll_write_vectored(cx, bufs),
            Self::Unix(unix) => Pin::new(unix).poll_write_vectored(cx, bufs),
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        // Neither kind of socket buffers.
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(tcp) => Pin::new(tcp).poll_shutdown(cx),
            Self::Unix(unix) => Pin::new(unix).poll_shutdown(cx),
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt as _;

    use super::*;

    #[tokio::test]
    async fn not_one_byte_behind_the_header_is_taken() {
        let (mut far, near) = UnixStream::pair().unwrap();
        let mut socket = ClientSocket::Unix(near);
        far.write_all(b"PROXY TCP4 203.0.113.9 10.0.0.5 1 2\r\nGET /")
            .await
            .unwrap();
        let mut reader = Reader::default();
        let header = socket.read_header(&mut reader).await.unwrap();
        assert_eq!(header.client, Some("203.0.113.9:1".parse().unwrap()));
        let mut rest = [0; 16];
        assert_eq!(socket.peek(&mut rest).await.unwrap(), 5);
        assert_eq!(socket.read(&mut rest).await.unwrap(), 5);
        assert_eq!(&rest[..5], b"GET /");
    }

    #[tokio::test]
    async fn a_header_byte_by_byte_does_not_spin() {
        let (mut far, near) = UnixStream::pair().unwrap();
        let mut socket = ClientSocket::Unix(near);
        let reading = tokio::spawn(async move {
            let mut reader = Reader::default();
            socket
                .read_header(&mut reader)
                .await
                .map(|header| header.client)
        });
        for byte in b"PROXY TCP6 2001:db8::1 ::1 1 2\r\n" {
            far.write_all(&[*byte]).await.unwrap();
            tokio::task::yield_now().await;
        }
        let client = reading.await.unwrap().unwrap();
        assert_eq!(client, Some("[2001:db8::1]:1".parse().unwrap()));
    }
}
