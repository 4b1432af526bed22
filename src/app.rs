//! The bound app: sockets are open and their addresses known before anything is served.

mod binding;
mod certificate;
mod files;
mod gateway_watch;
mod locality;
mod own_gateway;
pub(crate) mod reload;
mod slot;
mod start_error;

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use rustls::KeyLog;
use tokio::sync::mpsc;

pub use self::certificate::Certificate;
pub use self::start_error::StartError;

use self::binding::bind_all;
use self::locality::locality;
use self::own_gateway::OwnSocket;
use self::reload::{Outcomes, Reloader, Source};
use self::slot::Slot;
use crate::admin::ready::ListenerFacts;
use crate::admin::{self, AdminService, Now, NowReader};
use crate::config::{Config, RecordFilter, RepeatedRecords};
use crate::proxy::connection::accept::Acceptor;
use crate::proxy::tap::background;
use crate::proxy::{Current, Tap};
use crate::session::credential::Fingerprinter;
use crate::sink::file::RotatingFile;
use crate::sink::{Filter, Queue, RecordPipeline, SETTLE_EVERY, Wanted};
use crate::transport::activation::Passed;
use crate::transport::listening::{ListenAddr, Listening};
use crate::transport::redirected::Redirected;
use crate::transport::tls::ListenerTlsState;
use crate::transport::tls::key_log::KeyLogFile;
use crate::transport::tls::leaves::{self, Leaves};

/// Maximum number of records that wait for a slow file or reader.
const QUEUE: usize = 8192;

/// A listener that is bound.
#[derive(Debug)]
pub struct BoundListener {
    /// Where it listens.
    pub place: ListenAddr,
    /// `None` for plain HTTP.
    pub certificate: Option<Arc<Certificate>>,
    /// Its current certificates, in the form of metrics and the log; empty for plain HTTP.
    pub leaves: Leaves,
    acceptor: Acceptor,
}

/// Everything is bound; nothing is served yet.
#[derive(Debug)]
pub struct Bound {
    /// The listeners, in the order of the configuration.
    pub listeners: Vec<BoundListener>,
    /// The sockets of the admin listener, if there is one.
    pub admin: Vec<admin::Socket>,
    slots: Vec<Slot>,
    own: Vec<OwnSocket>,
    current: Arc<Current>,
    outcomes: Arc<Outcomes>,
    reloads: Option<(Source, mpsc::Receiver<()>)>,
    watches_gateway: bool,
}

impl Bound {
    /// Opens every file and socket that the configuration names. `queues` are consumers of
    /// records besides the configured file.
    pub async fn bind(config: Config, queues: Vec<Queue>) -> Result<Self, StartError> {
        Self::bind_with(config, queues, Passed::default()).await
    }

    /// Like [`Self::bind`], with sockets that the service manager has opened for us.
    pub async fn bind_with(
        config: Config,
        queues: Vec<Queue>,
        passed: Passed,
    ) -> Result<Self, StartError> {
        locality(&config).await?;
        // Sockets first, and all of them: a port in use must leave nothing half started.
        let (sockets, admin) = bind_all(&config, passed).await?;
        let own = own_sockets(&sockets, &admin)?;
        own_gateway::refuse(&config, &own).await?;
        Self::assemble(config, queues, sockets, admin, own)
    }

    /// Serves connections that the packet filter redirects to us, in place of the configuration's only listener. They
    /// continue to the destinations that their clients had dialled, from the clients' own addresses.
    pub fn bind_redirected(
        config: Config,
        queues: Vec<Queue>,
        redirected: Redirected,
    ) -> Result<Self, StartError> {
        Self::bind_to(config, queues, Listening::Redirected(redirected))
    }

    /// Serves a socket that is already open, in place of the configuration's only listener.
    pub fn bind_to(
        config: Config,
        queues: Vec<Queue>,
        listening: Listening,
    ) -> Result<Self, StartError> {
        let sockets = vec![vec![listening]];
        Self::assemble(config, queues, sockets, Vec::new(), Vec::new())
    }

