//! The request head of a record, with secrets masked.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::session::text::PeerText;

/// A request head as it came.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct RequestFacts {
    /// The method.
    pub method: String,
    /// `HTTP/1.0` or `HTTP/1.1`.
    pub http_version: String,
    /// The `Host` header.
    pub host: Option<PeerText>,
    /// Path and query; secrets in the path and every query value are masked.
    pub path: PeerText,
    /// The `Origin` header as sent.
    pub origin: Option<PeerText>,
    /// `Sec-WebSocket-Protocol` items; those that are credentials are masked.
    pub subprotocols: Vec<PeerText>,
    /// `Sec-WebSocket-Extensions`.
    pub extensions: Option<PeerText>,
    /// `User-Agent`.
    pub user_agent: Option<PeerText>,
    /// All headers: the allow-listed ones with their value, the others by name and length.
    pub headers: Vec<HeaderFact>,
    /// It carried `Upgrade: websocket` with `Connection: Upgrade`.
    pub wants_upgrade: bool,
    /// It carried a `Sec-WebSocket-Key`.
    pub has_websocket_key: bool,
}

/// One header line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct HeaderFact {
    /// In the spelling of the wire where it is known, else lower case.
    pub name: PeerText,
    /// `null` when only the length is recorded.
    pub value: Option<PeerText>,
    /// Of the value, in bytes.
    pub length: usize,
}

/// What the `Origin` was, and what the list says of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct OriginFacts {
    /// As sent.
    pub value: Option<PeerText>,
    /// Scheme, host and port in their normal form; `null` when there is none.
    pub normalised: Option<String>,
    /// What the list says; this version records and does not enforce.
    pub decision: OriginDecision,
    /// The list entry that allowed it.
    pub rule: Option<String>,
    /// The entry it nearly matched and why not; `null` until that is built.
    pub nearest: Option<String>,
    /// Why there is no normal form.
    pub error: Option<String>,
}

/// See [`OriginFacts::decision`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OriginDecision {
    /// On the list.
    Allowed,
    /// Refused by the tap.
    Denied,
    /// Not on the list; let through all the same.
    WouldDeny,
    /// The request had none.
    Absent,
    /// There is no list.
    Off,
}
