//! What all requests of one client connection have in common; of HTTP/2, what one stream has.

pub(crate) mod accept;
mod early;
pub(crate) mod gate;
pub(crate) mod heads;
mod http1;
mod http2;
pub(crate) mod interim;
mod passthrough;
mod relayed;
pub(crate) mod session;
pub(crate) mod state;

use std::sync::Arc;

use self::http2::counts::Counts;
use self::state::ConnectionState;
use crate::admission::peer::Peer;
use crate::proxy::request::body::Body;
use crate::proxy::tap::open_connections::ConnectionGuard;
use crate::session::moment::Anchor;
use crate::session::record::ClientTls;
use crate::session::record::client::{Http2Facts, SelfMade};
use crate::session::record::proxy_protocol::ProxyProtocolFacts;
use crate::transport::redirected::Course;
use crate::transport::sensed::Sensed;
use crate::transport::tls::Terminator;
use crate::upstream::{Dialler, Pool};

/// Who is at the ends of a connection.
#[derive(Clone, Debug)]
pub(crate) struct Ends {
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
pub(crate) struct Connection {
    /// Who is at its ends.
    pub ends: Ends,
    /// What TLS agreed; `None` on a plain listener.
    pub tls: Option<ClientTls>,
    /// What its TLS is served by; `None` on a plain listener.
    pub(crate) terminator: Option<Arc<Terminator>>,
    /// When it was accepted.
    pub accepted: Anchor,
    /// What its sessions need of it.
    pub state: Arc<ConnectionState>,
    /// What is counted of an HTTP/2 connection.
    pub(crate) http2: Option<Http2>,
    /// Apart, because only `wstap attach` has it.
    redirection: Option<Box<Redirection>>,
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
    pub(crate) fn new(
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
            state: Arc::new(ConnectionState::new(sensed, counted)),
            http2: None,
            redirection: None,
        }
    }

    /// Requests of a redirected connection go to where its client had wanted.
    #[must_use]
    pub(crate) fn along(mut self, dialler: &Dialler) -> Self {
        self.redirection = self.ends.course.map(|course| {
            let dialler = dialler.along(course);
            let pool = Pool::new(dialler.clone());
            Box::new(Redirection { dialler, pool })
        });
        self
    }

    /// The dialler of its own, and the pool for its plain requests; the tap's serve other
    /// connections.
    pub(crate) fn own_way(&self) -> Option<(&Dialler, &Pool<Body>)> {
        let own = self.redirection.as_ref()?;
        Some((&own.dialler, &own.pool))
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

    /// The client, as far as the connection itself tells.
    #[must_use]
    pub(crate) fn peer(&self) -> &Peer {
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
        self.state.establish();
        let http2 = self.http2.clone();
        Self {
            ends: self.ends.clone(),
            tls: self.tls.clone(),
            terminator: self.terminator.clone(),
            accepted: opened,
            state: Arc::new(ConnectionState::new(Arc::default(), counted)),
            http2: http2.map(|http2| Http2 {
                stream: Some(stream),
                ..http2
            }),
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
    pub(crate) fn through(mut self, terminator: Option<Arc<Terminator>>) -> Self {
        self.terminator = terminator;
        self
    }

    /// What is wrong with the certificate that the client was shown, if wstap made it.
    fn self_made(&self) -> Option<Box<SelfMade>> {
        let shown = self.tls.as_ref()?.certificate.as_deref()?;
        self.terminator.as_ref()?.self_made(shown)
    }
}
