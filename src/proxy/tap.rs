//! What all connections of a running tap share.

use std::net::IpAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use rustls::KeyLog;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use uuid::Uuid;

use super::attribution;
use super::attribution::Attribution;
use super::body::Body;
use super::clients::{Clients, Counted, Place};
use super::connection::Connection;
use super::drain::Drain;
use super::loops::Loops;
use super::origins::Origins;
use super::session::Shared;
use super::told::Told;
use crate::admission::peer::Peer;
use crate::config::{Config, Dialect};
use crate::dialect::Choice;
use crate::session::credential::Fingerprinter;
use crate::session::moment::Anchor;
use crate::session::record::{DeniedFact, DeniedKey, TapMode};
use crate::session::{Recorder, Tapped};
use crate::sink::{Outlet, Wanted};
use crate::upstream::tls::TlsSetupError;
use crate::upstream::{Dialler, Pool};

/// Time beyond the drain for the last sessions to finish their Close handshake.
const LAST_WORDS: Duration = Duration::from_millis(250);

/// A running tap under one configuration. A reload makes another one that shares what must
/// outlast it: counts, records, the drain, and the way to the gateway where that stays the same.
#[derive(Debug)]
pub struct Tap {
    pub(super) config: Config,
    pub(super) fingerprinter: Arc<Fingerprinter>,
    pub(super) outlet: Arc<Outlet>,
    /// Takes the records of self-checks, which nobody reads.
    unread: Arc<Outlet>,
    pub(super) origins: Arc<Origins>,
    pub(super) dialler: Dialler,
    pub(super) pool: Pool<Body>,
    pub(super) drain: Arc<Drain>,
    pub(super) tasks: TaskTracker,
    pub(super) attribution: Arc<Attribution>,
    /// Independent of the configured gateway: a loop can begin under one configuration and end
    /// under the next.
    pub(super) loops: Arc<Loops>,
    /// Where secrets of TLS with the gateway go, whatever the gateway is.
    key_log: Option<Arc<dyn KeyLog>>,
    name: Arc<str>,
    counts: Arc<Counts>,
    /// Counts self-checks, which are no clients.
    check_counts: Arc<Counts>,
    clients: Arc<Clients>,
    /// Clients that were told of for a token in their URL.
    pub(super) url_tokens: Arc<Told<IpAddr>>,
}

/// The open sessions and connections, and whether they must end.
#[derive(Debug, Default)]
struct Counts {
    connections: AtomicUsize,
    /// The number of connections has changed.
    changed: Notify,
    handshakes: AtomicUsize,
    drain: Arc<Drain>,
}

impl Tap {
    /// A tap for this configuration; `name` stands in its records, secrets of TLS with the gateway
    /// go to `key_log`.
    pub fn new(
        config: Config,
        fingerprinter: Fingerprinter,
        outlet: Arc<Outlet>,
        name: String,
        key_log: Option<Arc<dyn KeyLog>>,
    ) -> Result<Self, TlsSetupError> {
        let limit = config.timeouts().connect;
        let dialler = Dialler::new(config.gateway(), limit, config.tcp(), key_log.clone())?;
        let drain = Arc::<Drain>::default();
        let counts = Counts {
            drain: Arc::clone(&drain),
            ..Counts::default()
        };
        Ok(Self {
            key_log,
            pool: Pool::new(dialler.clone()),
            attribution: Arc::new(Attribution::new(&config)),
            origins: Arc::new(Origins::new(config.origins().clone())),
            dialler,
            config,
            fingerprinter: Arc::new(fingerprinter),
            outlet,
            unread: Arc::new(Outlet::new(Vec::new(), Wanted::ALL)),
            drain,
            tasks: TaskTracker::new(),
            loops: Arc::default(),
            name: name.into(),
            check_counts: Arc::new(Counts {
                drain: Arc::clone(&counts.drain),
                ..Counts::default()
            }),
            counts: Arc::new(counts),
            clients: Arc::default(),
            url_tokens: Arc::default(),
        })
    }

