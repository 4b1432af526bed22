//! TLS clients with a choice of what to trust, what to show and which keys to work with.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use rustls::crypto::ring;
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion};
use rustls_pki_types::{CertificateDer, ServerName};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::pki::{Authority, Leaf};
use crate::support::deadline::within;
use crate::support::http2::whole;

pub const BOTH: &[&SupportedProtocolVersion] = &[&TLS13, &TLS12];

/// A client that trusts this authority, and shows a certificate if it has one.
pub fn client(
    trusted: &Authority,
    own: Option<&Leaf>,
    versions: &[&'static SupportedProtocolVersion],
) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    roots.add(trusted.der()).expect("a root");
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(versions)
        .expect("versions of TLS")
        .with_root_certificates(roots);
    match own {
        None => builder.with_no_client_auth(),
        Some(leaf) => builder
            .with_client_auth_cert(leaf.chain.clone(), leaf.key.clone_key())
            .expect("a certificate of the client"),
    }
}

/// The result of a visit: the certificates that were shown, and the answer.
#[derive(Debug)]
pub struct Visit {
    pub shown: Vec<CertificateDer<'static>>,
    pub status: u16,
    pub body: String,
}

/// Connects, asks for `/` of `host`, reads to the end.
pub async fn visit(
    addr: SocketAddr,
    config: &Arc<ClientConfig>,
    name: &str,
    host: &str,
) -> io::Result<Visit> {
    let name = ServerName::try_from(name.to_owned()).expect("a server name");
    let steps = async {
        let tcp = TcpStream::connect(addr).await?;
        let connector = TlsConnector::from(Arc::clone(config));
        let mut stream = connector.connect(name, tcp).await?;
        let shown = stream.get_ref().1.peer_certificates();
        let shown = shown.unwrap_or_default().to_vec();
        let shown = shown.into_iter().map(CertificateDer::into_owned).collect();
        let request = format!("GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await?;
        let mut answer = Vec::new();
        let read = stream.read_to_end(&mut answer).await;
        let answer = String::from_utf8_lossy(&answer).into_owned();
        if answer.is_empty() {
            read?;
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let status = answer.split(' ').nth(1).and_then(|text| text.parse().ok());
        let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body);
        Ok(Visit {
            shown,
            status: status.unwrap_or_default(),
            body: body.to_owned(),
        })
    };
    within("a visit", steps).await
}

/// Connects by HTTP/2 under `name` and asks for `/` of each host, one after the other.
pub async fn visit_by_http2(
    addr: SocketAddr,
    config: &ClientConfig,
    name: &str,
    hosts: &[&str],
) -> Vec<u16> {
    let mut config = config.clone();
    config.alpn_protocols = vec![b"h2".to_vec()];
    let name = ServerName::try_from(name.to_owned()).expect("a server name");
    let steps = async {
        let tcp = TcpStream::connect(addr).await.expect("connect");
        let connector = TlsConnector::from(Arc::new(config));
        let stream = connector.connect(name, tcp).await.expect("TLS");
        let (mut send, connection) = h2::client::handshake(stream).await.expect("HTTP/2");
        let driver = tokio::spawn(connection);
        let mut all = Vec::new();
        for host in hosts {
            let request = http::Request::get(format!("https://{host}/"));
            let request = request.body(()).expect("a request");
            send = send.ready().await.expect("room for a stream");
            let (answer, _) = send.send_request(request, true).expect("send");
            let answer = whole(answer.await.expect("an answer")).await;
            all.push(answer.status.as_u16());
        }
        drop(send);
        drop(driver.await);
        all
    };
    within("a visit by HTTP/2", steps).await
}
