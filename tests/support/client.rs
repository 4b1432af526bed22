//! Clients, well-behaved and not: connect, speak in raw bytes, and end in every way.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use socket2::{Domain, SockAddr, Socket, Type};
use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpSocket, TcpStream, UnixStream};
use tokio_rustls::{TlsConnector, TlsStream};

use super::conn::Conn;
use super::deadline::within;
use super::head::{self, Head};
use super::wire::{Ending, Wire};

/// A plain connection.
pub async fn connect(addr: SocketAddr) -> Conn {
    Conn::bounded(Wire::Plain(tcp(addr).await))
}

/// A plain connection from a loopback address: each address counts as a client of its own.
pub async fn connect_from(from: Ipv4Addr, addr: SocketAddr) -> Conn {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.bind(SocketAddr::from((from, 0))).expect("bind");
    let tcp = within("a connection", socket.connect(addr)).await;
    Conn::bounded(Wire::Plain(tcp.expect("connect")))
}

/// A connection with a small receive buffer, for clients that are slow on purpose.
pub async fn connect_narrow(addr: SocketAddr, receive_buffer: usize) -> Conn {
    let socket = Socket::new(Domain::for_address(addr), Type::STREAM, None).expect("a socket");
    socket
        .set_recv_buffer_size(receive_buffer)
        .expect("set SO_RCVBUF");
    dialled(&socket, addr)
}

/// The same with small segments, for which the far end's kernel keeps a small buffer as well.
pub async fn connect_thin(addr: SocketAddr) -> Conn {
    let socket = Socket::new(Domain::for_address(addr), Type::STREAM, None).expect("a socket");
    socket.set_recv_buffer_size(4096).expect("set SO_RCVBUF");
    socket.set_tcp_mss(536).expect("set TCP_MAXSEG");
    dialled(&socket, addr)
}

fn dialled(socket: &Socket, addr: SocketAddr) -> Conn {
    socket
        .connect_timeout(&SockAddr::from(addr), Duration::from_secs(5))
        .expect("connect");
    socket.set_nonblocking(true).expect("set non-blocking");
    let socket = socket.try_clone().expect("a second handle");
    let tcp = TcpStream::from_std(socket.into()).expect("a tokio stream");
    Conn::bounded(Wire::Plain(tcp))
}

/// A TLS connection for `localhost`.
pub async fn connect_tls(addr: SocketAddr, config: &Arc<ClientConfig>) -> Conn {
    let attempt = try_connect_tls(addr, config, "localhost").await;
    attempt.expect("a TLS handshake")
}

/// The same after a PROXY header.
pub async fn connect_tls_behind(
    addr: SocketAddr,
    header: &[u8],
    config: &Arc<ClientConfig>,
) -> Conn {
    let mut tcp = tcp(addr).await;
    tcp.write_all(header).await.expect("send the header");
    let attempt = over(tcp, config, "localhost").await;
    attempt.expect("a TLS handshake")
}

/// The same for any name, and with the error of a failed handshake.
pub async fn try_connect_tls(
    addr: SocketAddr,
    config: &Arc<ClientConfig>,
    name: &str,
) -> io::Result<Conn> {
    over(tcp(addr).await, config, name).await
}

async fn over(tcp: TcpStream, config: &Arc<ClientConfig>, name: &str) -> io::Result<Conn> {
    let name = ServerName::try_from(name.to_owned()).expect("a server name");
    let handshake = TlsConnector::from(Arc::clone(config)).connect(name, tcp);
    let tls = within("a TLS handshake", handshake).await?;
    Ok(Conn::bounded(Wire::Tls(Box::new(TlsStream::Client(tls)))))
}

/// A connection to a unix socket.
pub async fn connect_unix(path: &Path) -> Conn {
    let unix = UnixStream::connect(path)
        .await
        .expect("connect to the unix socket");
    Conn::bounded(Wire::Unix(unix))
}

async fn tcp(addr: SocketAddr) -> TcpStream {
    let tcp = within("a connection", TcpStream::connect(addr))
        .await
        .expect("connect");
    tcp.set_nodelay(true).expect("set TCP_NODELAY");
    tcp
}

impl Conn {
    /// Asks for an upgrade and reads the answer's head.
    pub async fn upgrade(&mut self, target: &str, more: &[(&str, &str)]) -> Result<Head, Ending> {
        let host = self.wire.tcp().and_then(|tcp| tcp.peer_addr().ok());
        let host = host.map_or_else(|| "localhost".to_owned(), |addr| addr.to_string());
        // A peer that has been killed may reset the connection already here.
        let sent = self.send(&head::upgrade(target, &host, more)).await;
        sent.map_err(|error| Ending::of_error(&error))?;
        self.head().await
    }

    /// The same, and it must be a correct 101.
    pub async fn open(&mut self, target: &str) -> Head {
        let answer = self
            .upgrade(target, &[])
            .await
            .expect("an answer to the upgrade");
        assert_eq!(answer.status(), 101, "{}", answer.text());
        let accept = answer.value("sec-websocket-accept");
        assert_eq!(accept.as_deref(), Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
        answer
    }

    /// A request without a body, and its answer with body.
    pub async fn get(&mut self, target: &str) -> Result<(Head, Vec<u8>), Ending> {
        let request = format!("GET {target} HTTP/1.1\r\nHost: localhost\r\n\r\n");
        self.send(request.as_bytes())
            .await
            .expect("send the request");
        let head = self.head().await?;
        let body = self.body(&head).await?;
        Ok((head, body))
    }

    /// RST.
    pub fn abort(self) {
        self.wire.abort();
    }

    /// FIN; with TLS without `close_notify`.
    pub fn fin(&mut self) {
        self.wire.fin();
    }

    /// `close_notify` where there is TLS, then FIN.
    pub async fn finish(&mut self) {
        self.wire.finish().await;
    }
}

/// Bytes that go out one at a time, when the test says so.
pub struct Dribble {
    bytes: Vec<u8>,
    sent: usize,
}

impl Dribble {
    pub fn new(bytes: impl Into<Vec<u8>>) -> Self {
        Self {
            bytes: bytes.into(),
            sent: 0,
        }
    }

    /// Sends the next byte in a segment of its own; `false` when none was left.
    pub async fn drip(&mut self, conn: &mut Conn) -> bool {
        let Some(byte) = self.bytes.get(self.sent) else {
            return false;
        };
        conn.send(&[*byte]).await.expect("send a byte");
        self.sent += 1;
        true
    }

    /// Sends the rest, byte by byte.
    pub async fn pour(&mut self, conn: &mut Conn) {
        while self.drip(conn).await {
            tokio::task::yield_now().await;
        }
    }
}