    /// The same tap under another configuration, for the sessions that begin from now on. What is
    /// known of the gateway is kept where the way to it stays the same. Nothing happens before
    /// it takes the place of this one.
    pub fn renewed(&self, config: Config) -> Result<Self, TlsSetupError> {
        let (dialler, pool, attribution) = if self.goes_the_way_of(&config) {
            let attribution = Arc::clone(&self.attribution);
            (self.dialler.clone(), self.pool.clone(), attribution)
        } else {
            let (limit, key_log) = (config.timeouts().connect, self.key_log.clone());
            let dialler = Dialler::new(config.gateway(), limit, config.tcp(), key_log)?;
            let pool = Pool::new(dialler.clone());
            (dialler, pool, Arc::new(Attribution::new(&config)))
        };
        let origins = if self.config.origins() == config.origins() {
            Arc::clone(&self.origins)
        } else {
            Arc::new(Origins::new(config.origins().clone()))
        };
        Ok(Self {
            key_log: self.key_log.clone(),
            config,
            fingerprinter: Arc::clone(&self.fingerprinter),
            outlet: Arc::clone(&self.outlet),
            unread: Arc::clone(&self.unread),
            origins,
            dialler,
            pool,
            drain: Arc::clone(&self.drain),
            tasks: self.tasks.clone(),
            attribution,
            loops: Arc::clone(&self.loops),
            name: self.name.clone(),
            counts: Arc::clone(&self.counts),
            check_counts: Arc::clone(&self.check_counts),
            clients: Arc::clone(&self.clients),
            url_tokens: Arc::clone(&self.url_tokens),
        })
    }

    /// Whether this configuration leads to the gateway as ours does, and tells it the same of
    /// clients.
    fn goes_the_way_of(&self, config: &Config) -> bool {
        self.config.gateway().is_reached_like(config.gateway())
            && self.config.timeouts().connect == config.timeouts().connect
            && self.config.tcp() == config.tcp()
            && self.config.trusted_proxies() == config.trusted_proxies()
            && self.config.serves_this_host_only() == config.serves_this_host_only()
    }

    /// Begins what runs beside the connections: the check whether the gateway believes what we
    /// say of clients, and the look at files. They end with the drain, or when they are of no use
    /// any more.
    pub fn begin(self: &Arc<Self>) {
        attribution::begin(self);
        self.follow_origins();
    }

    /// Begins in the place of `before`.
    pub(super) fn supersedes(self: &Arc<Self>, before: &Self) {
        if !Arc::ptr_eq(&self.attribution, &before.attribution) {
            before.attribution.retire();
            attribution::begin(self);
        }
        if !Arc::ptr_eq(&self.origins, &before.origins) {
            before.origins.retire();
            self.follow_origins();
        }
    }

    /// The configuration.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Where records go.
    #[must_use]
    pub fn outlet(&self) -> &Arc<Outlet> {
        &self.outlet
    }

    /// The way to the gateway, with what its last dials came to.
    #[must_use]
    pub fn dialler(&self) -> &Dialler {
        &self.dialler
    }

    /// Cancelled when the tap shuts down.
    #[must_use]
    pub fn draining(&self) -> &CancellationToken {
        self.drain.token()
    }

