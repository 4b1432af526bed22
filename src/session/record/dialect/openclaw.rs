//! Facts of an `OpenClaw` session.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::common::{
    Application, ConnectResult, GatewayProcess, InflateFacts, Refusal, ShutdownFacts,
};
use super::requests::RpcFacts;
use crate::session::credential::Credential;
use crate::session::moment::Moment;
use crate::session::record::close::CloseSeen;
use crate::session::text::PeerText;
use crate::ws::CloseCode;

/// What the two ends of an `OpenClaw` session said.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct OpenClawFacts {
    /// Which of the gateway's services the path belongs to.
    pub endpoint: Option<Endpoint>,
    /// The kind of the gateway's first message; `null` if none came or none was read.
    pub first_of_gateway: Option<FirstOfGateway>,
    /// When the gateway's `connect.challenge` came.
    pub challenge_at: Option<Moment>,
    /// When the client's `connect` request came.
    pub connect_at: Option<Moment>,
    /// When the gateway answered it.
    pub answered_at: Option<Moment>,
    /// The kind of the client's first message.
    pub first_message: Option<FirstMessage>,
    /// Who the client says it is.
    pub client: Option<ClientIdentity>,
    /// The device identity that the client sent.
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
    /// Outcome of the connect request.
    pub result: ConnectResult,
    /// The refusal.
    pub error: Option<DialectError>,
    /// Fingerprint of the device token that `hello-ok` issued (`auth.deviceToken`).
    pub issued_token: Option<String>,
    /// `policy.maxPayload` of `hello-ok`, in bytes.
    pub max_payload: Option<u64>,
    /// `policy.maxBufferedBytes`: a client for which more bytes are waiting is dropped.
    pub max_buffered: Option<u64>,
    /// `policy.tickIntervalMs`.
    pub tick_interval_ms: Option<u64>,
    /// The `shutdown` event.
    pub shutdown: Option<ShutdownFacts>,
    /// Requests after the handshake; `null` if the handshake did not succeed.
    pub rpc: Option<RpcFacts>,
    /// How reading of compressed messages went; `null` if none had to be read.
    pub inflate: Option<InflateFacts>,
}

/// The gateway's services behind one port. All but the first use their own protocols and send no
/// challenge; they are relayed and judged only by the bytes on the wire.
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
    /// with something other than its challenge and the client had not begun with connect.
    Plugin,
    /// `/__openclaw__/ws` of gateways before 2026.4, which announce there that a canvas changed:
    /// neither side sends anything until then. On this path later gateways send a challenge, and
    /// neither side did.
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
    /// Compressed and not inflatable, or longer than what is read.
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
    /// JSON that is not a request.
    NotARequest,
    /// Not JSON.
    NotJson,
    /// A binary message.
    Binary,
    /// Longer than what is read before `hello-ok` (64 KiB).
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
    /// Whether a device object was sent.
    pub present: bool,
    /// Its id: a hash of a public key, not a secret.
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

/// A refusal, as the gateway words it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct DialectError {
    /// `error.code`.
    pub code: Option<PeerText>,
    /// `error.details.code`: the code to match first.
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

/// Where the connect request carries its credentials.
pub const AUTH: &str = "frame:connect.params.auth.";

/// The credential that a gateway compared, if it looks under these keys of `connect.params.auth` in
/// this order. If none of them was sent, the first credential that the gateway uses. Clients send
/// several at once: on a retry, a stored device token beside the shared one.
#[must_use]
pub fn compared<'a>(all: &'a [Credential], keys: &[&str]) -> Option<&'a Credential> {
    let looked_at = || all.iter().filter(|one| one.effective == Some(true));
    let under = |key: &&str| {
        let here = |one: &&Credential| one.place.strip_prefix(AUTH) == Some(*key);
        // The gateway treats an empty one as missing.
        looked_at().filter(here).find(|one| one.length > 0)
    };
    keys.iter().find_map(under).or_else(|| looked_at().next())
}

/// Whether the client sent something under this key of `connect.params.auth`.
#[must_use]
pub fn sends(all: &[Credential], key: &str) -> bool {
    let here = |one: &Credential| one.place.strip_prefix(AUTH) == Some(key);
    all.iter().any(|one| one.length > 0 && here(one))
}

