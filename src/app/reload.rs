//! Reloads the configuration of a running tap. It is read, checked as a whole, and then applied to
//! the sessions that begin from then on. If anything is wrong with it, nothing changes.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::mpsc;
use tokio::time::{Instant, interval_at};
use tokio_util::sync::CancellationToken;

use super::files::Files;
use super::locality::locality;
use super::own_gateway::{self, OwnSocket};
use super::slot::{Change, ReloadNote, Slot};
use super::start_error::StartError;
use crate::admin::Reloads;
use crate::config::{self, Config, ConfigErrors, Named, Overrides, ReloadOn};
use crate::proxy::Current;
use crate::transport::{notify, open_files};

/// Interval at which the files are checked for changes.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Interval at which development certificates are checked for renewal.
const RENEW_EVERY: Duration = Duration::from_hours(1);

/// Where a configuration comes from, to read it again.
#[derive(Debug, Clone)]
pub struct Source {
    /// `None`: flags and environment alone.
    pub file: Option<PathBuf>,
    /// Settings that take precedence over the file.
    pub overrides: Overrides,
}

impl Source {
    /// Reads the configuration, and every file that it names.
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
        /// The running configuration serves only clients of this host.
        running: bool,
    },
    #[error("reading the configuration panicked")]
    Panic,
}

/// Which clients the listeners serve, in words.
fn words(this_host_only: bool) -> &'static str {
    if this_host_only {
        "clients of this host only, as at the start (every `listen` a loopback address or a unix \
         socket, and no `proxy_protocol`)"
    } else {
        "clients of other hosts too (a `listen` that others can connect to, or a `proxy_protocol`, \
         by which a proxy speaks for others)"
    }
}

/// Outcomes of reloads, for `/metrics`.
#[derive(Debug, Default)]
pub(super) struct Outcomes(Mutex<Reloads>);

impl Outcomes {
    pub(super) fn so_far(&self) -> Reloads {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn count(&self, applied: bool) {
        let mut outcomes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        outcomes.last_failed = !applied;
        if applied {
            outcomes.applied += 1;
            outcomes.applied_at = Some(Timestamp::now());
        } else {
            outcomes.refused += 1;
        }
    }
}

/// Replaces the configuration of a running tap.
#[derive(Debug)]
pub(super) struct Reloader {
    pub(super) source: Source,
    pub(super) current: Arc<Current>,
    pub(super) slots: Vec<Slot>,
    /// The sockets that the app listens on; a reload never changes them.
    pub(super) own: Vec<OwnSocket>,
    pub(super) outcomes: Arc<Outcomes>,
    /// The time of day.
    pub(super) clock: fn() -> Timestamp,
}

impl Reloader {
    /// Reloads on request and whenever a file has changed, and renews development certificates that
    /// expire soon, until `stop`.
    pub(super) async fn follow(self, mut asked: mpsc::Receiver<()>, stop: CancellationToken) {
        let following = async {
            let mut files = Files::new(self.current.tap().config().files());
            let mut renewals = interval_at(Instant::now() + RENEW_EVERY, RENEW_EVERY);
            let mut unable = None;
            loop {
                let by_signal = tokio::select! {
                    biased;
                    Some(()) = asked.recv() => true,
                    _ = renewals.tick() => {
                        self.renew(&mut unable).await;
                        continue;
                    }
                    () = tokio::time::sleep(LOOK_EVERY) => false,
                };
                if by_signal {
                    // `logrotate` and people who move the records file send SIGHUP.
                    self.current.tap().pipeline().look();
                }
                let changed;
                (files, changed) = look(files).await;
                let counts = self.current.tap().config().reload_on() == ReloadOn::Change;
                if by_signal || (changed && counts) {
                    files = Files::new(&self.reload().await);
                }
            }
        };
        tokio::select! {
            biased;
            () = stop.cancelled() => {}
            () = following => {}
        }
    }

    /// Returns the files to watch from now on: those that were read. That includes the files of a
    /// refused configuration, because one of them has to be corrected.
    async fn reload(&self) -> Vec<Named> {
        notify::reloading();
        let mut files = self.current.tap().config().files().to_vec();
        let applied = self.try_to(&mut files).await;
        self.outcomes.count(applied.is_ok());
        notify::ready(if applied.is_ok() {
            "serving; the last reload was applied"
        } else {
            "serving; the last reload was refused, see the log"
        });
        match applied {
            Ok(notes) if notes.is_empty() => tracing::info!("reload: nothing is different"),
            Ok(notes) => {
                for line in &notes {
                    line.log("reload");
                }
                tracing::info!("reload: done; new sessions use it");
            }
            Err(error) => {
                for line in error.to_string().lines() {
                    tracing::error!("reload: {line}");
                }
                tracing::error!("reload: refused; everything stays as it is");
            }
        }
        files
    }

