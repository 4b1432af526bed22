//! The check that the tap still works: a WebSocket session through its whole data path.
//!
//! A timer alone would keep renewing while the relay is stuck. So each renewal of the redirect waits for a
//! session of our own: accepted, forwarded, upgraded and relayed like a client's, to a server in this process that
//! stands in for the gateway.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_tungstenite::tungstenite::{self, Message};
use tokio_tungstenite::{accept_async, client_async};

use crate::transport::redirected::SelfChecks;

/// Time limit for a whole check. A healthy tap needs milliseconds.
const LIMIT: Duration = Duration::from_secs(1);

/// Our own address for checks. Loopback is up wherever a gateway can be reached locally.
const LOOPBACK: Ipv4Addr = Ipv4Addr::LOCALHOST;

/// The tap did not pass its check.
#[derive(Debug, thiserror::Error)]
pub(super) enum CheckError {
    /// A socket could not be opened or connected.
    #[error("{0}")]
    Socket(#[from] io::Error),
    /// The session failed.
    #[error("{0}")]
    WebSocket(#[from] tungstenite::Error),
    /// It ended before the answer.
    #[error("the session ended before its answer")]
    Ended,
    /// The wrong message came back.
    #[error("another message came back")]
    Other,
    /// It took too long.
    #[error("no answer within {} s", LIMIT.as_secs())]
    Slow,
}

/// Runs self-checks against the tap; [`serve`] answers them.
#[derive(Debug)]
pub(super) struct SelfCheck {
    checks: SelfChecks,
    tap: SocketAddr,
    /// The servers that stand in for the gateway, one for each family of addresses.
    servers: Vec<SocketAddr>,
    as_remote: bool,
    /// Set if the tap terminates TLS.
    tls: Option<Arc<ClientConfig>>,
    count: u64,
}

/// Answers checks: each message comes back, then the session closes.
pub(super) async fn serve(listener: TcpListener) {
    loop {
        // With no file descriptor left the check fails, as it should; sleep instead of spinning.
        match listener.accept().await {
            Ok((stream, _)) => {
                if let Ok(result) = timeout(LIMIT, echo(stream)).await
                    && let Err(error) = result
                {
                    tracing::debug!(%error, "a self-check ended early");
                }
            }
            Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
        }
    }
}

async fn echo(stream: TcpStream) -> Result<(), tungstenite::Error> {
    let mut socket = accept_async(stream).await?;
    while let Some(message) = socket.next().await {
        let message = message?;
        if message.is_text() {
            socket.send(message).await?;
        }
    }
    Ok(())
}

impl SelfCheck {
    /// Checks the tap that listens on this port of all addresses; with `as_remote` also the path of
    /// remote clients.
    pub(super) fn new(
        checks: SelfChecks,
        tap_port: u16,
        servers: Vec<SocketAddr>,
        as_remote: bool,
        tls: Option<ClientConfig>,
    ) -> Self {
        Self {
            checks,
            tap: SocketAddr::from((LOOPBACK, tap_port)),
            servers,
            as_remote,
            tls: tls.map(Arc::new),
            count: 0,
        }
    }

    /// Runs one check.
    pub(super) async fn run(&mut self) -> Result<(), CheckError> {
        self.count += 1;
        let expected = format!("wstap self-check {}", self.count);
        let sessions = async {
            for server in &self.servers {
                self.session(*server, &expected).await?;
            }
            Ok(())
        };
        match timeout(LIMIT, sessions).await {
            Ok(result) => result,
            Err(_) => Err(CheckError::Slow),
        }
    }

    async fn session(&self, server: SocketAddr, expected: &str) -> Result<(), CheckError> {
        let mut check = self.checks.begin(self.tap, server, self.as_remote)?;
        let stream = check.connect(self.tap).await?;
        match &self.tls {
            None => self.talk(stream, expected).await,
            Some(tls) => {
                let name = ServerName::from(self.tap.ip());
                let tls = TlsConnector::from(Arc::clone(tls));
                self.talk(tls.connect(name, stream).await?, expected).await
            }
        }
    }

    async fn talk(
        &self,
        stream: impl AsyncRead + AsyncWrite + Unpin,
        expected: &str,
    ) -> Result<(), CheckError> {
        let url = format!("ws://{}/", self.tap);
        let (mut socket, _) = client_async(url, stream).await?;
        socket.send(Message::text(expected)).await?;
        let answer = socket.next().await.ok_or(CheckError::Ended)??;
        if answer.to_text()? != expected {
            return Err(CheckError::Other);
        }
        socket.close(None).await?;
        // The other end's Close: the session has ended in order.
        while let Some(Ok(_)) = socket.next().await {}
        Ok(())
    }
}
