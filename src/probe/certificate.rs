//! The certificate that the gateway shows, trusted or not.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use data_encoding::HEXLOWER;
use jiff::Timestamp;
use rustls::SignatureScheme;
use rustls::client::ResolvesClientCert;
use rustls::pki_types::ServerName;
use rustls::sign::CertifiedKey;
use serde::Serialize;
use tokio::net::TcpStream;
use tokio::time::timeout_at;
use tokio_rustls::TlsConnector;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer as _, X509Certificate};

use super::address::Address;
use super::target::Target;
use crate::session::text::PeerText;
use crate::transport::tls::version_name;
use crate::upstream::pinned::{Pinned, fingerprint};

/// Time limit for connection and handshake.
const LIMIT: Duration = Duration::from_secs(3);

/// Maximum number of names that are kept of a certificate, and of certificates of a chain.
const NAMES: usize = 20;

/// What a TLS handshake showed.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Shown {
    /// `TLSv1.3`, `TLSv1.2`.
    pub version: Option<String>,
    /// The chain as sent, leaf first.
    pub chain: Vec<Certificate>,
    /// SHA-256 of the leaf, in the form of `gateway.remote.tlsFingerprint` of the `OpenClaw` CLI.
    pub fingerprint: Option<String>,
    /// The server asked for a client certificate, and got none.
    pub asks_for_certificate: bool,
}

/// Has no certificate, and notes whether it is asked for one.
#[derive(Debug, Default)]
struct Asked(AtomicBool);

impl ResolvesClientCert for Asked {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        self.0.store(true, Ordering::Relaxed);
        None
    }

    fn has_certs(&self) -> bool {
        false
    }
}

/// One certificate.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Certificate {
    /// Its subject.
    pub subject: String,
    /// Its issuer, as it says itself.
    pub issuer: String,
    /// DNS names and IP addresses that it is valid for.
    pub names: Vec<String>,
    /// Start of its validity.
    pub not_before: Timestamp,
    /// End of its validity.
    pub not_after: Timestamp,
}

impl Shown {
    /// One handshake on a separate connection, which accepts any certificate. No application data
    /// is sent.
    pub(super) async fn by(target: &Target, deadline: Instant) -> Option<Self> {
        let Address::Tcp { host, port, .. } = &target.address else {
            return None;
        };
        let mut config = Pinned::to_any().client().ok()?;
        let asked = Arc::<Asked>::default();
        config.client_auth_cert_resolver = Arc::clone(&asked) as Arc<dyn ResolvesClientCert>;
        let name = ServerName::try_from(host.clone()).ok()?;
        let handshake = async {
            let tcp = TcpStream::connect((host.as_str(), *port)).await.ok()?;
            TlsConnector::from(Arc::new(config))
                .connect(name, tcp)
                .await
                .ok()
        };
        let limit = deadline.min(Instant::now() + LIMIT);
        let stream = timeout_at(limit.into(), handshake).await.ok()??;
        let (_, state) = stream.get_ref();
        let sent = state.peer_certificates().unwrap_or_default();
        Some(Self {
            version: state.protocol_version().map(version_name),
            chain: sent
                .iter()
                .take(NAMES)
                .filter_map(|der| read(der))
                .collect(),
            fingerprint: (sent.first())
                .map(|leaf| format!("sha256:{}", HEXLOWER.encode(&fingerprint(leaf)))),
            asks_for_certificate: asked.0.load(Ordering::Relaxed),
        })
    }

    /// Returns the last certificate of the chain if its issuer's certificate was not sent.
    pub(super) fn lacks_issuer(&self) -> Option<&Certificate> {
        self.chain.last().filter(|last| last.issuer != last.subject)
    }
}

fn read(der: &[u8]) -> Option<Certificate> {
    let (_, certificate) = X509Certificate::from_der(der).ok()?;
    let time = |time: x509_parser::time::ASN1Time| Timestamp::from_second(time.timestamp()).ok();
    let names = certificate.subject_alternative_name().ok().flatten();
    let names = names.map(|extension| extension.value.general_names.as_slice());
    let names = names
        .unwrap_or_default()
        .iter()
        .filter_map(|name| match name {
            GeneralName::DNSName(name) => Some(kept(name)),
            GeneralName::IPAddress([a, b, c, d]) => Some(format!("{a}.{b}.{c}.{d}")),
            GeneralName::IPAddress(bytes) => {
                let bytes: [u8; 16] = (*bytes).try_into().ok()?;
                Some(std::net::Ipv6Addr::from(bytes).to_string())
            }
            _ => None,
        });
    Some(Certificate {
        subject: kept(&certificate.subject().to_string()),
        issuer: kept(&certificate.issuer().to_string()),
        names: names.take(NAMES).collect(),
        not_before: time(certificate.validity().not_before)?,
        not_after: time(certificate.validity().not_after)?,
    })
}

fn kept(text: &str) -> String {
    PeerText::new(text, 200).into()
}
