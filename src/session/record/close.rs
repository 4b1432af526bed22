//! How a session ended: both legs side by side.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::codes::Http2Error;
use super::denied::{self, DeniedFact};
use super::request::RefusedHead;
use super::stream_fault::StreamFault;
use crate::session::moment::Moment;
use crate::session::party::{Direction, Leg, Party};
use crate::session::text::PeerText;
use crate::ws::{CloseCode, Violation};

/// How both legs ended and what each end must have observed.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct CloseFacts {
    /// Who ended the session first: the party of `first_act`.
    pub first: Option<Party>,
    /// Who ended the session first, how and when; `null` if nobody did, and in records of older
    /// versions.
    pub first_act: Option<FirstAct>,
    /// The Close frame received from the client.
    pub client: Option<CloseSeen>,
    /// The Close frame received from the gateway.
    pub gateway: Option<CloseSeen>,
    /// The Close frame that the tap sent of its own accord.
    pub tap: Option<CloseSeen>,
    /// How each leg's transport ended.
    pub transport: TransportEnds,
    /// What the client observed; see [`Saw`].
    pub client_saw: Option<Saw>,
    /// What the gateway observed.
    pub gateway_saw: Option<Saw>,
    /// Which timer of ours fired.
    pub timer: Option<TimerFact>,
    /// Which cap of ours on a session was met.
    pub cap: Option<CapFact>,
    /// The tap was shutting down and ended this session.
    pub drained: bool,
    /// A bug of ours: what the panic or failed assumption was about.
    pub fault: Option<String>,
    /// Our policy refused this session; names the configuration key.
    #[serde(deserialize_with = "denied::read")]
    pub denied: Option<DeniedFact>,
    /// The client sent something that cannot be passed on.
    pub refused: Option<RefusedHead>,
}

/// The first act that ended a session, or began to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct FirstAct {
    /// Who acted.
    pub party: Party,
    /// What it did.
    pub kind: ActKind,
    /// When.
    pub at: Moment,
}

impl FirstAct {
    /// The leg at whose far end it happened; `None` if the tap acted.
    #[must_use]
    pub fn leg(&self) -> Option<Leg> {
        match self.party {
            Party::Client => Some(Leg::Client),
            Party::Gateway => Some(Leg::Gateway),
            Party::Tap | Party::Hop | Party::Network | Party::None => None,
        }
    }
}

/// How a party ended a session. Of acts at the same time, the earlier one in this list counts: a
/// message explains an ending better than the end of a transport.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum ActKind {
    /// The application refused the session in one of its own messages.
    Refusal,
    /// A Close frame.
    Close,
    /// The tap ended or refused the session by a timer, a limit, its policy, its shutdown or a fault.
    Tap,
    /// The gateway refused before there was a tunnel.
    HttpRefusal,
    /// The end of TLS on a connection that passed unread.
    TlsEnd,
    /// The transport ended.
    Transport,
}

/// One Close frame as it was received from a leg.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CloseSeen {
    /// The close code; `null` for an empty body.
    pub code: Option<CloseCode>,
    /// The reason, escaped and whole: a Close holds at most 123 bytes of it. Of a longer one, which
    /// breaks RFC 6455, the beginning and how much followed.
    pub reason: PeerText,
    /// When its last byte came.
    pub at: Moment,
    /// Rules of RFC 6455 that this frame itself breaks and that no receiver may ignore. They are
    /// also among the `violations` of its direction.
    #[serde(default)]
    pub breaks: Vec<Violation>,
}

/// How the transport of each leg ended.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct TransportEnds {
    /// The downstream leg.
    pub client: TransportEnd,
    /// The upstream leg.
    pub gateway: TransportEnd,
    /// When the downstream leg ended.
    pub client_at: Option<Moment>,
    /// When the upstream leg ended.
    pub gateway_at: Option<Moment>,
    /// The error text of the system or of TLS, if there is one.
    pub client_cause: Option<String>,
    /// The same for the upstream leg.
    pub gateway_cause: Option<String>,
    /// The error in the client's TLS stream, if that ended its leg.
    pub client_fault: Option<StreamFault>,
    /// The same for the gateway.
    pub gateway_fault: Option<StreamFault>,
    /// When we found that bytes sent to the client after it had ended its sending side (`client` is
    /// `fin` or `tls_close`) were answered with a reset: it was gone. If `null`, it may have gone
    /// on reading.
    pub client_refused_at: Option<Moment>,
    /// HTTP/2: the client reset the stream of this session, and why. Its connection may have gone on.
    pub client_reset: Option<StreamReset>,
    /// The error code of that reset; `null` in records of older versions.
    pub client_reset_code: Option<Http2Error>,
}

