//! The bound app: sockets are open and their addresses known before anything is served.

mod files;
pub mod reload;
mod slot;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use rustls::ServerConfig;
use tokio::net::TcpListener;
use tokio::sync::mpsc;

use self::reload::{Outcomes, Reloader, Source};
use self::slot::Slot;
use crate::admin::ready::{CertificateFacts, ListenerFacts};
use crate::admin::{self, Desk, Now, NowReader};
use crate::config::identity::{Identity, IdentityError};
use crate::config::{Admin, Config, ConfigError, HttpRecords, ListenAddr, ListenerTls, Target};
use crate::proxy::accept::Acceptor;
use crate::proxy::{Current, Tap};
use crate::session::credential::Fingerprinter;
use crate::sink::jsonl::RotatingFile;
use crate::sink::{HttpFilter, Outlet, Queue, SETTLE_EVERY};
use crate::transport::dev_ca::{self, DevCaError, DevFiles};
use crate::transport::{listener, tls};
use crate::upstream::tls::TlsSetupError;

/// Records that may wait for a slow file or reader.
const QUEUE: usize = 8192;

/// How long the last records may take to be written at the end.
const FLUSH: Duration = Duration::from_secs(2);

/// The app could not be started. Nothing is left half started.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "each says what failed")]
pub enum StartError {
    #[error("{}", lines(.0))]
    Listen(Vec<ConfigError>),
    #[error(transparent)]
    Locality(ConfigError),
    #[error(transparent)]
    DevCertificate(#[from] DevCaError),
    #[error(transparent)]
    Identity(#[from] IdentityError),
    #[error("failed to set up TLS for listeners: {0}")]
    ServerTls(rustls::Error),
    #[error(transparent)]
    GatewayTls(#[from] TlsSetupError),
    #[error("failed to open the records file {path}: {source}")]
    Records { path: String, source: io::Error },
    #[error("failed to start: {0}")]
    System(#[from] io::Error),
}

fn lines(errors: &[ConfigError]) -> String {
    errors
        .iter()
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join("\n")
}

/// A listener that is bound.
#[derive(Debug)]
pub struct BoundListener {
    /// Where it listens.
    pub addr: SocketAddr,
    /// `None` for plain HTTP.
    pub certificate: Option<Arc<Certificate>>,
    acceptor: Acceptor,
}

/// The certificate of a listener.
#[derive(Clone, Debug)]
pub struct Certificate {
    /// The leaf and its key.
    pub identity: Identity,
    /// The development CA's files, when it is self-signed.
    pub development: Option<DevFiles>,
}

/// Everything is bound; nothing is served yet.
#[derive(Debug)]
pub struct Bound {
    /// In the order of the configuration.
    pub listeners: Vec<BoundListener>,
    /// The sockets of the admin listener, if there is one.
    pub admin: Vec<admin::Socket>,
    slots: Vec<Slot>,
    current: Arc<Current>,
    outcomes: Arc<Outcomes>,
    reloads: Option<(Source, mpsc::Receiver<()>)>,
}

impl Bound {
    /// Opens every file and socket that the configuration names. `queues` are consumers of
    /// records besides the configured file.
    pub async fn bind(config: Config, mut queues: Vec<Queue>) -> Result<Self, StartError> {
        locality(&config).await?;
        // Sockets first, and all of them: a port in use must leave nothing half started.
        let (sockets, admin) = bind_all(&config).await?;
        let (mut listeners, mut slots) = (Vec::new(), Vec::new());
        for (wanted, bound) in config.listeners().iter().zip(sockets) {
            let slot = Slot::new(wanted.listen.to_string(), &config, &wanted.tls)?;
            for listener in bound {
                let addr = listener.local_addr()?;
                let tls = Arc::clone(&slot.tls);
                listeners.push(BoundListener {
                    addr,
                    certificate: slot.certificate(),
                    acceptor: Acceptor { listener, tls },
                });
            }
            slots.push(slot);
        }
        let records = config.records();
        if let Some(path) = &records.path {
            let file =
                RotatingFile::open(path, records.rotate_bytes, records.keep).map_err(|source| {
                    StartError::Records {
                        path: path.display().to_string(),
                        source,
                    }
                })?;
            queues.push(Queue::start("records", QUEUE, file)?);
        }
        let http = match records.http {
            HttpRecords::Errors => HttpFilter::Errors,
            HttpRecords::All => HttpFilter::All,
            HttpRecords::None => HttpFilter::None,
        };
        let fingerprinter = fingerprinter(&config);
        let mut outlet = Outlet::new(queues, http);
        if config.admin().is_some() {
            outlet = outlet.keeping_recent();
        }
        let outlet = Arc::new(outlet);
        let tap = Arc::new(Tap::new(config, fingerprinter, outlet, host_name())?);
        Ok(Self {
            listeners,
            admin,
            slots,
            current: Arc::new(Current::new(tap)),
            outcomes: Arc::default(),
            reloads: None,
        })
    }

    /// Reads the configuration again when `asked` says so or its files have changed.
    #[must_use]
    pub fn reloading(mut self, source: Source, asked: mpsc::Receiver<()>) -> Self {
        self.reloads = Some((source, asked));
        self
    }

    /// The tap as it is now.
    #[must_use]
    pub fn tap(&self) -> Arc<Tap> {
        self.current.tap()
    }

    /// What the admin listener tells, if there is one.
    fn desk(&self) -> Option<Arc<Desk>> {
        let tap = self.current.tap();
        let admin = tap.config().admin()?.clone();
        let facts = |listener: &BoundListener| ListenerFacts {
            addr: listener.addr,
            certificate: listener.certificate.as_ref().map(|it| CertificateFacts {
                not_before: it.identity.not_before,
                not_after: it.identity.not_after,
            }),
        };
        let (current, outcomes) = (Arc::clone(&self.current), Arc::clone(&self.outcomes));
        let parts = admin::Parts {
            admin,
            listeners: self.listeners.iter().map(facts).collect(),
            draining: tap.draining().clone(),
            outlet: Arc::clone(tap.outlet()),
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
        Some(Arc::new(Desk::new(parts)))
    }

    /// Serves until `shutdown` completes, then drains, and returns when the last record is out.
    pub async fn run(self, shutdown: impl Future<Output = ()>) {
        let desk = self.desk();
        let Self {
            listeners,
            admin,
            slots,
            current,
            outcomes,
            reloads,
        } = self;
        let tap = current.tap();
        tap.begin();
        let mut accepting = tokio::task::JoinSet::new();
        if let Some(desk) = desk {
            // It answers until the drain is over: that is when people look.
            for socket in admin {
                accepting.spawn(admin::serve(Arc::clone(&desk), socket.listener));
            }
        }
        for listener in listeners {
            accepting.spawn(listener.acceptor.run(Arc::clone(&current)));
        }
        if let Some((source, asked)) = reloads {
            let reloader = Reloader {
                source,
                current: Arc::clone(&current),
                slots,
                outcomes,
            };
            accepting.spawn(reloader.follow(asked, tap.draining().clone()));
        }
        let outlet = Arc::clone(tap.outlet());
        accepting.spawn(async move {
            let mut every = tokio::time::interval(SETTLE_EVERY);
            loop {
                every.tick().await;
                while outlet.settle_one(Instant::now()) {
                    tokio::task::yield_now().await;
                }
            }
        });
        shutdown.await;
        current.tap().drain().await;
        accepting.shutdown().await;
        let outlet = Arc::clone(tap.outlet());
        let flushed = tokio::task::spawn_blocking(move || outlet.close(FLUSH)).await;
        if flushed.is_err() {
            tracing::error!("a writer of records panicked");
        }
    }
}

/// The fingerprinter of a configuration: under its key, or under a random one for this run.
#[must_use]
pub fn fingerprinter(config: &Config) -> Fingerprinter {
    match config.fingerprint_key() {
        Some(key) => Fingerprinter::with_key(key.expose()),
        None => ephemeral_fingerprinter(),
    }
}

/// A fingerprinter under a random key.
#[must_use]
pub fn ephemeral_fingerprinter() -> Fingerprinter {
    let mut key = [0; 32];
    let (front, back) = key.split_at_mut(16);
    // Version 4 UUIDs hold 122 random bits each, from the system's generator.
    front.copy_from_slice(uuid::Uuid::new_v4().as_bytes());
    back.copy_from_slice(uuid::Uuid::new_v4().as_bytes());
    Fingerprinter::ephemeral(key)
}

fn certificate(config: &Config, tls: &ListenerTls) -> Result<Option<Certificate>, StartError> {
    match tls {
        ListenerTls::Plain => Ok(None),
        ListenerTls::Files(identity) => Ok(Some(Certificate {
            identity: identity.clone(),
            development: None,
        })),
        ListenerTls::SelfSigned { names } => {
            let files = dev_ca::ensure(config.state_dir(), names, Timestamp::now())?;
            let identity = Identity::load(&files.cert, &files.key)?;
            Ok(Some(Certificate {
                identity,
                development: Some(files),
            }))
        }
    }
}

fn server_config(certificate: &Certificate, http2: bool) -> Result<Arc<ServerConfig>, StartError> {
    let certified = Arc::clone(&certificate.identity.certified);
    tls::server_config(certified, http2).map_err(StartError::ServerTls)
}

/// Refuses a gateway whose name leads to this host where that would make remote clients local. A
/// name that does not resolve yet is left to the check of each connection.
async fn locality(config: &Config) -> Result<(), StartError> {
    let gateway = config.gateway();
    if gateway.must_be_elsewhere("").is_none() {
        return Ok(());
    }
    let Target::Tcp { host, port } = gateway.target() else {
        return Ok(());
    };
    let Some(name) = host.name() else {
        return Ok(());
    };
    let lookup = tokio::net::lookup_host((name, *port));
    let found = tokio::time::timeout(config.timeouts().connect, lookup).await;
    let Ok(Ok(mut found)) = found else {
        return Ok(());
    };
    let local = found.find(|addr| addr.ip().to_canonical().is_loopback());
    let error = local.and_then(|addr| {
        let found = format!("`{name}`, which resolves to {} on this host", addr.ip());
        gateway.must_be_elsewhere(&found)
    });
    error.map_or(Ok(()), |error| Err(StartError::Locality(error)))
}

/// The sockets of each listener and of the admin listener, or every error.
async fn bind_all(
    config: &Config,
) -> Result<(Vec<Vec<TcpListener>>, Vec<admin::Socket>), StartError> {
    let (mut all, mut errors) = (Vec::new(), Vec::new());
    for wanted in config.listeners() {
        match bind_one(&wanted.listen).await {
            Ok(bound) => all.push(bound),
            Err(found) => errors.push(wanted.cannot_listen(found)),
        }
    }
    let mut admin = Vec::new();
    if let Some(wanted) = config.admin() {
        match bind_admin(wanted).await {
            Ok(bound) => admin = bound,
            Err(found) => errors.push(wanted.cannot_listen(found)),
        }
    }
    if errors.is_empty() {
        Ok((all, admin))
    } else {
        Err(StartError::Listen(errors))
    }
}

async fn bind_admin(wanted: &Admin) -> Result<Vec<admin::Socket>, String> {
    let mut sockets = Vec::new();
    for listener in bind_one(&wanted.listen).await? {
        let addr = listener.local_addr().map_err(|error| error.to_string())?;
        // `localhost` is what the hosts file says.
        if wanted.token.is_none() && !addr.ip().to_canonical().is_loopback() {
            let name = &wanted.listen.host;
            return Err(format!(
                "`{name}`, which resolves to {addr}: without a token only loopback may be listened on"
            ));
        }
        sockets.push(admin::Socket { addr, listener });
    }
    Ok(sockets)
}

async fn bind_one(listen: &ListenAddr) -> Result<Vec<TcpListener>, String> {
    let (host, port) = (listen.host.to_unbracketed(), listen.port);
    let found = tokio::net::lookup_host((host.as_str(), port)).await;
    let found = found.map_err(|error| format!("`{host}`, which does not resolve: {error}"))?;
    let mut addresses: Vec<SocketAddr> = found.collect();
    addresses.dedup();
    if port == 0 {
        // Each address would get a port of its own.
        addresses.truncate(1);
    }
    if addresses.is_empty() {
        return Err(format!("`{host}`, which has no address"));
    }
    let bind = |addr: SocketAddr| {
        listener::bind(addr).map_err(|error| format!("failed to listen on {addr}: {error}"))
    };
    addresses.into_iter().map(bind).collect()
}

fn host_name() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let name = name.trim();
    if name.is_empty() {
        "wstap".to_owned()
    } else {
        name.to_owned()
    }
}
