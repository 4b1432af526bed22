//! A connection of either side: plain TCP, TLS over TCP, or a unix socket; and the ways to end it.

use std::io::{self, ErrorKind};
use std::net::Shutdown;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::TlsStream;

/// A connection.
pub enum Wire {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
    Unix(UnixStream),
}

/// How reading ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ending {
    /// FIN on a plain connection.
    Fin,
    Rst,
    /// `close_notify`.
    TlsClose,
    /// FIN without `close_notify`.
    TlsTruncated,
    /// Any other error, in the system's words.
    Other(String),
    /// It did not end in time.
    StillOpen,
}

impl Ending {
    /// What an error of reading or writing shows.
    pub fn of_error(error: &io::Error) -> Self {
        match error.kind() {
            ErrorKind::ConnectionReset | ErrorKind::BrokenPipe => Self::Rst,
            ErrorKind::UnexpectedEof => Self::TlsTruncated,
            _ => Self::Other(error.to_string()),
        }
    }
}

impl Wire {
    /// Reads once, appending to `into`. Nothing is lost when the future is dropped.
    pub async fn read_some(&mut self, into: &mut Vec<u8>) -> Result<usize, Ending> {
        into.reserve(64 * 1024);
        match self.read_buf(into).await {
            Ok(0) if matches!(self, Self::Tls(_)) => Err(Ending::TlsClose),
            Ok(0) => Err(Ending::Fin),
            Ok(read) => Ok(read),
            Err(error) => Err(Ending::of_error(&error)),
        }
    }

    /// Writes all of it and flushes.
    pub async fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.write_all(bytes).await?;
        self.flush().await
    }

    /// RST: what was not yet sent is lost. A unix socket just closes.
    pub fn abort(self) {
        if let Some(tcp) = self.tcp() {
            SockRef::from(tcp)
                .set_linger(Some(Duration::ZERO))
                .expect("set SO_LINGER");
        }
    }

    /// FIN and nothing before it, so that TLS is truncated.
    pub fn fin(&mut self) {
        let done = match self {
            Self::Unix(unix) => SockRef::from(&*unix).shutdown(Shutdown::Write),
            Self::Plain(tcp) => SockRef::from(&*tcp).shutdown(Shutdown::Write),
            Self::Tls(tls) => SockRef::from(tls.get_ref().0).shutdown(Shutdown::Write),
        };
        // The far end may have reset it before.
        drop(done);
    }

    /// FIN, after `close_notify` where there is TLS.
    pub async fn finish(&mut self) {
        drop(self.shutdown().await);
    }

    /// `close_notify` without FIN; nothing on a plain connection.
    pub async fn close_notify(&mut self) {
        if let Self::Tls(tls) = self {
            match &mut **tls {
                TlsStream::Client(tls) => tls.get_mut().1.send_close_notify(),
                TlsStream::Server(tls) => tls.get_mut().1.send_close_notify(),
            }
            drop(tls.flush().await);
        }
    }

    /// The TCP connection below.
    /// What ALPN agreed on.
    pub fn alpn(&self) -> Option<Vec<u8>> {
        match self {
            Self::Tls(tls) => tls.get_ref().1.alpn_protocol().map(<[u8]>::to_vec),
            Self::Plain(_) | Self::Unix(_) => None,
        }
    }

    pub fn tcp(&self) -> Option<&TcpStream> {
        match self {
            Self::Plain(tcp) => Some(tcp),
            Self::Tls(tls) => Some(tls.get_ref().0),
            Self::Unix(_) => None,
        }
    }
}

impl AsyncRead for Wire {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(tcp) => Pin::new(tcp).poll_read(cx, buf),
            Self::Tls(tls) => Pin::new(tls).poll_read(cx, buf),
            Self::Unix(unix) => Pin::new(unix).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Wire {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(tcp) => Pin::new(tcp).poll_write(cx, buf),
            Self::Tls(tls) => Pin::new(tls).poll_write(cx, buf),
            Self::Unix(unix) => Pin::new(unix).poll_write(cx, buf),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(tcp) => Pin::new(tcp).poll_flush(cx),
            Self::Tls(tls) => Pin::new(tls).poll_flush(cx),
            Self::Unix(unix) => Pin::new(unix).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(tcp) => Pin::new(tcp).poll_shutdown(cx),
            Self::Tls(tls) => Pin::new(tls).poll_shutdown(cx),
            Self::Unix(unix) => Pin::new(unix).poll_shutdown(cx),
        }
    }
}