    /// Connections and tunnels that are open.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.counts.connections.load(Ordering::Relaxed)
    }

    /// Waits until this many connections are open.
    pub async fn reaches(&self, connections: usize) {
        self.until(|open| open >= connections).await;
    }

    /// Waits until one more connection is within `limits.connections`.
    pub(super) async fn has_room(&self) {
        let limit = self.config.limits().connections;
        self.until(|open| open < limit).await;
    }

    async fn until(&self, is_so: impl Fn(usize) -> bool) {
        let mut changed = pin!(self.counts.changed.notified());
        loop {
            // Before the check, so that no change after it is missed.
            changed.as_mut().enable();
            if is_so(self.connections()) {
                return;
            }
            changed.as_mut().await;
            changed.set(self.counts.changed.notified());
        }
    }

    /// Connections that have not got through to a session yet; see `limits.handshakes`.
    #[must_use]
    pub fn handshakes(&self) -> usize {
        self.counts.handshakes.load(Ordering::Relaxed)
    }

    /// What runs beside and for the connections.
    #[cfg(test)]
    pub(crate) fn tasks_running(&self) -> usize {
        self.tasks.len()
    }

    fn follow_origins(&self) {
        let (origins, drain) = (Arc::clone(&self.origins), Arc::clone(&self.drain));
        self.tasks
            .spawn(async move { origins.watch(drain.token()).await });
    }

    /// Stops what is running: Closes are spread over the drain's time. The caller drops tasks that
    /// remain after it, with the runtime.
    pub async fn drain(&self) {
        let limit = self.config.timeouts().drain;
        self.tasks.close();
        self.drain.begin(limit, self.tasks.len());
        tracing::debug!(tasks = self.tasks.len(), plan = ?self.drain.plan(), "the drain begins");
        let rest = limit + LAST_WORDS;
        if tokio::time::timeout(rest, self.tasks.wait()).await.is_err() {
            tracing::warn!(
                left = self.tasks.len(),
                "sessions were still open at the end of the drain and are cut"
            );
        }
    }

    pub(super) fn dialect(&self) -> Choice {
        match self.config.gateway().dialect() {
            Dialect::OpenClaw => Choice::OpenClaw,
            Dialect::Plain => Choice::Plain,
        }
    }

    /// A new record for something that happens on this connection.
    pub(super) fn open_record(&self, connection: &Arc<Connection>, anchor: Anchor) -> Shared {
        let mut recorder = Recorder::new(Uuid::now_v7(), anchor);
        let facts = &mut recorder.facts;
        facts.tap = Tapped {
            name: Arc::clone(&self.name),
            listener: connection.ends.local.as_str().into(),
            listener_key: Arc::clone(&connection.ends.listener),
        };
        if connection.is_redirected() {
            facts.mode = TapMode::Attached;
        }
        connection.ends.note(&mut facts.client);
        facts.client.tls.clone_from(&connection.tls);
        facts.client.http2 = connection.http2_facts();
        let outlet = if connection.is_self_check() {
            &self.unread
        } else {
            &self.outlet
        };
        Shared::new(
            recorder,
            Arc::clone(connection),
            Arc::clone(outlet),
            Arc::clone(&self.origins),
        )
    }

    /// Counts a connection while the guard lives, and says which limit forbids it. With `relays` the
    /// peer is a proxy that names its client by a PROXY header, which has yet to come.
    pub(super) fn admit_connection(
        &self,
        peer: &Peer,
        relays: bool,
    ) -> (ConnectionGuard, Result<(), DeniedFact>) {
        let limits = self.config.limits();
        let open = self.counts.connections.fetch_add(1, Ordering::Relaxed);
        self.counts.changed.notify_waiters();
        let handshakes = self.counts.handshakes.fetch_add(1, Ordering::Relaxed);
        // Through a trusted proxy many clients come: each request tells which.
        let is_proxy = relays || peer.is_in(self.config.trusted_proxies());
        let place = if is_proxy {
            Ok(None)
        } else {
            self.place_for(Counted::of(peer)).map(Some)
        };
        let denied = |key, what: String, limit: usize| {
            Err(DeniedFact {
                key,
                detail: format!("{what} are open"),
                limit: u64::try_from(limit).ok(),
            })
        };
        let admitted = if open >= limits.connections {
            let what = format!("{open} connections");
            denied(DeniedKey::Connections, what, limits.connections)
        } else if let Err(denial) = &place {
            Err(denial.clone())
        } else if handshakes >= limits.handshakes {
            let what = format!("{handshakes} handshakes");
            denied(DeniedKey::Handshakes, what, limits.handshakes)
        } else {
            Ok(())
        };
        let guard = ConnectionGuard {
            counts: Arc::clone(&self.counts),
            handshake: AtomicBool::new(true),
            place: place.ok().flatten(),
        };
        (guard, admitted)
    }

    /// For a self-check: no limit applies to it, and it is not among [`Self::connections`].
    pub(super) fn admit_check(&self) -> ConnectionGuard {
        self.check_counts
            .connections
            .fetch_add(1, Ordering::Relaxed);
        self.check_counts.handshakes.fetch_add(1, Ordering::Relaxed);
        ConnectionGuard {
            counts: Arc::clone(&self.check_counts),
            handshake: AtomicBool::new(true),
            place: None,
        }
    }

    /// A place for one more connection or session of a client.
    pub(super) fn place_for(&self, client: Counted) -> Result<Place, DeniedFact> {
        let limit = self.config.limits().per_client;
        let place = self.clients.enter(client, limit);
        place.ok_or_else(|| DeniedFact {
            key: DeniedKey::PerClient,
            detail: format!("{limit} connections of {client} are open"),
            limit: u64::try_from(limit).ok(),
        })
    }
}

/// Counts one connection; see [`Tap::connections`].
#[derive(Debug)]
pub struct ConnectionGuard {
    counts: Arc<Counts>,
    /// It counts among the handshakes.
    handshake: AtomicBool,
    place: Option<Place>,
}

impl ConnectionGuard {
    /// It keeps the place of the client that a PROXY header named.
    pub(super) fn keep(&mut self, place: Place) {
        self.place = Some(place);
    }

    /// The tap is shutting down.
    pub(super) fn is_draining(&self) -> bool {
        self.counts.drain.has_begun()
    }

    /// It has got through: it is no handshake any more.
    pub(super) fn is_established(&self) {
        if self.handshake.swap(false, Ordering::Relaxed) {
            self.counts.handshakes.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

impl Drop for ConnectionGuard {
    fn drop(&mut self) {
        self.is_established();
        self.counts.connections.fetch_sub(1, Ordering::Relaxed);
        self.counts.changed.notify_waiters();
    }
}
