//! The output of `--status`, as JSON and as a page.

use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::guard::{Change, Pause, SharedProgress, State};
use super::rules::TABLE;
use crate::admin::open::Sessions;
use crate::config::duration_text;
use crate::session::moment::{Moment, millis};
use crate::sessions;
use crate::terminal::text::fit;

/// The schema of [`Status`].
const SCHEMA: &str = "wstap.attach/1";

/// An attached tap, as it is now.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Status {
    pub(super) schema: String,
    pub(super) version: String,
    pub(super) pid: u32,
    /// The gateway's port.
    pub(super) port: u16,
    /// The tap's own port.
    pub(super) tap_port: u16,
    /// The network namespace, as `/proc/PID/ns/net` shows it.
    pub(super) namespace: String,
    #[serde(flatten)]
    pub(super) state: State,
    pub(super) started_at: Moment,
    /// When the redirect ends, by the wall clock at the start.
    pub(super) ends_at: Moment,
    /// Milliseconds until then, by the monotonic clock.
    pub(super) ends_in_ms: f64,
    pub(super) grace_ms: f64,
    /// Milliseconds since the last passed self-check.
    pub(super) checked_ms_ago: Option<f64>,
    pub(super) failed_checks: u64,
    /// Our table.
    pub(super) table: String,
    /// The last changes of other tables since the start.
    pub(super) ruleset_changes: Vec<Change>,
    /// How the tap treats the gateway's TLS; `null` if it speaks none or has not answered yet.
    #[serde(default)]
    pub(super) tls: Option<TlsWay>,
    pub(super) records: Option<String>,
    /// Ended sessions, including those merged into joined records.
    pub(super) ended_count: u64,
    pub(super) sessions: Sessions,
}

/// How the tap treats the TLS between clients and gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum TlsWay {
    /// It passes unread.
    Unread,
    /// The tap terminates it, with the gateway's certificate and key.
    Terminated,
}

impl TlsWay {
    /// For people.
    pub(super) fn words(self) -> &'static str {
        match self {
            Self::Unread => {
                "the gateway speaks TLS: connections pass unread, and records describe their transport only \
                 (to read them: --cert FILE --key FILE)"
            }
            Self::Terminated => {
                "TLS is terminated with the gateway's certificate, and opened again to the gateway"
            }
        }
    }
}

/// Facts that do not change after the start.
#[derive(Clone, Debug)]
pub(super) struct Fixed {
    pub(super) port: u16,
    pub(super) tap_port: u16,
    pub(super) namespace: String,
    pub(super) started: Instant,
    pub(super) started_at: Moment,
    pub(super) time: Duration,
    pub(super) grace: Duration,
    /// Set when the gateway speaks TLS that passes unread.
    pub(super) unread: Arc<AtomicBool>,
    /// The gateway's certificate and key were given.
    pub(super) is_terminated: bool,
    pub(super) records: Option<String>,
    /// Maximum number of simultaneously tapped sessions, if less than `--max-sessions`.
    pub(super) fewer_sessions: Option<usize>,
}

impl Fixed {
    pub(super) fn ends_at(&self) -> Moment {
        let at = self.started_at.0.checked_add(self.time);
        Moment(at.unwrap_or(self.started_at.0))
    }

    pub(super) fn tls(&self) -> Option<TlsWay> {
        if self.is_terminated {
            Some(TlsWay::Terminated)
        } else {
            let is_unread = self.unread.load(Ordering::Relaxed);
            is_unread.then_some(TlsWay::Unread)
        }
    }

    /// The status now.
    pub(super) fn status(
        &self,
        progress: &SharedProgress,
        sessions: Sessions,
        ended: u64,
    ) -> Status {
        let now = Instant::now();
        let state = progress.state();
        let progress = progress.lock();
        let checked = progress.renewed.map(|at| now.saturating_duration_since(at));
        Status {
            schema: SCHEMA.to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            port: self.port,
            tap_port: self.tap_port,
            namespace: self.namespace.clone(),
            state,
            started_at: self.started_at,
            ends_at: self.ends_at(),
            ends_in_ms: millis((self.started + self.time).saturating_duration_since(now)),
            grace_ms: millis(self.grace),
            checked_ms_ago: checked.map(millis),
            failed_checks: progress.failures,
            table: TABLE.to_owned(),
            ruleset_changes: progress.changes.clone(),
            tls: self.tls(),
            records: self.records.clone(),
            ended_count: ended,
            sessions,
        }
    }
}

impl Status {
    /// For people.
    pub(super) fn page(&self, width: usize) -> String {
        let mut text = String::new();
        let left = seconds(self.ends_in_ms);
        let line = match &self.state {
            State::Starting => format!("starting to attach to port {}", self.port),
            State::Attached => format!("attached to port {}, for {left} more", self.port),
            State::Paused(Pause::MaxSessions) => format!(
                "paused: new connections to port {} go straight to the gateway, because --max-sessions are already open",
                self.port
            ),
            State::Paused(Pause::Exhausted) => format!(
                "paused: new connections to port {} go straight to the gateway, because the tap has no descriptor or \
                 memory for more",
                self.port
            ),
            State::Paused(Pause::Certificate) => format!(
                "paused: new connections to port {} go straight to the gateway, because it shows another \
                 certificate than when the tap attached (attach again)",
                self.port
            ),
            State::Paused(Pause::Expired) => format!(
                "paused: new connections to port {} go straight to the gateway, because the redirect was not \
                 renewed in time",
                self.port
            ),
            State::Paused(Pause::SelfCheck(why)) => format!(
                "paused: new connections to port {} go straight to the gateway, because the tap fails its self-check: {why}",
                self.port
            ),
            State::Leaving => format!(
                "detached from port {}; tapped sessions still open are cut {} after that",
                self.port,
                seconds(self.grace_ms)
            ),
        };
        let _ = writeln!(text, "{line}");
        let _ = writeln!(
            text,
            "  pid {}, {}, since {:.0}, until {:.0}",
            self.pid, self.namespace, self.started_at.0, self.ends_at.0
        );
        if let Some(ago) = self.checked_ms_ago {
            let _ = writeln!(
                text,
                "  last self-check passed {} ago, {} failed",
                seconds(ago),
                self.failed_checks
            );
        }
        if let Some(tls) = self.tls {
            let _ = writeln!(text, "  {}", tls.words());
        }
        for change in &self.ruleset_changes {
            let list = |what: &str, names: &[String]| match names {
                [] => String::new(),
                names => format!("; {what}: {}", names.join(", ")),
            };
            let _ = writeln!(
                text,
                "  another process changed the packet filter at {:.0}{}{}. The redirect is still in place.",
                change.at.0,
                list("removed", &change.removed),
                list("added", &change.added)
            );
        }
        let records = self
            .records
            .as_deref()
            .unwrap_or("not kept (--records FILE)");
        let _ = writeln!(
            text,
            "  records: {records}; {} sessions have ended",
            self.ended_count
        );
        let mut text = fit(&text, width);
        text.push('\n');
        text.push_str(&sessions::page(&self.sessions, width));
        text
    }
}

/// Below 2 s: one decimal. From 2 s: whole seconds, such as `1m 30s`.
fn seconds(ms: f64) -> String {
    let duration = Duration::from_secs_f64((ms / 1000.0).max(0.0));
    if duration < Duration::from_secs(2) {
        return format!("{:.1} s", duration.as_secs_f64());
    }
    duration_text(Duration::from_secs(duration.as_secs()))
}

/// The time now, as the status shows it.
pub(super) fn now() -> Moment {
    Moment(Timestamp::now())
}
