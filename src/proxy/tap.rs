//! The state that all connections of a running tap share.

pub(crate) mod attribution;
pub(crate) mod background;
pub(crate) mod clients;
pub(crate) mod current;
pub(crate) mod drain;
pub(crate) mod logged_once;
pub(crate) mod loops;
pub(crate) mod open_connections;
pub(crate) mod origins;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use rustls::KeyLog;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use uuid::Uuid;

use crate::admission::peer::Peer;
use crate::config::Config;
use crate::dialect::Choice;
use crate::proxy::connection::Connection;
use crate::proxy::connection::session::SessionHandle;
use crate::proxy::request::body::Body;
use crate::proxy::tap::attribution::Attribution;
use crate::proxy::tap::clients::{ClientSlot, Clients, Counted};
use crate::proxy::tap::drain::Drain;
use crate::proxy::tap::logged_once::LoggedOnce;
use crate::proxy::tap::loops::Loops;
use crate::proxy::tap::open_connections::{ConnectionGuard, OpenConnections};
use crate::proxy::tap::origins::Origins;
use crate::session::credential::Fingerprinter;
use crate::session::moment::{Anchor, Moment};
use crate::session::record::{ClientFacts, DeniedFact, DeniedKey, TapMode};
use crate::session::{Recorder, TapIdentity, Tapped};
use crate::sink::{RecordPipeline, Wanted};
use crate::upstream::tls::TlsSetupError;
use crate::upstream::{Dialler, Pool};

/// Time beyond the drain for the last sessions to finish their Close handshake.
const LAST_WORDS: Duration = Duration::from_millis(250);

/// A running tap under one configuration. A reload makes another tap, which shares the state that
/// must outlast the reload: counts, records, the drain, and the dialler and pool if the route to
/// the gateway stays the same.
#[derive(Debug)]
pub struct Tap {
    pub(crate) config: Config,
    pub(crate) fingerprinter: Arc<Fingerprinter>,
    pub(crate) pipeline: Arc<RecordPipeline>,
    /// Takes the records of self-checks, which are discarded.
    unread: Arc<RecordPipeline>,
    pub(crate) origins: Arc<Origins>,
    pub(crate) dialler: Dialler,
    pub(crate) pool: Pool<Body>,
    pub(crate) drain: Arc<Drain>,
    pub(crate) tasks: TaskTracker,
    pub(crate) attribution: Arc<Attribution>,
    /// Independent of the configured gateway: a loop can begin under one configuration and end
    /// under the next.
    pub(crate) loops: Arc<Loops>,
    /// Takes the TLS secrets of gateway connections, whichever gateway is configured.
    key_log: Option<Arc<dyn KeyLog>>,
    identity: Arc<TapIdentity>,
    counts: Arc<OpenConnections>,
    /// Counts self-checks, which are not clients.
    check_counts: Arc<OpenConnections>,
    clients: Arc<Clients>,
    /// Clients for which a token in a URL was already logged.
    pub(crate) url_tokens: Arc<LoggedOnce<IpAddr>>,
}

impl Tap {
    /// A tap for this configuration. `name` appears in its records; the TLS secrets of gateway
    /// connections go to `key_log`.
    pub fn new(
        config: Config,
        fingerprinter: Fingerprinter,
        pipeline: Arc<RecordPipeline>,
        name: String,
        key_log: Option<Arc<dyn KeyLog>>,
    ) -> Result<Self, TlsSetupError> {
        let limit = config.timeouts().connect;
        let dialler = Dialler::new(config.gateway(), limit, config.tcp(), key_log.clone())?;
        let drain = Arc::<Drain>::default();
        Ok(Self {
            key_log,
            pool: Pool::new(dialler.clone()),
            attribution: Arc::new(Attribution::new(&config)),
            origins: Arc::new(Origins::new(config.origins().clone())),
            dialler,
            config,
            fingerprinter: Arc::new(fingerprinter),
            pipeline,
            unread: Arc::new(RecordPipeline::new(Vec::new(), Wanted::ALL)),
            tasks: TaskTracker::new(),
            loops: Arc::default(),
            identity: Arc::new(TapIdentity {
                name,
                started_at: Some(Moment(Timestamp::now())),
            }),
            check_counts: OpenConnections::new(&drain),
            counts: OpenConnections::new(&drain),
            clients: Arc::default(),
            url_tokens: Arc::default(),
            drain,
        })
    }

