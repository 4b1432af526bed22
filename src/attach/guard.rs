//! Keeps the redirect up while the tap works, and no longer.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tokio::sync::Notify;
use tokio::time::MissedTickBehavior;

use super::nft::{Holder, NftError};
use super::routes::Routes;
use super::rules::Plan;
use super::self_check::{CheckError, SelfCheck};
use crate::proxy::Tap;
use crate::session::moment::Moment;

/// How often the redirect is renewed.
const EVERY: Duration = Duration::from_secs(1);

/// How long the redirect lasts without a renewal: three missed ones. With one more renewal in progress,
/// this is still below the promised five seconds.
pub(super) const LASTS: Duration = Duration::from_secs(3);

/// Maximum number of ruleset changes that are kept.
const CHANGES: usize = 8;

/// Whether new connections are redirected.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "state", content = "why")]
pub(super) enum State {
    /// Not redirected yet.
    Starting,
    /// Redirected.
    Attached,
    /// Not redirected at the moment.
    Paused(Pause),
    /// No longer redirected; sessions may still be open.
    Leaving,
}

/// Why new connections go straight to the gateway.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Pause {
    /// The tap did not pass its check; the error.
    SelfCheck(String),
    /// `--max-sessions` are open.
    MaxSessions,
    /// There is no descriptor or memory for another connection.
    Exhausted,
    /// The redirect was not renewed in time, and has expired.
    Expired,
    /// The gateway shows another certificate than at the start, which was pinned.
    Certificate,
}

/// Tables that somebody else removed or added.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Change {
    /// When it was noticed.
    pub(super) at: Moment,
    /// Tables that are gone.
    pub(super) removed: Vec<String>,
    /// Tables that are new.
    pub(super) added: Vec<String>,
}

/// State of the redirect, for the status.
#[derive(Debug)]
pub(super) struct Progress {
    pub(super) state: State,
    /// When the last renewal began, after a passed check.
    pub(super) renewed: Option<Instant>,
    /// Failed checks since the beginning.
    pub(super) failures: u64,
    /// The last changes of other tables.
    pub(super) changes: Vec<Change>,
}

/// [`Progress`], shared between the guard and the control socket.
#[derive(Clone, Debug)]
pub(super) struct SharedProgress(Arc<Mutex<Progress>>);

impl Default for SharedProgress {
    fn default() -> Self {
        Self(Arc::new(Mutex::new(Progress {
            state: State::Starting,
            renewed: None,
            failures: 0,
            changes: Vec::new(),
        })))
    }
}

