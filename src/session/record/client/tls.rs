//! The result of TLS with a client, or how it failed.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::session::moment::Moment;
use crate::session::record::codes::TlsAlert;
use crate::session::text::PeerText;

/// The result of TLS with the client, or how it failed.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct ClientTls {
    /// For example `TLSv1.3`.
    pub version: Option<String>,
    /// For example `TLS13_AES_256_GCM_SHA384`.
    pub cipher: Option<String>,
    /// The agreed application protocol.
    pub alpn: Option<PeerText>,
    /// The application protocols that the client offered, at most 8; only if the handshake failed.
    // A boxed slice: it is empty in every session that goes on.
    pub alpn_offered: Box<[PeerText]>,
    /// The server name that the client asked for.
    pub sni: Option<PeerText>,
    /// How a certificate was found for that name; `null` when the client asked for none.
    pub sni_match: Option<SniMatch>,
    /// Whether the request's Host is a different name from the SNI.
    pub host_differs: bool,
    /// SHA-256 of the certificate that we showed, 64 hexadecimal digits; `null` when the session was
    /// resumed or none was shown.
    pub certificate: Option<String>,
    /// Set if that certificate is one that no client trusts until it is configured to; only for a
    /// connection that ended before a request, and `null` for a certificate that somebody else
    /// issued.
    pub self_made: Option<Box<SelfMade>>,
    /// The names that the listener's certificates are for, at most 16; only if the handshake
    /// failed, or if none of them is the requested name.
    pub our_names: Vec<PeerText>,
    /// Whether an earlier session was resumed; `null` if the handshake did not complete.
    pub resumed: Option<bool>,
    /// The certificate that the client showed, valid or not.
    pub client_cert: Option<Box<ClientCert>>,
    /// Time from the accept to the end of the handshake; `null` if it did not complete.
    pub handshake_ms: Option<f64>,
    /// Set when the handshake did not complete.
    pub failure: Option<TlsFailure>,
}

/// See [`ClientTls::self_made`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct SelfMade {
    /// Who signed it.
    pub kind: SelfMadeKind,
    /// The file that a client needs to trust it, an absolute path on the tap's host.
    pub trust_file: String,
}

/// See [`SelfMade::kind`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SelfMadeKind {
    /// Signed by the development CA that wstap makes.
    #[default]
    Development,
    /// Signed by itself.
    SelfSigned,
}

/// See [`ClientTls::sni_match`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SniMatch {
    /// A certificate has the name.
    Exact,
    /// A certificate has a wildcard that covers it.
    Wildcard,
    /// No certificate has the name: the default was shown.
    Default,
}

/// A certificate of a client: its own claims, to be believed only if the handshake completed.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct ClientCert {
    /// Its subject, as `CN=…, O=…`.
    pub subject: PeerText,
    /// Who signed it.
    pub issuer: PeerText,
    /// Its subject alternative names, at most 8.
    pub names: Vec<PeerText>,
    /// SHA-256 of its DER, 64 hexadecimal digits.
    pub sha256: String,
    /// Start of its validity.
    pub not_before: Option<Moment>,
    /// End of its validity.
    pub not_after: Option<Moment>,
}

/// Why a TLS handshake with the client failed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct TlsFailure {
    /// The alert that the client sent, by its name in IANA's registry (`unknown_ca`, `bad_certificate` …).
    pub alert: Option<TlsAlert>,
    /// The kind of failure, if we detected it.
    pub kind: Option<TlsFailureKind>,
    /// What went wrong, in words.
    pub detail: String,
}

/// See [`TlsFailure::kind`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum TlsFailureKind {
    /// The client offers no application protocol that we speak.
    Alpn,
    /// The client supports no certificate key like ours: a certificate with another type of key
    /// would work.
    CertificateKey,
    /// No cipher suite in common.
    CipherSuite,
    /// Nothing in common in another TLS parameter.
    Incompatible,
    /// No key exchange group in common.
    KeyExchange,
    /// A record or message that breaks the format of TLS.
    Malformed,
    /// Bytes that are not a TLS record.
    NotTls,
    /// The client verifies no signature that we could make with any type of key.
    SignatureScheme,
    /// A record that fails its authentication.
    Undecryptable,
    /// A message that TLS does not allow there.
    Unexpected,
    /// No version in common.
    Version,
    /// A certificate is required, and the client showed none.
    ClientCertMissing,
    /// The client's certificate is not signed by a CA in `client_auth.ca`.
    ClientCertUnknownCa,
    /// The client's certificate has expired.
    ClientCertExpired,
    /// The client's certificate is not valid yet.
    ClientCertNotYetValid,
    /// The client's certificate is revoked by `client_auth.crl`.
    ClientCertRevoked,
    /// `client_auth.crl` has no CRL of the CA that signed the client's certificate.
    ClientCertRevocationUnknown,
    /// The client's certificate is invalid for another reason.
    ClientCertInvalid,
}
