//! The map's own connections: one to each address, and one WebSocket that is held open while
//! `/proc` is read.
//!
//! It sends an upgrade request and nothing else: no credential, no query of the URL, no connect request.

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::StreamExt as _;
use http::header::{CONNECTION, HOST, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_VERSION, UPGRADE};
use http::{Request, StatusCode};
use http_body_util::Empty;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio::task::JoinHandle;
use tokio::time::{timeout, timeout_at};
use tokio_rustls::TlsConnector;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::client::generate_key;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};

use crate::probe::address::Address;
use crate::probe::target::Target;
use crate::session::record::GatewayErrorKind as Kind;
use crate::upstream::errno;
use crate::upstream::pinned::Pinned;

/// Time limit for one connection: one lost packet costs a second (RFC 6298 section 2).
const CONNECT: Duration = Duration::from_millis(1500);

/// Time limit for TLS and the answer to the upgrade.
const ANSWER: Duration = Duration::from_millis(2500);

/// Time limit for the closing handshake.
const GOODBYE: Duration = Duration::from_millis(500);

/// Maximum size of a message, as in `wstap probe`: the peer may send anything while we close.
const MESSAGE: usize = 4 << 20;

/// Why there is no connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Failure {
    /// The system's error.
    Kind(Kind),
    /// Nothing came back.
    NoAnswer,
    /// The budget ended first, so the result is unknown.
    OutOfTime,
}

/// Connects once.
pub(super) async fn connect(addr: SocketAddr, deadline: Instant) -> Result<TcpStream, Failure> {
    let limit = Instant::now() + CONNECT;
    match timeout_at(limit.min(deadline).into(), TcpStream::connect(addr)).await {
        Ok(Ok(stream)) => Ok(stream),
        Ok(Err(error)) => Err(Failure::Kind(errno::of_tcp(addr.ip(), &error))),
        Err(_) if deadline < limit => Err(Failure::OutOfTime),
        Err(_) => Err(Failure::NoAnswer),
    }
}

/// Connects to a unix socket.
pub(super) async fn connect_unix(path: &Path, deadline: Instant) -> io::Result<UnixStream> {
    let limit = deadline.min(Instant::now() + CONNECT);
    timeout_at(limit.into(), UnixStream::connect(path)).await?
}

trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

/// A connection that is held open, and the answer to the upgrade.
pub(super) struct Held {
    /// `None`: there was no HTTP answer.
    pub(super) status: Option<StatusCode>,
    socket: Option<WebSocketStream<TokioIo<hyper::upgrade::Upgraded>>>,
    sender: Option<http1::SendRequest<Empty<Bytes>>>,
    driver: Option<JoinHandle<()>>,
}

impl Held {
    fn nothing() -> Self {
        Self {
            status: None,
            socket: None,
            sender: None,
            driver: None,
        }
    }

    /// Asks for a WebSocket on this connection, and holds it open.
    pub(super) async fn on(
        stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
        target: &Target,
        deadline: Instant,
    ) -> Self {
        let limit = deadline.min(Instant::now() + ANSWER).into();
        let secured = async {
            let stream: Box<dyn Stream> = if target.is_tls() {
                secure(stream, target).await?
            } else {
                Box::new(stream)
            };
            http1::handshake(TokioIo::new(stream))
                .await
                .map_err(io::Error::other)
        };
        let Ok(Ok((mut sender, driver))) = timeout_at(limit, secured).await else {
            return Self::nothing();
        };
        // The task ends with the connection.
        let driver = tokio::spawn(async move {
            let _ = driver.with_upgrades().await;
        });
        let mut held = Self {
            driver: Some(driver),
            ..Self::nothing()
        };
        let path = target.path.split('?').next().unwrap_or("/");
        let request = Request::get(path)
            .header(HOST, target.host())
            .header(CONNECTION, "Upgrade")
            .header(UPGRADE, "websocket")
            .header(SEC_WEBSOCKET_VERSION, "13")
            .header(SEC_WEBSOCKET_KEY, generate_key())
            .body(Empty::<Bytes>::new());
        let Ok(request) = request else {
            return held;
        };
        if let Ok(Ok(answer)) = timeout_at(limit, sender.send_request(request)).await {
            held.status = Some(answer.status());
            if answer.status() == StatusCode::SWITCHING_PROTOCOLS
                && let Ok(Ok(upgraded)) = timeout_at(limit, hyper::upgrade::on(answer)).await
            {
                let stream = TokioIo::new(upgraded);
                let limits = WebSocketConfig::default()
                    .max_message_size(Some(MESSAGE))
                    .max_frame_size(Some(MESSAGE));
                let socket = WebSocketStream::from_raw_socket(stream, Role::Client, Some(limits));
                held.socket = Some(socket.await);
            }
        }
        held.sender = Some(sender);
        held
    }

    /// Ends it: a WebSocket with a Close frame.
    pub(super) async fn release(mut self) {
        if let Some(socket) = &mut self.socket {
            let goodbye = async {
                let _ = socket.close(None).await;
                while let Some(Ok(_)) = socket.next().await {}
            };
            let _ = timeout(GOODBYE, goodbye).await;
        }
        drop(self.socket.take());
        drop(self.sender.take());
        if let Some(driver) = self.driver.take() {
            driver.abort();
            let _ = driver.await;
        }
    }
}

/// TLS that accepts any certificate: nothing secret is sent.
async fn secure(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    target: &Target,
) -> io::Result<Box<dyn Stream>> {
    let Address::Tcp { host, .. } = &target.address else {
        return Ok(Box::new(stream));
    };
    let config = Pinned::to_any().client().map_err(io::Error::other)?;
    let name = ServerName::try_from(host.clone()).map_err(io::Error::other)?;
    let stream = TlsConnector::from(Arc::new(config)).connect(name, stream);
    Ok(Box::new(stream.await?))
}
