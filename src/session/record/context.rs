//! Evidence from recent sessions, stored in a record when it is judged.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::session::moment::Moment;
use crate::session::party::Leg;
use crate::session::record::visits::VisitFacts;
use crate::session::text::PeerText;

/// Evidence from other sessions of the same tap. It is stored in the record, so that judging the
/// record again from a file gives the same verdict.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct ContextFacts {
    /// Number of sessions that are remembered, this one not counted.
    pub remembered: usize,
    /// Number of other sessions that the same gateway lost without a Close within a second of this
    /// one.
    pub lost_together: u32,
    /// Number of these sessions that had been silent for about as long as this one.
    pub lost_alike: u32,
    /// Number of sessions whose same leg was lost without a Close in the ten minutes before that
    /// second, or right after it.
    pub lost_beside: u32,
    /// At the rate of `lost_beside`, as many sessions are lost within one second by chance in one
    /// case of this many; `null` if there were none.
    pub lost_together_one_in: Option<u64>,
    /// Number of sessions that were open before this one was lost, and still are; at most 256 are
    /// counted. A process that ends takes all of its sessions with it.
    pub survivors: u32,
    /// When the gateway process of this session (by its boot id) was last heard after this session
    /// was lost: it had not ended.
    pub process_heard_at: Option<Moment>,
    /// The timer that ended this session and others, if their times are far more alike than by
    /// chance.
    pub cadence: Option<Cadence>,
    /// Other credentials that the same client address used recently in the same place.
    pub other_credentials: Vec<OtherCredential>,
    /// Whether this session's own credential worked for others recently.
    pub same_credential: Option<CredentialUse>,
    /// The credential in the same place with which most clients were let in recently, if it is not
    /// this one.
    pub working: Option<CredentialUse>,
    /// Set if the gateway itself issued this session's credential: it is a device token.
    pub issued: Option<IssuedToken>,
    /// When the gateway last let this session's device in.
    pub device_accepted_at: Option<Moment>,
    /// Processes of the gateway, this session's included, that were lost with their sessions in the
    /// last ten minutes, one after the other.
    pub processes_lost: u32,
    /// Set if the gateway was recently going down, or lost all its sessions.
    pub going_down: Option<GoingDown>,
    /// Processes of the gateway that were seen recently, oldest first: by boot id, or by uptime if
    /// the gateway has no boot ids (before 2026.8).
    pub boots: Vec<Boot>,
    /// Whether a process answered again after another one did: two gateways behind one address.
    pub boots_alternate: bool,
    /// The release that the gateway showed in the latest other session that it let in.
    pub release: Option<GatewayRelease>,
    /// Number of refusals for a wrong token at this gateway in the last five minutes.
    pub mismatches: u32,
    /// Number of upgrade attempts of this client address in the last minute, this one counted.
    pub attempts: u32,
    /// Set if the client cancelled this attempt before it was answered.
    pub cancels: Option<Cancels>,
    /// Other traffic of this address; only for a connection without a request.
    pub visits: Option<Box<VisitFacts>>,
}

/// See [`ContextFacts::cancels`]: at the same gateway in the last five minutes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Cancels {
    /// Number of attempts of this client address that it cancelled, this one counted.
    pub count: u32,
    /// How long the client had waited each time.
    pub waited_ms: Span,
    /// Number of attempts of this client address that the gateway answered, with any status, and of
    /// its open tunnels.
    pub answered: u32,
    /// Number of attempts of other clients that the gateway answered.
    pub others: u32,
    /// How long other clients had waited for the answer.
    pub others_ms: Option<Span>,
}

/// The shortest and the longest time, in milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[expect(missing_docs, reason = "the names say it")]
pub struct Span {
    pub min: u32,
    pub max: u32,
}

impl Span {
    /// Extends the span to include one more time.
    pub fn add(&mut self, ms: u32) {
        self.min = self.min.min(ms);
        self.max = self.max.max(ms);
    }
}

