//! TLS with clients: the server's configuration and the handshake.

use std::io;
use std::sync::Arc;

use rustls::server::{Acceptor, ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{CommonState, ServerConfig};
use tokio::net::TcpStream;
use tokio_rustls::{LazyConfigAcceptor, server};

use super::cause;
use crate::session::record::{ClientTls, TlsFailure};
use crate::session::text::PeerText;

/// Longest server name that is kept; DNS allows 253.
const SNI_CAP: usize = 255;

/// HTTP/2 in ALPN (RFC 9113 section 3.2).
const H2: &[u8] = b"h2";

/// The one certificate that every client gets.
#[derive(Debug)]
struct One(Arc<CertifiedKey>);

impl ResolvesServerCert for One {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0))
    }
}

/// A server configuration: TLS 1.2 and 1.3, session resumption; by ALPN HTTP/1.1, and before it
/// HTTP/2 if that is wanted.
pub fn server_config(
    certified: Arc<CertifiedKey>,
    http2: bool,
) -> Result<Arc<ServerConfig>, rustls::Error> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(One(certified)));
    config.alpn_protocols = application_protocols(http2);
    config.ticketer = rustls::crypto::ring::Ticketer::new()?;
    Ok(Arc::new(config))
}

/// What we speak inside TLS, the best first.
fn application_protocols(http2: bool) -> Vec<Vec<u8>> {
    let all = [H2, b"http/1.1"];
    let some = all.into_iter().filter(|name| http2 || *name != H2);
    some.map(<[u8]>::to_vec).collect()
}

/// Whether clients are offered HTTP/2.
#[must_use]
pub fn offers_http2(config: &ServerConfig) -> bool {
    config.alpn_protocols.iter().any(|name| name == H2)
}

/// Whether ALPN agreed on HTTP/2.
#[must_use]
pub fn is_http2(stream: &server::TlsStream<TcpStream>) -> bool {
    stream.get_ref().1.alpn_protocol() == Some(H2)
}

/// A handshake that did not complete: what is known of it, and the error itself.
#[derive(Debug)]
pub struct Failed {
    /// For the record; `failure` is set.
    pub facts: ClientTls,
    /// As it was.
    pub error: io::Error,
}

/// Does the handshake. On failure the facts hold what was learned, the server name among them;
/// the TLS library has sent its alert.
pub async fn accept(
    tcp: TcpStream,
    config: Arc<ServerConfig>,
    facts: &mut ClientTls,
) -> Result<server::TlsStream<TcpStream>, Failed> {
    let failed = |facts: &ClientTls, error: io::Error| {
        let mut facts = facts.clone();
        facts.failure = Some(failure(&error));
        Failed { facts, error }
    };
    let acceptor = LazyConfigAcceptor::new(Acceptor::default(), tcp);
    let start = acceptor.await.map_err(|error| failed(facts, error))?;
    facts.sni = start
        .client_hello()
        .server_name()
        .map(|name| PeerText::from_bytes(name.as_bytes(), SNI_CAP));
    let stream = start
        .into_stream(config)
        .await
        .map_err(|error| failed(facts, error))?;
    agreed(stream.get_ref().1, facts);
    Ok(stream)
}

/// Notes what a finished handshake agreed.
pub fn agreed(state: &CommonState, facts: &mut ClientTls) {
    facts.version = state.protocol_version().map(version_name);
    facts.cipher = state
        .negotiated_cipher_suite()
        .and_then(|suite| suite.suite().as_str())
        .map(str::to_owned);
    facts.alpn = state
        .alpn_protocol()
        .map(|name| PeerText::from_bytes(name, SNI_CAP));
}

/// `TLSv1.3` for `TLSv1_3`.
#[must_use]
pub fn version_name(version: rustls::ProtocolVersion) -> String {
    version
        .as_str()
        .map_or_else(|| format!("{version:?}"), |name| name.replace('_', "."))
}

fn failure(error: &io::Error) -> TlsFailure {
    let alert = match cause::tls_error(error) {
        Some(rustls::Error::AlertReceived(alert)) => Some(cause::alert_name(*alert)),
        _ => None,
    };
    let detail = if error.kind() == io::ErrorKind::UnexpectedEof {
        "the connection ended in the middle of the TLS handshake".to_owned()
    } else {
        cause::words(error)
    };
    TlsFailure { alert, detail }
}