    /// Renews development certificates: a tap that runs for a year must not show an expired one. An
    /// error that prevents the renewal is logged once.
    async fn renew(&self, unable: &mut Option<String>) {
        let (tap, slots, now) = (self.current.tap(), self.slots.clone(), (self.clock)());
        let renewing = tokio::task::spawn_blocking(move || {
            let config = tap.config();
            let each = slots.iter().zip(config.listeners());
            each.map(|(slot, wanted)| slot.renewal(config, &wanted.tls, now))
                .collect::<Result<Vec<_>, _>>()
        });
        let renewed = renewing.await.map_err(|_| ReloadError::Panic);
        match renewed.and_then(|made| made.map_err(ReloadError::from)) {
            Ok(changes) => {
                *unable = None;
                for (slot, change) in self.slots.iter().zip(changes) {
                    let note = change.and_then(|change| slot.replace(change));
                    if let Some(note) = note {
                        note.log("renewal");
                    }
                }
            }
            Err(error) => {
                let text = error.to_string();
                if unable.as_ref() != Some(&text) {
                    tracing::error!("renewal: {text}");
                    *unable = Some(text);
                }
            }
        }
    }

    /// Applies the configuration; returns the differences that are in force now.
    async fn try_to(&self, files: &mut Vec<Named>) -> Result<Vec<ReloadNote>, ReloadError> {
        let source = self.source.clone();
        // Files can be on a disk that hangs.
        let loading = tokio::task::spawn_blocking(move || source.load());
        let loaded = loading.await.map_err(|_| ReloadError::Panic)?;
        let read = loaded.as_ref();
        *files = read
            .map_or_else(|errors| errors.files(), Config::files)
            .to_vec();
        let new = loaded?;
        let running = self.current.tap();
        let old = running.config();
        if old.serves_this_host_only() != new.serves_this_host_only() {
            let running = old.serves_this_host_only();
            return Err(ReloadError::Reach { running });
        }
        let mut notes: Vec<ReloadNote> = old
            .differences(&new, &self.source.overrides)
            .iter()
            .map(|difference| ReloadNote::Info(difference.to_string()))
            .collect();
        let news = new
            .warnings()
            .iter()
            .filter(|it| !old.warnings().contains(it));
        notes.extend(news.map(|warning| ReloadNote::Warn(warning.to_string())));
        let connections = new.limits().connections;
        if connections != old.limits().connections {
            let shortage = open_files::shortage(connections);
            notes.extend(
                shortage.map(|text| ReloadNote::Warn(format!("limits.connections: {text}"))),
            );
        }
        let new = new.keeping_what_runs(old);
        locality(&new).await?;
        own_gateway::refuse(&new, &self.own).await?;
        let (slots, now) = (self.slots.clone(), (self.clock)());
        let preparing = tokio::task::spawn_blocking(move || {
            let each = slots.iter().zip(new.listeners());
            let changes: Result<Vec<Change>, StartError> = each
                .map(|(slot, wanted)| slot.prepare(&new, &wanted.tls, now))
                .collect();
            changes.map(|changes| (new, changes))
        });
        let (new, changes) = preparing.await.map_err(|_| ReloadError::Panic)??;
        let renewed = running.renewed(new).map_err(StartError::from)?;
        // From here on nothing can fail.
        for (slot, change) in self.slots.iter().zip(changes) {
            notes.extend(slot.replace(change));
        }
        self.current.replace(&Arc::new(renewed));
        Ok(notes)
    }
}

/// Checks the files on a blocking thread, because a disk can hang.
async fn look(mut files: Files) -> (Files, bool) {
    let looking = tokio::task::spawn_blocking(move || {
        let changed = files.check_for_changes();
        (files, changed)
    });
    looking.await.unwrap_or_else(|error| {
        tracing::error!(%error, "files are no longer watched");
        (Files::new(&[]), false)
    })
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;
    use rustls_pki_types::pem::PemObject;

    use super::*;
    use crate::app::Bound;
    use crate::proxy::tap::background;

    /// A time in the last month of a certificate that is created now.
    fn later() -> Timestamp {
        Timestamp::now() + SignedDuration::from_hours(380 * 24)
    }

    async fn bound(state: &std::path::Path) -> Bound {
        let text = format!(
            "gateway: {{ url: 'http://127.0.0.1:1' }}\nlisteners: [{{ listen: '127.0.0.1:0', tls: \
             {{ self_signed: {{ names: [wstap] }} }} }}]\nstate_dir: '{}'\n",
            state.display()
        );
        let none = Overrides::default();
        let config = config::parse(&text, std::path::Path::new("test"), &none).unwrap();
        Bound::bind(config, Vec::new()).await.unwrap()
    }

    fn reloader(bound: &Bound, clock: fn() -> Timestamp) -> Reloader {
        Reloader {
            source: Source {
                file: None,
                overrides: Overrides::default(),
            },
            current: Arc::clone(&bound.current),
            slots: bound.slots.clone(),
            own: bound.own.clone(),
            outcomes: Arc::default(),
            clock,
        }
    }

    /// The SHA-256 of the first listener's certificate.
    fn shown(bound: &Bound) -> String {
        let leaves = bound.listeners.first().unwrap().leaves.now();
        leaves.first().unwrap().sha256.clone()
    }

    #[tokio::test(start_paused = true)]
    async fn the_development_certificate_is_renewed_while_the_tap_runs() {
        let state = tempfile::tempdir().unwrap();
        let bound = bound(state.path()).await;
        let (before, tls) = (shown(&bound), bound.slots[0].tls.load_full());
        let (_ask, asked) = mpsc::channel(1);
        let stop = CancellationToken::new();
        let following = tokio::spawn(reloader(&bound, later).follow(asked, stop.clone()));
        // Time is paused: it advances as soon as all tasks are idle.
        let began = Instant::now();
        while shown(&bound) == before {
            assert!(began.elapsed() < RENEW_EVERY * 3, "no renewal");
            tokio::time::sleep(LOOK_EVERY).await;
        }
        stop.cancel();
        following.await.unwrap();
        let now_served = bound.slots[0].tls.load_full().unwrap();
        assert!(!Arc::ptr_eq(&tls.unwrap(), &now_served), "it is served");
        assert_eq!(now_served.leaves()[0].sha256, shown(&bound));
        // Clients still trust the same CA, and the file holds the certificate that is shown.
        let files = bound.slots[0].certificate().unwrap().development.clone();
        let chain = rustls_pki_types::CertificateDer::pem_file_iter(&files.unwrap().cert).unwrap();
        assert_eq!(chain.count(), 2);
    }

    #[tokio::test]
    async fn a_certificate_with_time_left_is_let_alone_and_a_failure_is_told_once() {
        let state = tempfile::tempdir().unwrap();
        let bound = bound(state.path()).await;
        let before = shown(&bound);
        let mut unable = None;
        reloader(&bound, Timestamp::now).renew(&mut unable).await;
        assert_eq!((shown(&bound), &unable), (before.clone(), &None));
        std::fs::remove_file(state.path().join("dev-ca-key.pem")).unwrap();
        reloader(&bound, later).renew(&mut unable).await;
        assert_eq!(shown(&bound), before, "the old one is shown on");
        let text = unable.unwrap();
        assert!(text.contains("key is missing"), "{text}");
    }

    #[tokio::test]
    async fn nothing_keeps_an_old_configuration_alive() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("wstap.yaml");
        // Each one changes the connections to the gateway, the check of it and the list of origins.
        let write = |round: usize| {
            let text = format!(
                "gateway: {{ url: 'http://127.0.0.1:1', forwarded: overwrite }}\nlisteners: [{{ \
                 listen: '127.0.0.1:0' }}]\ntimeouts: {{ connect: {}ms }}\norigins: {{ allowed: \
                 ['https://{round}.example'] }}\n",
                round + 100
            );
            std::fs::write(&file, text).unwrap();
        };
        write(0);
        let source = Source {
            file: Some(file.clone()),
            overrides: Overrides::default(),
        };
        let bound = Bound::bind(source.load().unwrap(), Vec::new())
            .await
            .unwrap();
        background::begin(&bound.tap());
        let tasks = bound.tap().tasks_running();
        let mut reloader = reloader(&bound, Timestamp::now);
        reloader.source = source;
        let mut old = Vec::new();
        for round in 1..=1000 {
            old.push(Arc::downgrade(&bound.tap()));
            write(round);
            reloader.reload().await;
        }
        assert_eq!(reloader.outcomes.so_far().applied, 1000);
        while bound.tap().tasks_running() > tasks {
            tokio::task::yield_now().await;
        }
        let alive = old.iter().filter(|tap| tap.strong_count() > 0).count();
        assert_eq!(alive, 0);
    }
}