    fn assemble(
        config: Config,
        mut queues: Vec<Queue>,
        sockets: Vec<Vec<Listening>>,
        admin: Vec<admin::Socket>,
        own: Vec<OwnSocket>,
    ) -> Result<Self, StartError> {
        let key_log = key_log(&config)?;
        let (mut listeners, mut slots) = (Vec::new(), Vec::new());
        let mut redirects = false;
        for (index, (wanted, bound)) in config.listeners().iter().zip(sockets).enumerate() {
            let listener_state =
                ListenerTlsState::new(key_log.clone()).map_err(StartError::ServerTls)?;
            let name = wanted.listen.to_string();
            let slot = Slot::new(name, &config, &wanted.tls, listener_state)?;
            for listener in bound {
                let place = listener.place()?;
                redirects |= matches!(listener, Listening::Redirected(_));
                let tls = Arc::clone(&slot.tls);
                listeners.push(BoundListener {
                    place,
                    certificate: slot.certificate(),
                    leaves: slot.leaves.clone(),
                    acceptor: Acceptor::new(listener, tls, index),
                });
            }
            slots.push(slot);
        }
        let records = config.records();
        if let Some(path) = &records.path {
            let file = RotatingFile::open(path, records.rotate_bytes, records.keep, records.mode.0)
                .map_err(|source| StartError::Records {
                    path: path.display().to_string(),
                    source,
                })?;
            queues.push(Queue::start("records", QUEUE, file)?);
        }
        let wanted = Wanted {
            http: filter(records.http),
            connections: filter(records.connections),
            joined: records.repeats == RepeatedRecords::Join,
        };
        let fingerprinter = fingerprinter(&config);
        let mut pipeline = RecordPipeline::new(queues, wanted);
        // `wstap attach --status` lists them without an admin listener.
        if config.admin().is_some() || redirects {
            pipeline = pipeline.keeping_recent();
        }
        let pipeline = Arc::new(pipeline);
        let tap = Arc::new(Tap::new(
            config,
            fingerprinter,
            pipeline,
            host_name(),
            key_log,
        )?);
        Ok(Self {
            listeners,
            admin,
            slots,
            own,
            current: Arc::new(Current::new(tap)),
            outcomes: Arc::default(),
            reloads: None,
            watches_gateway: false,
        })
    }

    /// Reloads the configuration on each message from `asked`, and when its files have changed.
    #[must_use]
    pub fn reloading(mut self, source: Source, asked: mpsc::Receiver<()>) -> Self {
        self.reloads = Some((source, asked));
        self
    }

    /// Also reports when the gateway becomes unreachable or reachable.
    #[must_use]
    pub fn watching_the_gateway(mut self) -> Self {
        self.watches_gateway = true;
        self
    }

    /// The tap as it is now.
    #[must_use]
    pub fn tap(&self) -> Arc<Tap> {
        self.current.tap()
    }

    /// The service of the admin listener, if there is one.
    fn service(&self) -> Option<Arc<AdminService>> {
        let tap = self.current.tap();
        let admin = tap.config().admin()?.clone();
        let facts = |listener: &BoundListener| ListenerFacts {
            place: listener.place.clone(),
            certificates: Some(listener.leaves.clone()),
        };
        let (current, outcomes) = (Arc::clone(&self.current), Arc::clone(&self.outcomes));
        let parts = admin::Parts {
            admin,
            listeners: self.listeners.iter().map(facts).collect(),
            draining: tap.draining().clone(),
            pipeline: Arc::clone(tap.pipeline()),
            tls_keylog: tap.config().tls_keylog().map(Path::to_path_buf),
            now: NowReader(Box::new(move || {
                let tap = current.tap();
                Now {
                    connections: tap.connections(),
                    handshakes: tap.handshakes(),
                    dialler: tap.dialler().clone(),
                    reloads: outcomes.so_far(),
                }
            })),
        };
        Some(Arc::new(AdminService::new(parts)))
    }

