//! What a PROXY protocol header said.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::session::text::PeerText;

/// The PROXY protocol header of a connection, or what came in its place.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct ProxyProtocolFacts {
    /// 1 (text) or 2 (binary); `null` where there was no header.
    pub version: Option<u8>,
    /// Whether it speaks for a client.
    pub command: Option<ProxyCommand>,
    /// `address:port` of the client, as it stands there.
    pub source: Option<String>,
    /// `address:port` that the client had connected to.
    pub destination: Option<String>,
    /// The host name that the client had asked for.
    pub authority: Option<PeerText>,
    /// The application protocol that was agreed with the client.
    pub alpn: Option<PeerText>,
    /// The proxy's own name for the connection.
    pub unique_id: Option<PeerText>,
    /// What TLS the client had spoken with the proxy.
    pub tls: Option<ProxyTls>,
    /// The header carried a CRC32C, and it was right.
    pub checked: bool,
    /// Why the connection was refused.
    pub fault: Option<ProxyFault>,
}

/// See [`ProxyProtocolFacts::command`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ProxyCommand {
    /// For the client that is named.
    Proxy,
    /// For itself, such as a health check; some proxies also say so when they do not know the client.
    Local,
    /// For a client that it does not name.
    Unknown,
}

/// TLS between client and proxy, as the proxy tells.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct ProxyTls {
    /// For example `TLSv1.3`.
    pub version: Option<PeerText>,
    /// For example `TLS_AES_256_GCM_SHA384`.
    pub cipher: Option<PeerText>,
    /// The common name of the client's certificate.
    pub client_cn: Option<PeerText>,
    /// The client showed a certificate, and the proxy found it good.
    pub client_verified: bool,
}

/// What is wrong with a header.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ProxyFault {
    /// What kind of thing.
    pub kind: ProxyFaultKind,
    /// In words.
    pub detail: String,
}

/// See [`ProxyFault::kind`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ProxyFaultKind {
    /// What came is no PROXY header.
    Missing,
    /// It does not follow the protocol.
    Malformed,
    /// It is longer than version 1 may be, or than we read.
    TooLong,
    /// Its CRC32C is wrong.
    Checksum,
    /// The connection ended in the middle of it.
    Cut,
    /// It did not come whole in time.
    Late,
}
