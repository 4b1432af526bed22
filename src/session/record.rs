//! The record `wstap.session/1`: one JSON object per line, one for each session.
//!
//! `docs/records.md` is its reference. Absent facts are `null`. Every part can be read back, so
//! that a verdict can be repeated from the file; fields that a file lacks take their defaults.

pub mod client;
pub mod close;
pub mod codes;
pub mod context;
pub mod denied;
pub mod dialect;
pub mod frames;
pub mod gateway;
pub mod passthrough;
pub mod proxy_protocol;
pub mod repeats;
pub mod request;
pub mod stream_fault;
pub mod texts;
pub mod verdict;
pub mod visits;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

pub use client::{
    ClientCert, ClientFacts, ClientTls, FirstBytes, SelfMade, SelfMadeKind, SniMatch, TlsFailure,
    TlsFailureKind,
};
pub use close::{
    CapFact, CapKey, CloseFacts, CloseSeen, Saw, SawBasis, StreamReset, TimerFact, TimerKey,
    TransportEnd,
};
pub use codes::{Http2Error, PassedAlert, TlsAlert};
pub use context::ContextFacts;
pub use denied::{DeniedFact, DeniedKey};
pub use dialect::{Application, DialectFacts, Refusal};
pub use frames::{DirectionFrames, Frames, Latency};
pub use gateway::{BodyKind, GatewayError, GatewayErrorKind, GatewayFacts, PageBy, TlsWords};
pub use passthrough::{LastRecord, PassedFacts, PassthroughFacts};
pub use repeats::Repeats;
pub use request::{
    HeadFault, HeaderFact, Miss, NearestEntry, OriginDecision, OriginError, OriginFacts,
    RefusedHead, RequestFacts,
};
pub use stream_fault::{StreamFault, StreamFaultKind};
pub use verdict::{Class, Confidence, Evidence, Layer, Verdict};
pub use visits::{Steady, VisitFacts};

use super::credential::Credential;
use super::moment::Moment;
use super::party::Phase;

/// The value of `schema`.
pub const SCHEMA: &str = "wstap.session/1";

/// The kind of session that a record describes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// An upgrade attempt, however far it got.
    Websocket,
    /// Any other request.
    Http,
    /// Ended before a request (TLS failure, garbage, silence, a bare TCP health check), or passed on unread.
    #[default]
    Connection,
}

/// One session, from accept to end.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct SessionRecord {
    /// [`SCHEMA`].
    pub schema: String,
    /// `UUIDv7`, also in the `X-Wstap-Session` header.
    pub id: Uuid,
    /// What kind of session this was.
    pub kind: Kind,
    /// Which tap saw it.
    pub tap: TapFacts,
    /// When the connection was accepted; for a later request on it, when the head came.
    pub opened_at: Moment,
    /// When both legs had ended.
    pub closed_at: Moment,
    /// Duration by the monotonic clock.
    pub duration_ms: f64,
    /// How far it got.
    pub phase: Phase,
    /// When each phase began, in their order; empty in records of versions that did not record it.
    pub phases: Vec<PhaseBegan>,
    /// The downstream leg.
    pub client: ClientFacts,
    /// The request head; `null` for `connection`.
    pub request: Option<RequestFacts>,
    /// Every credential seen, by fingerprint.
    pub auth: Vec<Credential>,
    /// Number of credentials that were left out because there were too many.
    pub auth_dropped: u64,
    /// What the `Origin` was, and the result of our check.
    pub origin: Option<OriginFacts>,
    /// The upstream leg; `null` when it was never dialled.
    pub gateway: Option<GatewayFacts>,
    /// What answered the request, and with which status.
    pub answer: Option<AnswerFacts>,
    /// Frame statistics; `null` without a tunnel.
    pub frames: Option<Frames>,
    /// The tap's own cost and the peers' slowness; `null` without a tunnel.
    pub latency: Option<Latency>,
    /// What was seen of a connection that was passed on unread; otherwise `null`.
    pub passthrough: Option<Box<PassthroughFacts>>,
    /// How it ended, both legs side by side.
    pub close: CloseFacts,
    /// What the application said inside the tunnel; `null` without a tunnel.
    pub dialect: Option<DialectFacts>,
    /// What recent sessions add as evidence; only for an upgrade attempt, or for a connection
    /// without a request (then only `visits`).
    pub context: Option<ContextFacts>,
    /// How many sessions this record stands for, if similar endings of one client were joined.
    pub repeats: Option<Repeats>,
    /// Whose fault it was; filled in by `verdict::decide` as the last step.
    pub verdict: Option<Verdict>,
}

/// When a phase began.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PhaseBegan {
    /// The phase.
    pub phase: Phase,
    /// When it began.
    pub at: Moment,
}

/// Which tap wrote a record.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct TapFacts {
    /// The host name.
    pub name: String,
    /// The version of wstap.
    pub version: String,
    /// When the tap started; `null` in records of versions that did not record it. What it knows of earlier sessions
    /// (`context`) begins then.
    #[serde(default)]
    pub started_at: Option<Moment>,
    /// The local address that accepted the connection; `unix:/path` for a unix socket.
    pub listener: String,
    /// The listener's key in the configuration, such as `listeners[0]`.
    #[serde(default)]
    pub listener_key: String,
    /// How the tap came between client and gateway.
    #[serde(default)]
    pub mode: TapMode,
}

