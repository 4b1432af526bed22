//! A client's actions in one session, over a connection that alters bytes on the way.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use rustls::ClientConfig;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpSocket;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::gateway::until;
use super::tamper::{Change, Tampered};
use crate::support::frame::Frame;
use crate::support::head::{Head, upgrade};

/// The protocol below HTTP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Face {
    Plain,
    Tls12,
    Tls13,
}

/// The client's scenario.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Script {
    /// An upgrade, a message and its echo, Close 1000.
    WebSocket,
    /// The same with a gateway that answers late, and a message that goes out at once.
    Early,
    /// Two requests on one connection.
    Kept,
    /// A request with a body.
    Post,
    /// An upgrade that our policy denies, followed by a frame.
    Denied,
    /// A request of HTTP/2, over TLS 1.3.
    Http2,
}

/// One session.
#[derive(Clone, Debug)]
pub struct Plan {
    pub face: Face,
    pub script: Script,
    pub change: Change,
    /// Client address: no other session has it.
    pub ip: Ipv4Addr,
    /// Timeout of the client for each step.
    pub patience: Duration,
}

/// The result that the client saw.
#[derive(Clone, Copy, Debug, Default)]
pub struct Outcome {
    /// Every answer came and was correct.
    pub is_whole: bool,
    /// Number of bytes that it has sent.
    pub sent: usize,
}

/// The tap's listeners, and clients for each version of TLS.
#[derive(Clone)]
pub struct Ways {
    pub plain: SocketAddr,
    pub tls: SocketAddr,
    pub tls12: Arc<ClientConfig>,
    pub tls13: Arc<ClientConfig>,
    pub http2: Arc<ClientConfig>,
}

impl Plan {
    pub async fn run(&self, ways: &Ways) -> Outcome {
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.bind((self.ip, 0).into()).expect("bind");
        let (addr, config) = match (self.face, self.script) {
            (Face::Plain, _) => (ways.plain, None),
            (_, Script::Http2) => (ways.tls, Some(&ways.http2)),
            (Face::Tls12, _) => (ways.tls, Some(&ways.tls12)),
            (Face::Tls13, _) => (ways.tls, Some(&ways.tls13)),
        };
        let tcp = socket.connect(addr).await.expect("connect");
        tcp.set_nodelay(true).expect("set TCP_NODELAY");
        let io = Tampered::new(tcp, self.change.clone());
        let Some(config) = config else {
            let mut io = io;
            let is_whole = self.talk(&mut io).await.is_ok();
            return Outcome {
                is_whole,
                sent: io.sent,
            };
        };
        let name = "localhost".try_into().expect("a name");
        let shaking = TlsConnector::from(Arc::clone(config)).connect(name, io);
        let Ok(Ok(mut io)) = timeout(self.patience, shaking).await else {
            return Outcome::default();
        };
        if self.script == Script::Http2 {
            let is_whole = self.http2(io).await.is_some();
            return Outcome { is_whole, sent: 0 };
        }
        let is_whole = self.talk(&mut io).await.is_ok();
        Outcome {
            is_whole,
            sent: io.get_ref().0.sent,
        }
    }

    async fn talk<S>(&self, io: &mut S) -> io::Result<()>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let mut talk = Talk {
            io,
            buf: Vec::new(),
            patience: self.patience,
        };
        match self.script {
            Script::WebSocket => {
                talk.send(&upgrade("/ws", "localhost", &[])).await?;
                talk.head(101).await?;
                talk.send(&hello()).await?;
                talk.echo_and_close().await
            }
            Script::Early => {
                talk.send(&upgrade("/slow", "localhost", &[])).await?;
                talk.send(&hello()).await?;
                talk.head(101).await?;
                talk.echo_and_close().await
            }
            Script::Kept => {
                for path in ["/a", "/b"] {
                    let get = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n");
                    talk.send(get.as_bytes()).await?;
                    talk.ok().await?;
                }
                talk.end().await
            }
            Script::Post => {
                let head = "POST /p HTTP/1.1\r\nHost: localhost\r\nContent-Length: 40\r\n\r\n";
                talk.send(head.as_bytes()).await?;
                talk.send(b"the first half of it").await?;
                talk.send(b" and the other half.").await?;
                talk.ok().await?;
                talk.end().await
            }
            Script::Denied => {
                let origin = [("Origin", "https://stranger.example")];
                talk.send(&upgrade("/ws", "localhost", &origin)).await?;
                talk.send(&hello()).await?;
                talk.head(403).await?;
                talk.end().await
            }
            Script::Http2 => Ok(()),
        }
    }

    /// `None` when an answer did not come.
    async fn http2<S>(&self, io: S) -> Option<()>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let steps = async {
            let (mut send, connection) = h2::client::handshake(io).await.ok()?;
            // Lives as long as this session.
            let mut driver = JoinSet::new();
            driver.spawn(connection);
            for path in ["/a", "/b"] {
                let get = http::Request::get(format!("https://localhost{path}"));
                let get = get.body(()).expect("a request");
                send = send.ready().await.ok()?;
                let (answer, _) = send.send_request(get, true).ok()?;
                let mut body = answer.await.ok()?.into_body();
                while body.data().await.transpose().ok()?.is_some() {}
            }
            Some(())
        };
        timeout(self.patience, steps).await.ok()?
    }
}

fn hello() -> Vec<u8> {
    Frame::text("hello").masked().to_bytes()
}

struct Talk<'a, S> {
    io: &'a mut S,
    buf: Vec<u8>,
    patience: Duration,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Talk<'_, S> {
    async fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.io.write_all(bytes).await?;
        self.io.flush().await
    }

    async fn next<T>(&mut self, take: impl FnMut(&mut Vec<u8>) -> Option<T>) -> io::Result<T> {
        timeout(self.patience, until(self.io, &mut self.buf, take)).await?
    }

    async fn head(&mut self, status: u16) -> io::Result<Head> {
        let head = self.next(Head::take).await?;
        let line = format!("HTTP/1.1 {status} ");
        if head.first_line().starts_with(&line) {
            Ok(head)
        } else {
            Err(io::ErrorKind::InvalidData.into())
        }
    }

    async fn ok(&mut self) -> io::Result<()> {
        self.head(200).await?;
        let wanted = |buf: &mut Vec<u8>| (buf.len() >= 2).then(|| buf.drain(..2).collect());
        let body: Vec<u8> = self.next(wanted).await?;
        if body == b"ok" {
            Ok(())
        } else {
            Err(io::ErrorKind::InvalidData.into())
        }
    }

    async fn echo_and_close(&mut self) -> io::Result<()> {
        let echo = self.next(Frame::take).await?;
        let close = Frame::close(1000, "").masked().to_bytes();
        self.send(&close).await?;
        let answer = self.next(Frame::take).await?;
        self.end().await?;
        if echo == Frame::text("hello") && answer == Frame::close(1000, "") {
            Ok(())
        } else {
            Err(io::ErrorKind::InvalidData.into())
        }
    }

    /// Sends FIN, and reads until the other side's end.
    async fn end(&mut self) -> io::Result<()> {
        self.io.shutdown().await?;
        match self.next(|_| None::<()>).await {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(()),
            Err(error) => Err(error),
            Ok(()) => Ok(()),
        }
    }
}
