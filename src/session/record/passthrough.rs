//! What can be seen of a connection whose bytes are passed on unread.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::codes::PassedAlert;
use crate::session::moment::Moment;
use crate::session::text::PeerText;

/// A connection that the tap passes on unread, because its TLS is between client and gateway.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct PassthroughFacts {
    /// Whether the whole `ClientHello` came (RFC 8446 section 4.1.2).
    pub client_hello: bool,
    /// The server name that the `ClientHello` asks for (RFC 6066 section 3).
    pub sni: Option<PeerText>,
    /// The application protocols that it offers (RFC 7301).
    pub alpn_offered: Vec<PeerText>,
    /// From the client.
    pub to_gateway: PassedFacts,
    /// From the gateway.
    pub to_client: PassedFacts,
}

/// One direction of a connection that is passed on unread.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct PassedFacts {
    /// Bytes that came.
    pub bytes: u64,
    /// Whether they begin like plain HTTP.
    pub plain_http: bool,
    /// Number of protected records of TLS 1.3 (application data in TLS 1.2).
    pub protected: u64,
    /// When the first protected record came.
    pub first_at: Option<Moment>,
    /// When the last protected record came.
    pub last_at: Option<Moment>,
    /// The alert that ended the handshake, by its name in IANA's registry; `encrypted` for one that cannot be
    /// read: the first protected record has the size of an alert.
    pub alert: Option<PassedAlert>,
    /// The last TLS record; `null` if the bytes are not TLS records.
    pub last_record: Option<LastRecord>,
}

/// See [`PassedFacts::last_record`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum LastRecord {
    /// A whole alert, such as `close_notify` in TLS 1.2.
    Alert,
    /// A whole record of TLS 1.3 with the size of an alert. From a client it is one: its shortest
    /// WebSocket frame is longer. From a gateway it may also be an empty frame, such as a ping.
    PerhapsAlert,
    /// Another whole record.
    Whole,
    /// The beginning of a record whose rest did not come.
    Cut,
}
