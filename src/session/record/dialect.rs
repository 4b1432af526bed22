//! What the application said inside the tunnel.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::session::moment::Moment;
use crate::session::text::PeerText;

/// Facts of the application protocol; of `openclaw` unless said otherwise.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct DialectFacts {
    /// `openclaw` or `plain`.
    pub name: String,
    /// When the gateway's `connect.challenge` came.
    pub challenge_at: Option<Moment>,
    /// When the client's `connect` request came.
    pub connect_at: Option<Moment>,
    /// When the gateway answered it.
    pub answered_at: Option<Moment>,
    /// What the client's first message was.
    pub first_message: Option<FirstMessage>,
    /// Who the client says it is.
    pub client: Option<ClientIdentity>,
    /// The device identity it brought.
    pub device: DeviceFacts,
    /// The role it asked for.
    pub role: Option<PeerText>,
    /// The scopes it asked for.
    pub scopes_asked: Option<Vec<PeerText>>,
    /// The scopes that `hello-ok` granted.
    pub scopes_granted: Option<Vec<PeerText>>,
    /// Protocol versions.
    pub protocol: ProtocolRange,
    /// `server.connId` of `hello-ok`; joins with the gateway's log.
    pub conn_id: Option<PeerText>,
    /// Who the gateway says it is.
    pub server: Option<ServerIdentity>,
    /// What became of the connect request.
    pub result: ConnectResult,
    /// The refusal.
    pub error: Option<DialectError>,
    /// `policy.maxPayload` of `hello-ok`, in bytes.
    pub max_payload: Option<u64>,
    /// The `shutdown` event.
    pub shutdown: Option<ShutdownFacts>,
    /// Requests after the handshake; `null` until that is built.
    pub rpc: Option<RpcFacts>,
}

/// The client's first data message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum FirstMessage {
    /// A `connect` request.
    Connect,
    /// Another request.
    OtherRequest,
    /// JSON that is no request.
    NotARequest,
    /// Not JSON.
    NotJson,
    /// A binary message.
    Binary,
    /// Longer than is read before `hello-ok` (64 KiB).
    TooLong,
    /// Compressed; not read by this version.
    Compressed,
}

/// `params.client`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
#[expect(missing_docs, reason = "the names are the protocol's own")]
pub struct ClientIdentity {
    pub id: Option<PeerText>,
    pub mode: Option<PeerText>,
    pub version: Option<PeerText>,
}

/// `params.device`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct DeviceFacts {
    /// A device object was sent.
    pub present: bool,
    /// Its id: a hash of a public key, no secret.
    pub id: Option<PeerText>,
}

/// Protocol versions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct ProtocolRange {
    /// `minProtocol` of the client.
    pub min: Option<u64>,
    /// `maxProtocol` of the client.
    pub max: Option<u64>,
    /// `protocol` of `hello-ok`.
    pub agreed: Option<u64>,
}

/// `server` of `hello-ok`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct ServerIdentity {
    /// The gateway's version.
    pub version: Option<PeerText>,
    /// `buildId`.
    pub build_id: Option<PeerText>,
    /// `bootId`: a new one proves a fresh process.
    pub boot_id: Option<PeerText>,
}

/// What became of the connect request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ConnectResult {
    /// `hello-ok`.
    Accepted,
    /// `res` with `ok: false`.
    Refused,
    /// No answer was seen.
    #[default]
    None,
}

/// A refusal, as the gateway words it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct DialectError {
    /// `error.code`.
    pub code: Option<PeerText>,
    /// `error.details.code`: the one to match first.
    pub details_code: Option<PeerText>,
    /// `error.details.reason`, or `authReason`.
    pub details_reason: Option<PeerText>,
    /// `error.message`.
    pub message: Option<PeerText>,
    /// `error.details.requestId`, for the approve command.
    pub request_id: Option<PeerText>,
    /// `error.details.recommendedNextStep`.
    pub next_step: Option<PeerText>,
    /// `error.retryAfterMs`.
    pub retry_after_ms: Option<u64>,
}

/// The `shutdown` event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ShutdownFacts {
    /// `reason`.
    pub reason: Option<PeerText>,
    /// `restartExpectedMs`; absent when it stops for good.
    pub restart_expected_ms: Option<u64>,
    /// When it came.
    pub at: Moment,
}

/// Requests after the handshake.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct RpcFacts {}
