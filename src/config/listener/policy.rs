//! What a listener requires of TLS clients.

use std::fmt;
use std::sync::Arc;

use rustls::RootCertStore;
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use rustls_pki_types::{CertificateDer, CertificateRevocationListDer};
use schemars::{JsonSchema, Schema, json_schema};
use serde::Deserialize;
use sha2::{Digest, Sha256};

use crate::config::error::{Complaint, quoted};
use crate::config::scalar::FromScalar;
use crate::crypto;

/// What a listener requires of TLS clients.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TlsPolicy {
    /// The oldest version of TLS.
    pub min_version: MinVersion,
    /// Whether clients must, or may, show a certificate.
    pub client_auth: Option<ClientAuth>,
    /// Whether HTTP/2 is offered: `http2.enabled`, the same for all listeners.
    pub http2: bool,
}

/// The oldest version of TLS that is accepted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MinVersion {
    /// TLS 1.2 and 1.3.
    #[default]
    Tls12,
    /// TLS 1.3 only.
    Tls13,
}

impl FromScalar for MinVersion {
    fn expected() -> String {
        "`1.2` or `1.3` (in quotes in a file)".to_owned()
    }

    fn from_text(text: &str) -> Result<Self, Complaint> {
        match text {
            "1.2" => Ok(Self::Tls12),
            "1.3" => Ok(Self::Tls13),
            "1.0" | "1.1" => Err(Complaint::new(
                Self::expected(),
                format!(
                    "{}, which nobody should speak any more (RFC 8996)",
                    quoted(text)
                ),
            )),
            _ => Err(Complaint::new(Self::expected(), quoted(text))),
        }
    }

    fn schema() -> Schema {
        json_schema!({ "enum": ["1.2", "1.3"] })
    }
}

/// Whether a client must show a certificate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ClientAuthMode {
    /// A client need not show one, but one that it shows must be valid.
    Optional,
    /// Without a valid certificate, the connection is refused.
    #[default]
    Required,
}

/// Which client certificates are accepted.
#[derive(Clone)]
pub struct ClientAuth {
    /// Whether a certificate is required.
    pub mode: ClientAuthMode,
    /// Verifies the certificates.
    pub verifier: Arc<dyn ClientCertVerifier>,
    /// Digest of the trusted roots.
    roots: [u8; 32],
    /// Digest of the revocation lists.
    revoked: [u8; 32],
}

/// A digest; equal for equal certificates and lists.
fn digest<'a>(all: impl Iterator<Item = &'a [u8]>) -> [u8; 32] {
    let mut hash = Sha256::new();
    for der in all {
        hash.update(u64::try_from(der.len()).unwrap_or(u64::MAX).to_be_bytes());
        hash.update(der);
    }
    hash.finalize().into()
}

impl ClientAuth {
    /// Trusts the roots of `ca`, and refuses certificates that `crls` revoke. With revocation
    /// lists, there must be one for each CA that signs clients' certificates; none are needed for
    /// the other certificates of the chain.
    pub(in crate::config) fn new(
        mode: ClientAuthMode,
        ca: Vec<CertificateDer<'static>>,
        crls: Vec<CertificateRevocationListDer<'static>>,
    ) -> Result<Self, String> {
        let trusted = digest(ca.iter().map(AsRef::as_ref));
        let revoked = digest(crls.iter().map(AsRef::as_ref));
        let mut roots = RootCertStore::empty();
        for root in ca {
            roots.add(root).map_err(|error| error.to_string())?;
        }
        let provider = crypto::provider();
        let mut builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
        if !crls.is_empty() {
            builder = builder.with_crls(crls).only_check_end_entity_revocation();
        }
        if mode == ClientAuthMode::Optional {
            builder = builder.allow_unauthenticated();
        }
        let verifier = builder.build().map_err(|error| error.to_string())?;
        Ok(Self {
            mode,
            verifier,
            roots: trusted,
            revoked,
        })
    }

    /// Whether both trust the same CAs.
    pub(in crate::config) fn trusts_like(&self, other: &Self) -> bool {
        self.roots == other.roots
    }

    /// Whether both use the same revocation lists.
    pub(in crate::config) fn refuses_like(&self, other: &Self) -> bool {
        self.revoked == other.revoked
    }
}

impl PartialEq for ClientAuth {
    fn eq(&self, other: &Self) -> bool {
        self.mode == other.mode && self.trusts_like(other) && self.refuses_like(other)
    }
}

impl Eq for ClientAuth {}

impl fmt::Debug for ClientAuth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientAuth")
            .field("mode", &self.mode)
            .finish_non_exhaustive()
    }
}