/// The error code of a `RST_STREAM` (RFC 9113 section 7), as far as it is meaningful.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum StreamReset {
    /// `CANCEL`: the stream is no longer wanted.
    Cancel,
    /// `NO_ERROR`.
    NoError,
    /// An error, of the stream or of the peer.
    Other,
}

impl From<Http2Error> for StreamReset {
    fn from(error: Http2Error) -> Self {
        match error {
            Http2Error::Cancel => Self::Cancel,
            Http2Error::NoError => Self::NoError,
            _ => Self::Other,
        }
    }
}

/// How a connection ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum TransportEnd {
    /// The peer sent FIN (plain TCP, unix socket).
    Fin,
    /// The peer reset it.
    Rst,
    /// TLS `close_notify`.
    TlsClose,
    /// FIN without `close_notify` (RFC 8446 section 6.1).
    TlsTruncated,
    /// The kernel gave up on the peer (ETIMEDOUT, no route).
    Timeout,
    /// We ended it, after the other leg or by a timer.
    Local,
    /// It did not end, or was never there.
    #[default]
    None,
}

impl TransportEnd {
    /// The spelling in records.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Fin => "fin",
            Self::Rst => "rst",
            Self::TlsClose => "tls_close",
            Self::TlsTruncated => "tls_truncated",
            Self::Timeout => "timeout",
            Self::Local => "local",
            Self::None => "none",
        }
    }

    /// Whether the far end, not the tap, ended it.
    #[must_use]
    pub fn is_by_peer(self) -> bool {
        !matches!(self, Self::Local | Self::None)
    }

    /// Whether it ended in order: FIN, with or without `close_notify`.
    #[must_use]
    pub fn is_orderly(self) -> bool {
        matches!(self, Self::Fin | Self::TlsClose | Self::TlsTruncated)
    }
}

/// The code that an end must have observed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Saw {
    /// The close code: 1005 for a Close without a code, 1006 if there was no Close.
    pub code: CloseCode,
    /// How sure the tap is.
    pub basis: SawBasis,
}

/// See [`Saw::basis`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum SawBasis {
    /// That end answered the Close.
    Acked,
    /// The Close was written to that leg; the tap knows no more.
    Written,
    /// The Close could not be written: the leg was gone.
    Undelivered,
}

/// A timer of ours that fired.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct TimerFact {
    /// The configuration key below `timeouts`.
    pub key: TimerKey,
    /// The configured limit.
    pub limit_ms: u64,
    /// The time that really passed.
    pub observed_ms: f64,
    /// When it fired.
    pub at: Moment,
}

/// The keys below `timeouts`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "docs/configuration.md explains each key")]
pub enum TimerKey {
    ProxyHeader,
    TlsHandshake,
    RequestHead,
    RequestBody,
    Connect,
    Upgrade,
    Idle,
    HalfClose,
    Close,
    Drain,
}

impl TimerKey {
    /// The spelling in the configuration.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ProxyHeader => "proxy_header",
            Self::TlsHandshake => "tls_handshake",
            Self::RequestHead => "request_head",
            Self::RequestBody => "request_body",
            Self::Connect => "connect",
            Self::Upgrade => "upgrade",
            Self::Idle => "idle",
            Self::HalfClose => "half_close",
            Self::Close => "close",
            Self::Drain => "drain",
        }
    }
}

/// A cap of ours that a frame would have exceeded.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct CapFact {
    /// The configuration key below `limits.session`.
    pub key: CapKey,
    /// The direction of the frame.
    pub direction: Direction,
    /// The configured cap; for a rate: per second.
    pub limit: u64,
    /// For a rate: the burst that is allowed.
    pub burst: Option<u64>,
    /// The count with this frame included. For a rate: within `within_ms`.
    pub observed: u64,
    /// For a rate: how long this has been counted.
    pub within_ms: Option<f64>,
    /// When the header of the frame was complete.
    pub at: Moment,
}

/// The keys below `limits.session`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "docs/configuration.md explains each key")]
pub enum CapKey {
    Bytes,
    MessageBytes,
    MessagesPerSecond,
    BytesPerSecond,
}

impl CapKey {
    /// The spelling in the configuration.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Bytes => "bytes",
            Self::MessageBytes => "message_bytes",
            Self::MessagesPerSecond => "messages_per_second",
            Self::BytesPerSecond => "bytes_per_second",
        }
    }
}