/// Whether a Close says that the gateway restarts or stops, if no shutdown event did.
#[must_use]
pub fn announces(code: Option<CloseCode>, reason: &[u8]) -> bool {
    code == Some(CloseCode(1012)) && matches!(reason, b"service restart" | b"gateway-shutdown")
}

/// Whether a Close says that the gateway removed the client's device.
pub(super) fn removes_device(close: &CloseSeen) -> bool {
    close.code == Some(CloseCode(4001)) && close.reason.as_str().starts_with("device removed")
}

impl OpenClawFacts {
    /// When the gateway's process began, computed from the uptime that it reported; in-process
    /// restarts do not change it.
    #[must_use]
    pub fn process_began_at(&self) -> Option<Moment> {
        let uptime = self.server.as_ref()?.uptime_ms?;
        self.answered_at?.before(uptime)
    }
}

impl OpenClawFacts {
    /// The same in the terms that every dialect has.
    pub(super) fn application(&self) -> Application<'_> {
        let client = self.client.as_ref();
        Application {
            result: self.result,
            greeted_at: self.challenge_at,
            asked_at: self.connect_at,
            answered_at: self.answered_at,
            client_spoke: self.first_message.is_some(),
            refusal: self.error.as_ref().map(DialectError::refusal),
            shutdown: self.shutdown.as_ref(),
            client_id: client.and_then(|client| client.id.as_ref()),
            client_mode: client.and_then(|client| client.mode.as_ref()),
            client_version: client.and_then(|client| client.version.as_ref()),
            device: self.device.id.as_ref(),
            issued_token: self.issued_token.as_deref(),
            log_id: self.conn_id.as_ref(),
            gateway: self.server.as_ref().map(|server| GatewayProcess {
                version: server.version.as_ref(),
                boot: server.boot_id.as_ref(),
                began_at: self.process_began_at(),
            }),
            protocol: self.protocol.agreed,
            max_message: self.max_payload,
            max_buffered: self.max_buffered,
            requests: self.rpc.as_ref(),
        }
    }

    /// Whether the gateway compared the shared token and found a different one. Before 2026.3 it
    /// gives no code, and 2026.2 speaks of a device token even if none was sent.
    pub(super) fn is_mismatch(&self, auth: &[Credential]) -> bool {
        let Some(error) = &self.error else {
            return false;
        };
        if let Some(code) = &error.details_code {
            return code.as_str() == "AUTH_TOKEN_MISMATCH";
        }
        let says = |words: &str| {
            let message = error.message.as_ref();
            message.is_some_and(|message| message.as_str().starts_with(words))
        };
        let sent = |key| sends(auth, key);
        says("unauthorized: gateway token mismatch")
            || says("unauthorized: device token mismatch") && sent("token") && !sent("deviceToken")
    }

    /// The credential that the gateway refused or accepted.
    pub(super) fn compared<'a>(&self, auth: &'a [Credential]) -> Option<&'a Credential> {
        let error = self.error.as_ref();
        let code = error.and_then(|error| error.details_code.as_ref());
        let keys: &[&str] = match code.map(PeerText::as_str) {
            Some("AUTH_DEVICE_TOKEN_MISMATCH" | "AUTH_SCOPE_MISMATCH") => &["deviceToken"],
            Some("AUTH_PASSWORD_MISMATCH") => &["password", "token"],
            _ => &["token", "password"],
        };
        compared(auth, keys)
    }
}

impl DialectError {
    fn refusal(&self) -> Refusal<'_> {
        let codes = [
            ("code", &self.code),
            ("details.code", &self.details_code),
            ("reason", &self.details_reason),
            ("its advice", &self.next_step),
        ];
        Refusal {
            how: "the gateway answered connect with ok: false",
            message: self.message.as_ref(),
            codes: codes
                .into_iter()
                .filter_map(|(name, text)| Some((name, text.as_ref()?)))
                .collect(),
            retry_after_ms: self.retry_after_ms,
        }
    }
}
