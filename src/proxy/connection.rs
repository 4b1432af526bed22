//! What all requests of one client connection have in common; of HTTP/2, what one stream has.

pub mod accept;
pub(crate) mod gate;
pub(crate) mod heads;
mod http1;
mod http2;
pub(crate) mod interim;
mod passthrough;
mod relayed;
pub mod session;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use crate::admission::peer::Peer;
use crate::proxy::connection::heads::Heads;
use crate::proxy::connection::http2::Counts;
use crate::proxy::connection::interim::Interim;
use crate::proxy::connection::session::Shared;
use crate::proxy::request::body::Body;
use crate::proxy::tap::ConnectionGuard;
use crate::proxy::tap::Tap;
use crate::session::legs::Ending;
use crate::session::moment::Anchor;
use crate::session::party::Leg;
use crate::session::record::client::Http2Facts;
use crate::session::record::proxy_protocol::ProxyProtocolFacts;
use crate::session::record::{ClientFacts, ClientTls, TransportEnd};
use crate::transport::redirected::Course;
use crate::transport::sensor::{End, Sensed};
use crate::transport::tls::Terminator;
use crate::upstream::{Dialler, Pool};

/// Who is at the ends of a connection.
#[derive(Clone, Debug)]
pub struct Ends {
    /// The client, as far as the connection itself tells.
    pub peer: Peer,
    /// Our own address, as records name it.
    pub local: String,
    /// The listener's key in the configuration.
    pub listener: Arc<str>,
    /// The PROXY header that came, or what came in its place.
    pub header: Option<Box<ProxyProtocolFacts>>,
    /// How it continues to the gateway, where the packet filter redirected it to us.
    pub course: Option<Course>,
}

/// The way to the gateway of one redirected connection, by which no other client's requests go.
#[derive(Clone, Debug)]
struct Redirection {
    dialler: Dialler,
    pool: Pool<Body>,
}

/// One client connection.
#[derive(Debug)]
pub struct Connection {
    /// Who is at its ends.
    pub ends: Ends,
    /// What TLS agreed; `None` on a plain listener.
    pub tls: Option<ClientTls>,
    /// What its TLS is served by; `None` on a plain listener.
    pub(crate) terminator: Option<Arc<Terminator>>,
    /// When it was accepted.
    pub accepted: Anchor,
    /// What is sensed of it.
    pub sensed: Arc<Sensed>,
    /// The heads of its requests.
    pub(crate) heads: Heads,
    /// Interim answers for its client.
    pub(crate) interim: Arc<Interim>,
    /// What is counted of an HTTP/2 connection.
    pub(crate) http2: Option<Http2>,
    /// The last upgrade that was refused or denied, or the last request whose client had ended its
    /// sending side; kept until the connection ends.
    parting: Mutex<Waits>,
    counted: Arc<ConnectionGuard>,
    /// Apart, because only `wstap attach` has it.
    redirection: Option<Box<Redirection>>,
}

/// What waits for the end of a connection.
#[derive(Debug, Default)]
struct Waits {
    session: Option<Shared>,
    /// The connection has ended: a session that comes now does not wait.
    over: bool,
}

/// On drop, records in the session that waits for it how its connection ended: by then it has ended, or the
/// task that served it was dropped.
#[derive(Debug)]
pub(crate) struct Parting(Arc<Connection>);

impl Parting {
    pub(crate) fn of(connection: &Arc<Connection>) -> Self {
        Self(Arc::clone(connection))
    }
}

impl Drop for Parting {
    fn drop(&mut self) {
        let waits = std::mem::replace(
            &mut *self.0.parting(),
            Waits {
                session: None,
                over: true,
            },
        );
        let Some(session) = waits.session else {
            return;
        };
        let ended = self.0.sensed.end().unwrap_or_else(|| End {
            end: TransportEnd::Local,
            cause: None,
            at: Instant::now(),
            tcp: None,
            refused: None,
        });
        session.with(|rec| note_end(&mut rec.ending, ended));
    }
}

/// Notes how a client's connection ended, and whether nobody was there to read what was sent after its
/// FIN.
pub(crate) fn note_end(ending: &mut Ending, ended: End) {
    let End {
        end,
        cause,
        at,
        refused,
        ..
    } = ended;
    ending.transport_ended(Leg::Client, end, cause, at);
    if let Some(at) = refused {
        ending.refuses_to_read(Leg::Client, at);
    }
}

/// A request's place in an HTTP/2 connection.
#[derive(Clone, Debug)]
pub(crate) struct Http2 {
    /// Its stream; `None`: the connection itself.
    pub(crate) stream: Option<u32>,
    pub(crate) counts: Arc<Counts>,
}