/// How a tap came between client and gateway.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum TapMode {
    /// The client connected to the tap (`wstap serve`).
    #[default]
    Inline,
    /// The client connected to the gateway; the packet filter redirected the connection to the tap
    /// (`wstap attach`).
    Attached,
    /// The tap was its own client (`wstap probe`).
    Probe,
}

/// Who sent the HTTP answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AnswerFacts {
    /// The gateway (or a server behind the tap), or the tap itself.
    pub by: AnswerBy,
    /// The status that the client got.
    pub status: u16,
    /// The error of an answer that the tap made, as in `Proxy-Status` (RFC 9209 section 2.3).
    pub error: Option<String>,
    /// Body bytes that went to the client; `null` for an upgrade.
    pub body_bytes: Option<u64>,
    /// Body bytes that the client sent.
    pub request_body_bytes: Option<u64>,
    /// Whether the whole answer was passed on.
    pub complete: bool,
}

/// See [`AnswerFacts::by`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum AnswerBy {
    /// Passed through.
    Gateway,
    /// Made here.
    Tap,
}

impl Default for SessionRecord {
    fn default() -> Self {
        let epoch = Moment(jiff::Timestamp::UNIX_EPOCH);
        Self {
            schema: SCHEMA.to_owned(),
            id: Uuid::nil(),
            kind: Kind::default(),
            tap: TapFacts::default(),
            opened_at: epoch,
            closed_at: epoch,
            duration_ms: 0.0,
            phase: Phase::default(),
            phases: Vec::new(),
            client: ClientFacts::default(),
            request: None,
            auth: Vec::new(),
            auth_dropped: 0,
            origin: None,
            gateway: None,
            answer: None,
            frames: None,
            latency: None,
            passthrough: None,
            close: CloseFacts::default(),
            dialect: None,
            context: None,
            repeats: None,
            verdict: None,
        }
    }
}

impl SessionRecord {
    /// What the application said, in the terms that every dialect has; empty without a tunnel.
    #[must_use]
    pub fn application(&self) -> Application<'_> {
        let dialect = self.dialect.as_ref();
        dialect.map_or_else(Application::default, DialectFacts::application)
    }

    /// When the session reached a phase, if the record has it.
    ///
    /// `opened_at` is no substitute: for the first request on a connection it is when the
    /// connection was accepted, and browsers open connections before they have a request for them.
    #[must_use]
    pub fn began(&self, phase: Phase) -> Option<Moment> {
        let began = self.phases.iter().find(|it| it.phase == phase)?;
        Some(began.at)
    }

    /// Whether a tunnel was opened: a 101 was passed on.
    #[must_use]
    pub fn had_tunnel(&self) -> bool {
        self.kind == Kind::Websocket && self.phase >= Phase::Handshake
    }

    /// True for a connection that the client ended without sending a byte of a request.
    #[must_use]
    pub fn is_bare_connect(&self) -> bool {
        self.asked_for_nothing()
            && self.close.timer.is_none()
            && self.close.transport.client.is_by_peer()
            && self.close.transport.client_fault.is_none()
    }

    /// True for a connection on which no byte came, apart from TLS, whichever side ended it.
    #[must_use]
    pub fn asked_for_nothing(&self) -> bool {
        self.kind == Kind::Connection
            && self.answer.is_none()
            && matches!(self.client.first_bytes, None | Some(FirstBytes::None))
            && self.client.bytes_read.unwrap_or(0) == 0
    }

    /// True for a connection without a request that a timer of ours ended. (With HTTP/2 the client may
    /// have sent the preface and SETTINGS.)
    #[must_use]
    pub fn waited_in_silence(&self) -> bool {
        let timer = self.close.timer.map(|timer| timer.key);
        let about = matches!(timer, Some(TimerKey::RequestHead | TimerKey::TlsHandshake));
        let silent = self.client.first_bytes == Some(FirstBytes::None) && self.asked_for_nothing();
        let opened = self.client.http2.as_ref().is_some_and(|http2| {
            self.kind == Kind::Connection && http2.requests == 0 && http2.refused == 0
        });
        about && (silent || opened) && self.close.refused.is_none()
    }

    /// True for a client that was shown our certificate, sent no byte of a request and left without
    /// an alert. In TLS 1.3, a client that verifies the certificate at the end of its handshake may
    /// leave before it sends its last message: on our side the handshake is then incomplete.
    #[must_use]
    pub fn left_at_certificate(&self) -> bool {
        let Some(tls) = &self.client.tls else {
            return false;
        };
        let end = self.close.transport.client;
        if !end.is_by_peer() || end == TransportEnd::Timeout {
            return false;
        }
        let Some(failure) = &tls.failure else {
            return self.phase >= Phase::Request && self.is_bare_connect();
        };
        let ours = self.close.timer.is_some() || self.answer.is_some() || failure.kind.is_some();
        self.kind == Kind::Connection
            && !ours
            && failure.alert.is_none()
            && tls.certificate.is_some()
            && self.client.first_bytes == Some(FirstBytes::Tls)
    }
}

#[cfg(test)]
mod docs_tests;