impl SharedProgress {
    /// The state, correct even if the task that keeps it is stuck.
    pub(super) fn state(&self) -> State {
        let progress = self.lock();
        let is_late = progress.renewed.is_some_and(|at| at.elapsed() > LASTS);
        match &progress.state {
            State::Attached if is_late => State::Paused(Pause::Expired),
            state => state.clone(),
        }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Progress> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Renews the redirect.
#[derive(Debug)]
pub(super) struct Guard {
    pub(super) holder: Holder,
    pub(super) routes: Routes,
    pub(super) plan: Plan,
    pub(super) check: SelfCheck,
    pub(super) tap: Arc<Tap>,
    pub(super) max_sessions: usize,
    /// Notified when a connection cannot be accepted.
    pub(super) exhausted: Arc<Notify>,
    pub(super) progress: SharedProgress,
    /// All tables but ours, as last seen.
    pub(super) tables: BTreeSet<String>,
}

impl Guard {
    /// Runs the first check and creates the first redirect; from then on connections are tapped.
    pub(super) async fn begin(&mut self) -> Result<(), BeginError> {
        self.check.run().await?;
        self.renew().await?;
        Ok(())
    }

    /// Renews the redirect until the table is gone.
    pub(super) async fn keep(&mut self) -> NftError {
        let mut every = tokio::time::interval(EVERY);
        // After a pause (SIGSTOP) one renewal is enough.
        every.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let checked = async {
                every.tick().await;
                self.check.run().await
            };
            let pause = tokio::select! {
                // In this order: a passed check must not renew the redirect of a tap that is full.
                biased;
                () = self.tap.reaches(self.max_sessions) => Some(Pause::MaxSessions),
                () = self.exhausted.notified() => Some(Pause::Exhausted),
                checked = checked => checked.err().map(|error| Pause::SelfCheck(error.to_string())),
            };
            let dial_health = self.tap.dialler().dial_health();
            let pause = if dial_health.has_seen_other_certificate() {
                Some(Pause::Certificate)
            } else {
                pause
            };
            let is_full = matches!(pause, Some(Pause::MaxSessions | Pause::Exhausted));
            let done = match &pause {
                // The redirect expires by itself, even if nft can no longer be reached.
                Some(Pause::SelfCheck(_) | Pause::Expired) => Ok(()),
                // Connections are accepted and tapped until this takes effect.
                Some(Pause::MaxSessions | Pause::Exhausted | Pause::Certificate) => {
                    self.holder.disarm().await
                }
                None => self.renew().await,
            };
            match done {
                Ok(()) => self.note(pause),
                Err(error @ NftError::Gone) => return error,
                Err(NftError::Run(error)) => return NftError::Run(error),
                Err(error) => tracing::warn!(%error, "failed to renew the redirect"),
            }
            if is_full {
                every.tick().await;
            }
        }
    }

    /// Ends the redirect for new connections.
    pub(super) async fn leave(&mut self) {
        {
            let mut progress = self.progress.lock();
            report_gap(&progress);
            progress.state = State::Leaving;
        }
        if let Err(error) = self.holder.disarm().await {
            tracing::warn!(%error, "failed to end the redirect; it ends by itself within 3 s");
        }
    }

    async fn renew(&mut self) -> Result<(), NftError> {
        // The kernel sets the timeout between these two times.
        let asked = Instant::now();
        let tables = self.holder.arm(&self.plan, LASTS).await?;
        let mut progress = self.progress.lock();
        report_gap(&progress);
        progress.state = State::Attached;
        progress.renewed = Some(asked);
        if tables != self.tables {
            self.routes.leave_marks_alone();
            let change = Change {
                at: Moment(Timestamp::now()),
                removed: self.tables.difference(&tables).cloned().collect(),
                added: tables.difference(&self.tables).cloned().collect(),
            };
            tracing::warn!(
                removed = change.removed.join(", "),
                added = change.added.join(", "),
                "another process changed the packet filter; the redirect is still in place"
            );
            if progress.changes.len() == CHANGES {
                progress.changes.remove(0);
            }
            progress.changes.push(change);
            self.tables = tables;
        }
        Ok(())
    }

    fn note(&self, pause: Option<Pause>) {
        let mut progress = self.progress.lock();
        let Some(pause) = pause else { return };
        if matches!(pause, Pause::SelfCheck(_)) {
            progress.failures += 1;
        }
        let state = State::Paused(pause);
        if progress.state != state {
            report_gap(&progress);
            tracing::warn!(
                ?state,
                "new connections go straight to the gateway until this is over"
            );
            progress.state = state;
        }
    }
}

/// Reports a redirect that expired before it was renewed, paused or ended. During a pause it is meant to expire.
fn report_gap(progress: &Progress) {
    let gap = progress
        .renewed
        .and_then(|at| at.elapsed().checked_sub(LASTS));
    if let (State::Attached, Some(gap)) = (&progress.state, gap) {
        tracing::warn!(
            gap_ms = gap.as_millis(),
            "the redirect was renewed late: new connections may have gone straight to the gateway meanwhile"
        );
    }
}

/// The redirect could not begin.
#[derive(Debug, thiserror::Error)]
pub(super) enum BeginError {
    #[error("the tap failed its self-check: {0}")]
    Check(#[from] CheckError),
    #[error(transparent)]
    Nft(#[from] NftError),
}