impl Connection {
    /// A connection that was just accepted.
    #[must_use]
    pub fn new(
        ends: Ends,
        tls: Option<ClientTls>,
        accepted: Anchor,
        sensed: Arc<Sensed>,
        counted: ConnectionGuard,
    ) -> Self {
        Self {
            ends,
            tls,
            terminator: None,
            accepted,
            sensed,
            heads: Heads::default(),
            interim: Arc::default(),
            http2: None,
            parting: Mutex::default(),
            counted: Arc::new(counted),
            redirection: None,
        }
    }

    /// Requests of a redirected connection go to where its client had wanted.
    #[must_use]
    pub(crate) fn along(mut self, tap: &Tap) -> Self {
        self.redirection = self.ends.course.map(|course| {
            let dialler = tap.dialler.along(course);
            let pool = Pool::new(dialler.clone());
            Box::new(Redirection { dialler, pool })
        });
        self
    }

    /// The dialler for its requests.
    pub(crate) fn dialler<'a>(&'a self, tap: &'a Tap) -> &'a Dialler {
        let own = self.redirection.as_ref();
        own.map_or(&tap.dialler, |own| &own.dialler)
    }

    /// The pool for its plain requests.
    pub(crate) fn pool<'a>(&'a self, tap: &'a Tap) -> &'a Pool<Body> {
        let own = self.redirection.as_ref();
        own.map_or(&tap.pool, |own| &own.pool)
    }

    /// The packet filter redirected it to us.
    pub(crate) fn is_redirected(&self) -> bool {
        self.redirection.is_some()
    }

    /// It checks the tap itself: nothing of it is recorded.
    pub(crate) fn is_self_check(&self) -> bool {
        let course = self.ends.course.as_ref();
        course.is_some_and(|course| course.is_check)
    }

    /// Lets the record wait for the connection's end: the session's answer ends the connection, or the
    /// client had closed its sending side.
    pub(crate) fn parts_with(&self, session: Shared) {
        session.parts();
        let mut waits = self.parting();
        let before = if waits.over {
            Some(session)
        } else {
            waits.session.replace(session)
        };
        drop(waits);
        // Outside of the lock: its record may be written now.
        drop(before);
    }

    fn parting(&self) -> MutexGuard<'_, Waits> {
        self.parting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A connection of this client, for tests.
    #[cfg(test)]
    pub(crate) fn of(peer: std::net::SocketAddr, tap: &Arc<Tap>) -> Arc<Self> {
        let peer = Peer::inet(peer);
        let (counted, _) = tap.admit_connection(&peer, false);
        let ends = Ends {
            peer,
            local: "127.0.0.1:8443".to_owned(),
            listener: "listeners[0]".into(),
            header: None,
            course: None,
        };
        let anchor = crate::transport::clock::anchor();
        Arc::new(Self::new(ends, None, anchor, Arc::default(), counted))
    }

    /// The client, as far as the connection itself tells.
    #[must_use]
    pub fn peer(&self) -> &Peer {
        &self.ends.peer
    }

    /// It speaks HTTP/2.
    pub(crate) fn speaks_http2(&mut self, counts: Arc<Counts>) {
        let stream = None;
        self.http2 = Some(Http2 { stream, counts });
    }

    /// A stream of it, which ends for itself and counts for itself. The first one's record tells of
    /// the connection's beginning too.
    pub(crate) fn stream(&self, stream: u32, opened: Anchor, counted: ConnectionGuard) -> Self {
        self.is_established();
        let http2 = self.http2.clone();
        Self {
            ends: self.ends.clone(),
            tls: self.tls.clone(),
            terminator: self.terminator.clone(),
            accepted: opened,
            sensed: Arc::default(),
            heads: Heads::default(),
            interim: Arc::default(),
            http2: http2.map(|http2| Http2 {
                stream: Some(stream),
                ..http2
            }),
            parting: Mutex::default(),
            counted: Arc::new(counted),
            redirection: self.redirection.clone(),
        }
    }

    /// For its records.
    pub(crate) fn http2_facts(&self) -> Option<Http2Facts> {
        let Http2 { stream, counts } = self.http2.as_ref()?;
        Some(counts.facts(*stream))
    }

    /// Its TLS is served by this.
    #[must_use]
    pub fn through(mut self, terminator: Option<Arc<Terminator>>) -> Self {
        self.terminator = terminator;
        self
    }

    /// Notes the certificate facts that the record of a connection without a request needs.
    pub(crate) fn note_certificate(&self, client: &mut ClientFacts) {
        if let (Some(tls), Some(terminator)) = (&mut client.tls, &self.terminator) {
            let shown = tls.certificate.as_deref();
            tls.self_made = shown.and_then(|shown| terminator.self_made(shown));
        }
    }

    /// Its first request is read, or its upgrade is answered: it is no handshake any more.
    pub(crate) fn is_established(&self) {
        self.counted.is_established();
    }

    /// What counts it for as long as it is open, for those who outlast its requests.
    pub(crate) fn counted(&self) -> Arc<ConnectionGuard> {
        Arc::clone(&self.counted)
    }

    /// The tap is shutting down.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.counted.is_draining()
    }
}
