//! `/sessions`: the sessions that are open, and the last ones that ended.

use std::time::Instant;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::session::SessionRecord;
use crate::session::moment::Moment;
use crate::session::party::Phase;
use crate::session::record::{Kind, Repeats, Verdict};
use crate::session::text::PeerText;
use crate::sink::RecordPipeline;
use crate::sink::live::{Flow, Snapshot};

/// Maximum number of open sessions that are listed, the oldest first: sessions that hang are among
/// them.
pub(crate) const LISTED: usize = 1000;

/// The answer of `/sessions`.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Sessions {
    /// When the list was made.
    pub at: Moment,
    /// Number of open sessions, including those that are not listed.
    pub open_count: usize,
    /// The oldest open sessions first, at most [`LISTED`].
    pub open: Vec<Open>,
    /// Records that were written recently, the last one first.
    pub recent: Vec<Ended>,
}

/// An open session.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Open {
    /// As in its record.
    pub id: Uuid,
    /// `connection` until the session's request is admitted.
    pub kind: Kind,
    /// When it began.
    pub opened_at: Moment,
    /// How far it got.
    pub phase: Phase,
    /// Milliseconds since it began.
    pub age_ms: f64,
    /// Milliseconds since the last byte of either leg, or since it began.
    pub idle_ms: f64,
    /// `address:port`.
    pub client: String,
    /// The `Host` header.
    pub host: Option<PeerText>,
    /// Path and query, masked.
    pub path: Option<PeerText>,
    /// Traffic from the client.
    pub to_gateway: DirectionTraffic,
    /// Traffic from the gateway.
    pub to_client: DirectionTraffic,
}

/// One direction of an open session.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct DirectionTraffic {
    /// Finished messages.
    pub messages: u64,
    /// Bytes after the upgrade; all bytes for a connection that passes unread.
    pub bytes: u64,
    /// Bytes that wait because the receiver does not read.
    pub waiting: u64,
    /// Milliseconds since the last byte; `null` if none came.
    pub last_ms_ago: Option<f64>,
}

/// A session that ended.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Ended {
    /// As in its record.
    pub id: Uuid,
    /// What kind of session it was.
    pub kind: Kind,
    /// When it began.
    pub opened_at: Moment,
    /// When it had ended.
    pub closed_at: Moment,
    /// Duration by the monotonic clock.
    pub duration_ms: f64,
    /// How far it got.
    pub phase: Phase,
    /// `address:port`.
    pub client: String,
    /// The `Host` header.
    pub host: Option<PeerText>,
    /// Path and query, masked.
    pub path: Option<PeerText>,
    /// Number of sessions that this record covers; `null` for one.
    #[serde(default)]
    pub repeats: Option<Repeats>,
    /// The verdict of its record.
    pub verdict: Option<Verdict>,
}

/// Lists the sessions of a tap.
#[must_use]
pub(crate) fn look(pipeline: &RecordPipeline, at: Moment) -> Sessions {
    let (open, open_count) = pipeline.live().look(LISTED, Instant::now());
    let recent = pipeline.recent();
    Sessions {
        at,
        open_count,
        open: open.into_iter().map(Open::from).collect(),
        recent: recent.iter().map(|record| Ended::of(record)).collect(),
    }
}

impl From<Snapshot> for Open {
    fn from(seen: Snapshot) -> Self {
        let way = |flow: Flow, last_ms_ago| DirectionTraffic {
            messages: flow.messages,
            bytes: flow.bytes,
            waiting: flow.waiting,
            last_ms_ago,
        };
        let quiet = [seen.client_quiet_ms, seen.gateway_quiet_ms];
        let idle = quiet.into_iter().flatten().fold(seen.age_ms, f64::min);
        Self {
            id: seen.id,
            kind: seen.kind,
            opened_at: seen.opened_at,
            phase: seen.phase,
            age_ms: seen.age_ms,
            idle_ms: idle,
            client: seen.client,
            host: seen.host,
            path: seen.path,
            to_gateway: way(seen.traffic.to_gateway, seen.client_quiet_ms),
            to_client: way(seen.traffic.to_client, seen.gateway_quiet_ms),
        }
    }
}

impl Ended {
    fn of(record: &SessionRecord) -> Self {
        let request = record.request.as_ref();
        Self {
            id: record.id,
            kind: record.kind,
            opened_at: record.opened_at,
            closed_at: record.closed_at,
            duration_ms: record.duration_ms,
            phase: record.phase,
            client: record.client.addr.clone(),
            host: request.and_then(|it| it.host.clone()),
            path: request.map(|it| it.path.clone()),
            repeats: record.repeats,
            verdict: record.verdict.clone(),
        }
    }
}
