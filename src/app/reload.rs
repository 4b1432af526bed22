//! Another configuration for a tap that runs: read, checked as a whole, and then put in place for
//! the sessions that begin from then on. Whatever is wrong with it, nothing changes.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::files::Files;
use super::slot::{Slot, Told};
use super::{StartError, locality};
use crate::admin::Reloads;
use crate::config::{self, Config, ConfigErrors, Overrides, ReloadOn};
use crate::proxy::Current;
use crate::transport::notify;

/// How often the files are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Where a configuration comes from, to read it again.
#[derive(Debug, Clone)]
pub struct Source {
    /// `None`: flags and environment alone.
    pub file: Option<PathBuf>,
    /// What wins over the file.
    pub overrides: Overrides,
}

impl Source {
    /// Reads it, and everything that it names.
    pub fn load(&self) -> Result<Config, ConfigErrors> {
        config::load(self.file.as_deref(), &self.overrides)
    }
}

/// Why a reload was refused.
#[derive(Debug, thiserror::Error)]
enum ReloadError {
    #[error(transparent)]
    Config(#[from] ConfigErrors),
    #[error(transparent)]
    Start(#[from] StartError),
    #[error(
        "listeners: expected {}, found {}: who is local for the gateway depends on it, so start \
         wstap again",
        words(*running),
        words(!*running)
    )]
    Reach {
        /// Only clients of this host are served by what runs.
        running: bool,
    },
    #[error("reading the configuration panicked")]
    Panic,
}

/// Whom the listeners serve.
fn words(this_host_only: bool) -> &'static str {
    if this_host_only {
        "clients of this host only, as at the start (every `listen` a loopback address or a unix \
         socket, and no `proxy_protocol`)"
    } else {
        "clients of other hosts too (a `listen` that others can connect to, or a `proxy_protocol`, \
         by which a proxy speaks for others)"
    }
}

/// What reloads came to, for `/metrics`.
#[derive(Debug, Default)]
pub(super) struct Outcomes(Mutex<Reloads>);

impl Outcomes {
    pub(super) fn so_far(&self) -> Reloads {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn count(&self, applied: bool) {
        let mut told = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        told.last_failed = !applied;
        if applied {
            told.applied += 1;
            told.applied_at = Some(Timestamp::now());
        } else {
            told.refused += 1;
        }
    }
}

/// Replaces the configuration of a running tap.
#[derive(Debug)]
pub(super) struct Reloader {
    pub(super) source: Source,
    pub(super) current: Arc<Current>,
    pub(super) slots: Vec<Slot>,
    pub(super) outcomes: Arc<Outcomes>,
}

impl Reloader {
    /// Reloads whenever it is asked to and whenever a file has changed, until `stop`.
    pub(super) async fn follow(self, mut asked: mpsc::Receiver<()>, stop: CancellationToken) {
        let following = async {
            let mut files = Files::new(self.paths());
            loop {
                let by_signal = tokio::select! {
                    biased;
                    Some(()) = asked.recv() => true,
                    () = tokio::time::sleep(LOOK_EVERY) => false,
                };
                let changed;
                (files, changed) = look(files).await;
                let counts = self.current.tap().config().reload_on() == ReloadOn::Change;
                if by_signal || (changed && counts) {
                    // Before they are read: what is written meanwhile is a change.
                    files = Files::new(self.paths());
                    self.reload().await;
                    files = files.with_paths(self.paths());
                }
            }
        };
        tokio::select! {
            biased;
            () = stop.cancelled() => {}
            () = following => {}
        }
    }

    fn paths(&self) -> Vec<PathBuf> {
        let tap = self.current.tap();
        let own = self.source.file.iter();
        own.chain(tap.config().files()).cloned().collect()
    }

    async fn reload(&self) {
        notify::reloading();
        let applied = self.try_to().await;
        self.outcomes.count(applied.is_ok());
        notify::ready(if applied.is_ok() {
            "serving; the last reload was applied"
        } else {
            "serving; the last reload was refused, see the log"
        });
        match applied {
            Ok(told) if told.is_empty() => tracing::info!("reload: nothing is different"),
            Ok(told) => {
                for line in &told {
                    line.tell();
                }
                tracing::info!("reload: done; sessions that begin from now on are under it");
            }
            Err(error) => {
                for line in error.to_string().lines() {
                    tracing::error!("reload: {line}");
                }
                tracing::error!("reload: refused; everything stays as it is");
            }
        }
    }

    /// What was different and is in force now.
    async fn try_to(&self) -> Result<Vec<Told>, ReloadError> {
        let source = self.source.clone();
        // Files can stand on a disk that hangs.
        let loading = tokio::task::spawn_blocking(move || source.load());
        let new = loading.await.map_err(|_| ReloadError::Panic)??;
        let running = self.current.tap();
        let old = running.config();
        if old.serves_this_host_only() != new.serves_this_host_only() {
            let running = old.serves_this_host_only();
            return Err(ReloadError::Reach { running });
        }
        let mut told: Vec<Told> = old
            .differences(&new, &self.source.overrides)
            .iter()
            .map(|difference| Told::Info(difference.to_string()))
            .collect();
        let news = new
            .warnings()
            .iter()
            .filter(|it| !old.warnings().contains(it));
        told.extend(news.map(|warning| Told::Warn(warning.to_string())));
        let new = new.keeping_what_runs(old);
        locality(&new).await?;
        let mut changes = Vec::new();
        for (slot, wanted) in self.slots.iter().zip(new.listeners()) {
            changes.push(slot.prepare(&new, &wanted.tls)?);
        }
        let renewed = running.renewed(new).map_err(StartError::from)?;
        // From here on nothing can fail.
        for (slot, change) in self.slots.iter().zip(changes) {
            told.extend(slot.replace(change));
        }
        self.current.replace(&Arc::new(renewed));
        Ok(told)
    }
}

/// Looks at files, which may take long.
async fn look(mut files: Files) -> (Files, bool) {
    let looking = tokio::task::spawn_blocking(move || {
        let changed = files.have_changed();
        (files, changed)
    });
    looking.await.unwrap_or_else(|error| {
        tracing::error!(%error, "files are not looked at any more");
        (Files::new(Vec::new()), false)
    })
}
