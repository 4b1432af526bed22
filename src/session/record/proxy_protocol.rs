//! The contents of a PROXY protocol header.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::session::text::PeerText;

/// The PROXY protocol header of a connection, or what came in place of one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct ProxyProtocolFacts {
    /// 1 (text) or 2 (binary); `null` if there was no header.
    pub version: Option<u8>,
    /// Whether it speaks for a client.
    pub command: Option<ProxyCommand>,
    /// `address:port` of the client, as written in the header.
    pub source: Option<String>,
    /// `address:port` that the client had connected to.
    pub destination: Option<String>,
    /// The host name that the client had asked for.
    pub authority: Option<PeerText>,
    /// The application protocol that was agreed with the client.
    pub alpn: Option<PeerText>,
    /// The proxy's own id for the connection.
    pub unique_id: Option<PeerText>,
    /// The TLS parameters between the client and the proxy.
    pub tls: Option<ProxyTls>,
    /// Whether the header carried a CRC32C (which was correct).
    pub checked: bool,
    /// Why the connection was refused.
    pub fault: Option<ProxyFault>,
}

/// See [`ProxyProtocolFacts::command`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ProxyCommand {
    /// For the client that the header names.
    Proxy,
    /// For the proxy itself, such as a health check; some proxies also send this when they do not
    /// know the client.
    Local,
    /// For a client that the header does not name.
    Unknown,
}

/// TLS between client and proxy, as reported by the proxy.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct ProxyTls {
    /// For example `TLSv1.3`.
    pub version: Option<PeerText>,
    /// For example `TLS_AES_256_GCM_SHA384`.
    pub cipher: Option<PeerText>,
    /// The common name of the client's certificate.
    pub client_cn: Option<PeerText>,
    /// Whether the client showed a certificate that the proxy accepted.
    pub client_verified: bool,
}

/// What is wrong with a header.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ProxyFault {
    /// The kind of fault.
    pub kind: ProxyFaultKind,
    /// The fault as text.
    pub detail: String,
}

/// See [`ProxyFault::kind`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ProxyFaultKind {
    /// The bytes that came are not a PROXY header.
    Missing,
    /// It does not follow the protocol.
    Malformed,
    /// It is longer than version 1 may be, or than we read.
    TooLong,
    /// Its CRC32C is wrong.
    Checksum,
    /// The connection ended in the middle of it.
    Cut,
    /// It was not complete in time.
    Late,
}