    /// Serves until `shutdown` completes, then drains. Tasks that remain after the drain end with the
    /// runtime. Call [`RecordPipeline::close`] only after that, or records are lost.
    pub async fn run(self, shutdown: impl Future<Output = ()>) {
        let service = self.service();
        let Self {
            listeners,
            admin,
            slots,
            own,
            current,
            outcomes,
            reloads,
            watches_gateway,
        } = self;
        let tap = current.tap();
        background::begin(&tap);
        let mut accepting = tokio::task::JoinSet::new();
        if let Some(service) = service {
            // It answers until the drain is over, because people check it during the drain.
            for socket in admin {
                accepting.spawn(admin::serve(Arc::clone(&service), socket.listener));
            }
        }
        let leaves = listeners
            .iter()
            .map(|listener| (listener.place.clone(), listener.leaves.clone()));
        accepting.spawn(leaves::watch(leaves.collect()));
        for listener in listeners {
            accepting.spawn(listener.acceptor.run(Arc::clone(&current)));
        }
        if let Some((source, asked)) = reloads {
            let reloader = Reloader {
                source,
                current: Arc::clone(&current),
                slots,
                own,
                outcomes,
                clock: jiff::Timestamp::now,
            };
            accepting.spawn(reloader.follow(asked, tap.draining().clone()));
        }
        if watches_gateway {
            accepting.spawn(gateway_watch::run(Arc::clone(&current)));
        }
        let pipeline = Arc::clone(tap.pipeline());
        accepting.spawn(async move {
            let mut every = tokio::time::interval(SETTLE_EVERY);
            loop {
                every.tick().await;
                while pipeline.settle_one(Instant::now()) || pipeline.release_one(Instant::now()) {
                    tokio::task::yield_now().await;
                }
            }
        });
        shutdown.await;
        current.tap().drain().await;
        accepting.shutdown().await;
    }
}

fn filter(wanted: RecordFilter) -> Filter {
    match wanted {
        RecordFilter::Errors => Filter::Errors,
        RecordFilter::All => Filter::All,
        RecordFilter::None => Filter::None,
    }
}

/// The fingerprinter of a configuration: with its key, or with a random one for this run.
#[must_use]
pub fn fingerprinter(config: &Config) -> Fingerprinter {
    match config.fingerprint_key() {
        Some(key) => Fingerprinter::with_key(key.expose()),
        None => ephemeral_fingerprinter(),
    }
}

/// A fingerprinter with a random key.
#[must_use]
pub fn ephemeral_fingerprinter() -> Fingerprinter {
    let mut key = [0; 32];
    let (front, back) = key.split_at_mut(16);
    // Version 4 UUIDs hold 122 random bits each, from the system's generator.
    front.copy_from_slice(uuid::Uuid::new_v4().as_bytes());
    back.copy_from_slice(uuid::Uuid::new_v4().as_bytes());
    Fingerprinter::ephemeral(key)
}

/// Opens the file of TLS secrets, if one is configured, and warns about it.
fn key_log(config: &Config) -> Result<Option<Arc<dyn KeyLog>>, StartError> {
    let Some(path) = config.tls_keylog() else {
        return Ok(None);
    };
    let file = KeyLogFile::open(path)?;
    tracing::warn!(
        path = %path.display(),
        "the secrets of every TLS session are written to a file: whoever has it reads them all"
    );
    Ok(Some(Arc::new(file)))
}

fn own_sockets(
    listeners: &[Vec<Listening>],
    admin: &[admin::Socket],
) -> io::Result<Vec<OwnSocket>> {
    let mut own = Vec::new();
    for (index, sockets) in listeners.iter().enumerate() {
        for socket in sockets {
            own.push(OwnSocket::of(format!("listeners[{index}]"), socket)?);
        }
    }
    for socket in admin {
        own.push(OwnSocket::of_tcp(
            "admin.listen".to_owned(),
            &socket.listener,
        )?);
    }
    Ok(own)
}

/// This host's name, as records carry it.
#[must_use]
pub fn host_name() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let name = name.trim();
    if name.is_empty() {
        "wstap".to_owned()
    } else {
        name.to_owned()
    }
}
