//! The demo's clients: TLS to the tap, trusting its development CA, then WebSocket.

use std::io::{self, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use futures_util::{SinkExt, StreamExt};
use rustls::pki_types::{CertificateDer, ServerName, pem::PemObject};
use rustls::{ClientConfig, RootCertStore};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{WebSocketStream, client_async};

use super::error::DemoError;
use crate::crypto;

/// TLS that trusts only the development CA.
#[derive(Clone)]
pub(super) struct Trust(TlsConnector);

impl Trust {
    pub(super) fn new(ca: &Path) -> Result<Self, DemoError> {
        let mut roots = RootCertStore::empty();
        let mut file = BufReader::new(std::fs::File::open(ca)?);
        for certificate in CertificateDer::pem_reader_iter(&mut file) {
            roots.add(certificate.map_err(io::Error::other)?)?;
        }
        let config = ClientConfig::builder_with_provider(crypto::provider())
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Self(TlsConnector::from(Arc::new(config))))
    }

    /// Connects to the tap with TLS.
    pub(super) async fn connect(&self, addr: SocketAddr) -> io::Result<TlsStream<TcpStream>> {
        let tcp = TcpStream::connect(addr).await?;
        tcp.set_nodelay(true)?;
        let name = ServerName::try_from("localhost").map_err(io::Error::other)?;
        self.0.connect(name, tcp).await
    }
}

/// A WebSocket client of the demo.
pub(super) struct Client {
    socket: WebSocketStream<TlsStream<TcpStream>>,
}

impl Client {
    /// Opens a WebSocket on a path, as a browser page of `origin` or without one.
    pub(super) async fn open(
        addr: SocketAddr,
        trust: &Trust,
        path: &str,
        origin: Option<&'static str>,
    ) -> Result<Self, Error> {
        let stream = trust.connect(addr).await?;
        let mut request = format!("wss://localhost:{}{path}", addr.port()).into_client_request()?;
        if let Some(origin) = origin {
            request
                .headers_mut()
                .insert("origin", HeaderValue::from_static(origin));
        }
        let (socket, _) = client_async(request, stream).await?;
        Ok(Self { socket })
    }

    /// Waits for the challenge, sends `connect` with this token, and returns the answer.
    pub(super) async fn handshake(&mut self, token: &str, device: bool) -> Result<Value, Error> {
        self.next().await?;
        let mut params = json!({
            "minProtocol": 4, "maxProtocol": 4,
            "client": { "id": "cli", "version": "demo", "platform": "linux", "mode": "cli" },
            "caps": [], "role": "operator", "scopes": ["operator.read"],
            "auth": { "token": token },
        });
        if device && let Some(params) = params.as_object_mut() {
            params.insert("device".to_owned(), json!({ "id": "demo-device" }));
        }
        let connect = json!({ "type": "req", "id": "1", "method": "connect", "params": params });
        self.send(connect.to_string()).await?;
        let answer = self.next().await?;
        Ok(serde_json::from_str(&answer).unwrap_or(Value::Null))
    }

    pub(super) async fn send(&mut self, text: String) -> Result<(), Error> {
        self.socket.send(Message::text(text)).await
    }

    /// The next text message; pings in between are answered.
    pub(super) async fn next(&mut self) -> Result<String, Error> {
        loop {
            match self.socket.next().await {
                Some(Ok(Message::Text(text))) => return Ok(text.as_str().to_owned()),
                Some(Ok(_)) => {}
                Some(Err(error)) => return Err(error),
                None => return Err(Error::ConnectionClosed),
            }
        }
    }

    /// Reads until the other side ends it.
    pub(super) async fn until_the_end(&mut self) {
        while let Some(Ok(_)) = self.socket.next().await {}
    }

    /// Closes as the CLI does: an empty Close, and waits for the answer.
    pub(super) async fn close(&mut self) -> Result<(), Error> {
        self.socket.close(None).await?;
        self.until_the_end().await;
        Ok(())
    }

    /// Vanishes with a reset and without a Close.
    pub(super) fn vanish(self) {
        let (tcp, _) = self.socket.get_ref().get_ref();
        if let Err(error) = tcp.set_zero_linger() {
            tracing::debug!(%error, "failed to set SO_LINGER");
        }
    }
}