    /// The same tap under another configuration, for the sessions that begin from now on. What is
    /// known about the gateway is kept if the route to it stays the same. The new tap does nothing
    /// until it replaces this one.
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
            pipeline: Arc::clone(&self.pipeline),
            unread: Arc::clone(&self.unread),
            origins,
            dialler,
            pool,
            drain: Arc::clone(&self.drain),
            tasks: self.tasks.clone(),
            attribution,
            loops: Arc::clone(&self.loops),
            identity: Arc::clone(&self.identity),
            counts: Arc::clone(&self.counts),
            check_counts: Arc::clone(&self.check_counts),
            clients: Arc::clone(&self.clients),
            url_tokens: Arc::clone(&self.url_tokens),
        })
    }

    /// Whether this configuration reaches the gateway by the same route as ours, with the same
    /// attribution headers.
    fn goes_the_way_of(&self, config: &Config) -> bool {
        self.config.gateway().is_reached_like(config.gateway())
            && self.config.timeouts().connect == config.timeouts().connect
            && self.config.tcp() == config.tcp()
            && self.config.trusted_proxies() == config.trusted_proxies()
            && self.config.serves_this_host_only() == config.serves_this_host_only()
    }

    /// The configuration.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Where records go.
    #[must_use]
    pub fn pipeline(&self) -> &Arc<RecordPipeline> {
        &self.pipeline
    }

    /// The dialler for the gateway, with the outcomes of its last dials.
    #[must_use]
    pub fn dialler(&self) -> &Dialler {
        &self.dialler
    }

    /// The dialler for the requests of a connection.
    pub(crate) fn dialler_for<'a>(&'a self, connection: &'a Connection) -> &'a Dialler {
        let own = connection.own_way();
        own.map_or(&self.dialler, |(dialler, _)| dialler)
    }

    /// The pool for the plain requests of a connection.
    pub(crate) fn pool_for<'a>(&'a self, connection: &'a Connection) -> &'a Pool<Body> {
        let own = connection.own_way();
        own.map_or(&self.pool, |(_, pool)| pool)
    }

    /// Cancelled when the tap shuts down.
    #[must_use]
    pub fn draining(&self) -> &CancellationToken {
        self.drain.token()
    }

    /// Connections and tunnels that are open.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.counts.connections()
    }

    /// Waits until at least this many connections are open.
    pub async fn reaches(&self, connections: usize) {
        self.counts.until(|open| open >= connections).await;
    }

    /// Waits until one more connection is within `limits.connections`.
    pub(crate) async fn has_room(&self) {
        let limit = self.config.limits().connections;
        self.counts.until(|open| open < limit).await;
    }

    /// Connections that have not reached a session yet; see `limits.handshakes`.
    #[must_use]
    pub fn handshakes(&self) -> usize {
        self.counts.handshakes()
    }

    /// Number of tasks that run, for the connections and in the background.
    #[cfg(test)]
    pub(crate) fn tasks_running(&self) -> usize {
        self.tasks.len()
    }

    /// Shuts down the running sessions: Closes are spread over the drain's time. The caller drops
    /// tasks that remain afterwards, with the runtime.
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

    pub(crate) fn dialect(&self) -> Choice {
        self.config.gateway().dialect().into()
    }

    /// A new record for something that happens on this connection.
    pub(crate) fn open_record(
        &self,
        connection: &Arc<Connection>,
        anchor: Anchor,
    ) -> SessionHandle {
        let mut recorder = Recorder::new(Uuid::now_v7(), anchor);
        let tapped = Tapped {
            identity: Arc::clone(&self.identity),
            listener: connection.ends.local.as_str().into(),
            listener_key: Arc::clone(&connection.ends.listener),
        };
        let mode = if connection.is_redirected() {
            TapMode::Attached
        } else {
            TapMode::default()
        };
        let mut client = ClientFacts {
            tls: connection.tls.clone(),
            http2: connection.http2_facts(),
            ..ClientFacts::default()
        };
        connection.ends.note(&mut client);
        recorder.accepted(tapped, mode, client);
        let pipeline = if connection.is_self_check() {
            &self.unread
        } else {
            &self.pipeline
        };
        SessionHandle::new(
            recorder,
            Arc::clone(&connection.state),
            Arc::clone(pipeline),
            Arc::clone(&self.origins),
        )
    }

    /// Counts a connection while the guard lives, and returns the limit that forbids it, if one
    /// does. With `relays` the peer is a proxy that names its client by a PROXY header, which has
    /// yet to come.
    pub(crate) fn admit_connection(
        &self,
        peer: &Peer,
        relays: bool,
    ) -> (ConnectionGuard, Result<(), DeniedFact>) {
        let limits = self.config.limits();
        let (mut guard, before) = self.counts.enter();
        // Many clients share a trusted proxy: each request names its own.
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
        let admitted = if before.connections >= limits.connections {
            let what = format!("{} connections", before.connections);
            denied(DeniedKey::Connections, what, limits.connections)
        } else if let Err(denial) = &place {
            Err(denial.clone())
        } else if before.handshakes >= limits.handshakes {
            let what = format!("{} handshakes", before.handshakes);
            denied(DeniedKey::Handshakes, what, limits.handshakes)
        } else {
            Ok(())
        };
        if let Ok(Some(place)) = place {
            guard.keep(place);
        }
        (guard, admitted)
    }

    /// A guard for a self-check: no limit applies to it, and it does not count in
    /// [`Self::connections`].
    pub(crate) fn admit_check(&self) -> ConnectionGuard {
        self.check_counts.enter().0
    }

    /// A slot for one more connection or session of a client.
    pub(crate) fn place_for(&self, client: Counted) -> Result<ClientSlot, DeniedFact> {
        let limit = self.config.limits().per_client;
        let place = self.clients.enter(client, limit);
        place.ok_or_else(|| DeniedFact {
            key: DeniedKey::PerClient,
            detail: format!("{limit} connections of {client} are open"),
            limit: u64::try_from(limit).ok(),
        })
    }

    /// A connection of this client, for tests.
    #[cfg(test)]
    pub(crate) fn connection_of(&self, peer: std::net::SocketAddr) -> Arc<Connection> {
        let peer = Peer::inet(peer);
        let (counted, _) = self.admit_connection(&peer, false);
        let ends = crate::proxy::connection::Ends {
            peer,
            local: "127.0.0.1:8443".to_owned(),
            listener: "listeners[0]".into(),
            header: None,
            course: None,
        };
        let anchor = crate::transport::clock::anchor();
        Arc::new(Connection::new(ends, None, anchor, Arc::default(), counted))
    }
}
