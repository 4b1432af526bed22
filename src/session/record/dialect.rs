//! What the application said inside the tunnel.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::session::moment::Moment;
use crate::session::text::PeerText;
use crate::ws::inflate::InflateStop;

/// Facts of the application protocol; of `openclaw` unless said otherwise.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct DialectFacts {
    /// `openclaw` or `plain`.
    pub name: String,
    /// Which of the gateway's services the path belongs to; `null` with `plain`.
    pub endpoint: Option<Endpoint>,
    /// What the gateway's first message was; `null` when none came or none was read.
    pub first_of_gateway: Option<FirstOfGateway>,
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
    /// Fingerprint of the device token that `hello-ok` issued (`auth.deviceToken`).
    pub issued_token: Option<String>,
    /// `policy.maxPayload` of `hello-ok`, in bytes.
    pub max_payload: Option<u64>,
    /// `policy.maxBufferedBytes`: a client that lets more wait is dropped.
    pub max_buffered: Option<u64>,
    /// `policy.tickIntervalMs`.
    pub tick_interval_ms: Option<u64>,
    /// The `shutdown` event.
    pub shutdown: Option<ShutdownFacts>,
    /// Requests after the handshake; `null` when it did not succeed.
    pub rpc: Option<RpcFacts>,
    /// How reading compressed messages went; `null` when none had to be read.
    pub inflate: Option<InflateFacts>,
}

/// The gateway's services behind one port. All but the first speak protocols of their own and send
/// no challenge; they are relayed and judged by what is on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Endpoint {
    /// The gateway's own protocol: challenge, connect, hello-ok.
    Gateway,
    /// `/__openclaw__/worker`.
    Worker,
    /// `/desktop/observe`.
    Desktop,
    /// `/node-desktop/attach`.
    NodeDesktop,
    /// `/node-portal/attach`.
    NodePortal,
    /// A plugin's path: `/__openclaw__/cap/…`, or a path other than `/` where the gateway began
    /// with something else than its challenge and the client with something else than connect.
    Plugin,
    /// `/__openclaw__/ws` of gateways before 2026.4, which announce there that a canvas changed: nobody
    /// says a word until then. On this path later gateways challenge, and neither side did.
    Canvas,
}

/// The gateway's first data message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum FirstOfGateway {
    /// `connect.challenge`.
    Challenge,
    /// Other JSON.
    Json,
    /// Text that is not JSON.
    Text,
    /// A binary message.
    Binary,
    /// Compressed, and it could not be inflated; or longer than is read.
    Unread,
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
    /// Compressed, and it could not be inflated.
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
    /// `bootId`: a new one proves a fresh process. Gateways before 2026.8 have none.
    pub boot_id: Option<PeerText>,
    /// `snapshot.uptimeMs` of the same `hello-ok`: how long the process had run.
    pub uptime_ms: Option<u64>,
}

impl DialectFacts {
    /// When the gateway's process began, by the uptime that it told; in-process restarts do not change it.
    #[must_use]
    pub fn process_began_at(&self) -> Option<Moment> {
        let uptime = self.server.as_ref()?.uptime_ms?;
        self.answered_at?.before(uptime)
    }
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
    /// `error.details.expectedProtocol`: the protocol version that the gateway speaks.
    pub expected_protocol: Option<u64>,
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

/// Requests after the handshake, matched with their responses by id. They are read from the front
/// of each message; what does not show there is counted as unseen, never guessed.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct RpcFacts {
    /// Requests of the client.
    pub requests: u64,
    /// Responses that answered one of them.
    pub responses: u64,
    /// Responses with `ok: false`.
    pub errors: u64,
    /// Responses to no request that was waiting: one answer too many, or to one that was not followed.
    pub unmatched: u64,
    /// Requests whose id was still waiting for its answer.
    pub duplicate_ids: u64,
    /// Requests that were not followed, because 256 others were waiting.
    pub untracked: u64,
    /// Messages of the client whose front did not show what they were.
    pub unseen_to_gateway: u64,
    /// Messages of the gateway whose front did not show what they were.
    pub unseen_to_client: u64,
    /// How many requests had no answer at the end; `null` when answers may have been unseen.
    pub unanswered_count: Option<u64>,
    /// The oldest of them, at most 16.
    pub unanswered: Vec<UnansweredRequest>,
    /// How many requests the gateway had accepted and whose result had not come at the end; `null`
    /// when it may have been unseen. They count as answered.
    pub unfinished_count: Option<u64>,
    /// The oldest of them, at most 16.
    pub unfinished: Vec<UnansweredRequest>,
    /// By method, at most 32 of them in order of appearance; the rest in one more without a name.
    pub methods: Vec<MethodFacts>,
    /// Failed requests by method and code, at most 16 kinds.
    pub failures: Vec<RpcFailure>,
}

/// A request without an answer, or without its result.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct UnansweredRequest {
    /// Its method.
    pub method: PeerText,
    /// When it came.
    pub at: Moment,
    /// How long it had waited at the end.
    pub age_ms: f64,
    /// All of it was written to the gateway's connection.
    pub written: bool,
}

/// One method's requests.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct MethodFacts {
    /// Its name; `null` for all that found no room of their own.
    pub method: Option<PeerText>,
    /// How often it was asked for.
    pub requests: u64,
    /// How many answers came.
    pub responses: u64,
    /// How many of them said `ok: false`.
    pub errors: u64,
    /// From request to answer, as they passed; `null` without an answer.
    pub latency_ms: Option<RpcLatency>,
}

/// Latencies of one method.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
#[expect(missing_docs, reason = "each name says it")]
pub struct RpcLatency {
    pub min: f64,
    pub mean: f64,
    pub max: f64,
}

/// One way in which requests failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RpcFailure {
    /// Its method.
    pub method: PeerText,
    /// `error.code`.
    pub code: Option<PeerText>,
    /// `error.details.code`.
    pub details_code: Option<PeerText>,
    /// The front of `error.message`, of the first one.
    #[serde(default)]
    pub message: Option<PeerText>,
    /// `error.details.missingScope`; of gateways before 2026.8, which send no details, what the message
    /// names.
    pub missing_scope: Option<PeerText>,
    /// How often.
    pub count: u64,
    /// The first time.
    pub first_at: Moment,
}

/// Reading compressed messages (permessage-deflate, RFC 7692).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct InflateFacts {
    /// Messages of the client.
    pub to_gateway: Option<InflateDirection>,
    /// Messages of the gateway.
    pub to_client: Option<InflateDirection>,
}

/// One direction's compressed messages.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct InflateDirection {
    /// How many were begun to be read.
    pub messages: u64,
    /// Compressed bytes that were read.
    pub bytes_in: u64,
    /// What came out of them.
    pub bytes_out: u64,
    /// Why no more were read; the bytes passed all the same.
    pub stopped: Option<InflateStop>,
    /// Since when.
    pub stopped_at: Option<Moment>,
}