/// See [`ContextFacts::cadence`].
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Cadence {
    /// The measure in which the sessions are alike.
    pub measure: Measure,
    /// Which leg ended first.
    pub leg: Leg,
    /// The median of the cases, in milliseconds.
    pub period_ms: u64,
    /// Number of cases, this one counted; those within a second of each other count as one.
    pub cases: u32,
    /// The age, in milliseconds, if `measure` is `silence` and nearly as many sessions are alike in age: a
    /// limit on a connection's lifetime would look the same as an idle timer.
    #[serde(default)]
    pub same_age_ms: Option<u64>,
    /// The well-known default that is within 3 % of the period, in seconds.
    pub known_s: Option<u32>,
    /// Number of ends of the same leg that were compared, this one counted.
    #[serde(default)]
    pub compared: u32,
    /// By chance the times would be this much alike in one case of this many, over all periods that
    /// were tried: at least a million, or at least a hundred if only `waves` shows it.
    #[serde(default)]
    pub one_in: Option<u64>,
    /// Number of client addresses among the cases.
    #[serde(default)]
    pub clients: u32,
    /// Times, this one counted, at which all sessions that were lost in one second had been silent
    /// for this long, while the gateway's process went on; 0 or at least 2.
    #[serde(default)]
    pub waves: u32,
}

/// See [`Cadence::measure`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Measure {
    /// Time without a byte in either direction before the end.
    Silence,
    /// Age of the tunnel at the end.
    Age,
}

/// See [`ContextFacts::other_credentials`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct OtherCredential {
    /// Fingerprint of the other value.
    pub fingerprint: String,
    /// Number of sessions of this client in which it was sent.
    pub sessions: u32,
    /// The gateway accepted it at least once.
    pub accepted: bool,
    /// When it was last sent.
    pub last_at: Moment,
}

/// How a credential fared at this gateway in other sessions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CredentialUse {
    /// Fingerprint of the value.
    pub fingerprint: String,
    /// Number of client addresses that were let in with it.
    pub clients: u32,
    /// Number of sessions that were let in with it.
    pub sessions: u32,
    /// When the last of them ended.
    pub last_at: Moment,
}

/// See [`ContextFacts::issued`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct IssuedToken {
    /// The device that it was issued to; `null` if the gateway did not name one.
    pub device: Option<PeerText>,
    /// When that session ended.
    pub at: Moment,
}

/// See [`ContextFacts::going_down`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct GoingDown {
    /// When the gateway announced it, or when the sessions were lost.
    pub at: Moment,
    /// Whether it was announced by a shutdown event or Close 1012. Otherwise sessions were lost
    /// without a Close.
    pub announced: bool,
    /// `restartExpectedMs` of the shutdown event.
    pub restart_expected_ms: Option<u64>,
    /// Number of sessions lost within a second, if it was not announced.
    #[serde(default)]
    pub lost: u32,
    /// Whether there was a shutdown event that named no time: the gateway stops for good.
    #[serde(default)]
    pub stops: bool,
}

/// See [`ContextFacts::boots`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Boot {
    /// `server.bootId` of `hello-ok`; empty if the gateway has none.
    pub id: PeerText,
    /// When the process began, by its uptime; only of a gateway without boot ids.
    #[serde(default)]
    pub began_at: Option<Moment>,
    /// `server.version` of `hello-ok`.
    #[serde(default)]
    pub version: Option<PeerText>,
    /// Number of sessions that it accepted.
    pub sessions: u32,
    /// When it was first seen.
    pub first_at: Moment,
    /// When it was last seen.
    pub last_at: Moment,
}

/// Maximum difference, in milliseconds, between the times at which one process began, computed from
/// its uptime in different sessions: `hello-ok` takes a while to arrive. No gateway starts twice
/// within that time.
pub const SAME_PROCESS_MS: i64 = 3000;

impl Boot {
    /// Whether this is the process with this boot id or, without one, the one that began at this
    /// time.
    #[must_use]
    pub fn is(&self, id: Option<&PeerText>, began_at: Option<Moment>) -> bool {
        match (id, self.began_at, began_at) {
            (Some(id), ..) => self.id == *id,
            (None, Some(its), Some(began)) => its.millis_since(began).abs() <= SAME_PROCESS_MS,
            (None, ..) => false,
        }
    }
}

/// See [`ContextFacts::release`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct GatewayRelease {
    /// `server.version` of `hello-ok`.
    pub version: Option<PeerText>,
    /// `protocol`.
    pub protocol: Option<u64>,
    /// `policy.maxPayload`.
    pub max_payload: Option<u64>,
    /// Whether it had a boot id.
    pub has_boot_id: bool,
    /// When it let that session in.
    pub at: Option<Moment>,
}
