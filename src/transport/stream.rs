//! The concrete streams of both legs, as hyper sees them.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::client;

use super::http2_stream::Http2Stream;
use super::socket::ClientSocket;
use super::tcp_info::TcpLook;
use super::tls::stream::TlsStream;
use super::{cause, tcp_info};
use crate::session::end_cause::EndCause;
use crate::session::record::TransportEnd;

/// A connection to a client or to the gateway, after TLS. Concrete, so that the relay can take
/// the socket and the TLS state back out of hyper.
#[derive(Debug)]
pub enum Stream {
    /// TCP.
    Tcp(TcpStream),
    /// A unix socket.
    Unix(UnixStream),
    /// TLS with a client.
    TlsServer(Box<TlsStream>),
    /// TLS with the gateway.
    TlsClient(Box<client::TlsStream<TcpStream>>),
    /// A stream of a client's HTTP/2 connection.
    Http2(Box<Http2Stream>),
}

/// For a listener without TLS.
impl From<ClientSocket> for Stream {
    fn from(socket: ClientSocket) -> Self {
        match socket {
            ClientSocket::Tcp(tcp) => Self::Tcp(tcp),
            ClientSocket::Unix(unix) => Self::Unix(unix),
        }
    }
}

macro_rules! each {
    ($self:expr, $stream:ident => $call:expr) => {
        match $self.get_mut() {
            Stream::Tcp($stream) => $call,
            Stream::Unix($stream) => $call,
            Stream::TlsServer($stream) => $call,
            Stream::TlsClient($stream) => $call,
            Stream::Http2($stream) => $call,
        }
    };
}

impl Stream {
    /// Whether the stream is TLS, so that its end means `close_notify`, not just FIN.
    #[must_use]
    pub fn is_tls(&self) -> bool {
        matches!(self, Self::TlsServer(_) | Self::TlsClient(_))
    }

    /// The kernel's facts about a connection to the gateway; `None` for a unix socket.
    #[must_use]
    pub fn tcp_facts(&self) -> Option<TcpLook> {
        match self {
            Self::Tcp(tcp) => tcp_info::look(tcp),
            Self::TlsClient(tls) => tcp_info::look(tls.get_ref().0),
            Self::Unix(_) | Self::TlsServer(_) | Self::Http2(_) => None,
        }
    }
}

/// Queries about a client's connection, not about the stream that hyper drives.
impl Stream {
    /// The socket's pending error, which the kernel returns only once.
    pub(super) fn broke(&self) -> Option<(TransportEnd, EndCause)> {
        let error = match self {
            Self::Tcp(tcp) => tcp.take_error(),
            Self::Unix(unix) => unix.take_error(),
            Self::TlsServer(tls) => tls.socket().take_error(),
            Self::TlsClient(tls) => tls.get_ref().0.take_error(),
            Self::Http2(_) => return None,
        };
        error.ok().flatten().map(|error| cause::of_error(&error))
    }

    /// How many bytes the far end's host has acknowledged. `None` for a unix socket, where a write
    /// fails at once if it can no longer be read.
    #[must_use]
    pub fn acknowledged(&self) -> Option<u64> {
        match self {
            Self::Tcp(tcp) => tcp_info::acknowledged(tcp),
            Self::TlsServer(tls) => tls.socket().acknowledged(),
            Self::Unix(_) | Self::TlsClient(_) | Self::Http2(_) => None,
        }
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        each!(self, stream => Pin::new(stream).poll_read(cx, buf))
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        each!(self, stream => Pin::new(stream).poll_write(cx, buf))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        each!(self, stream => Pin::new(stream).poll_write_vectored(cx, bufs))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        each!(self, stream => Pin::new(stream).poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        each!(self, stream => Pin::new(stream).poll_shutdown(cx))
    }
}
