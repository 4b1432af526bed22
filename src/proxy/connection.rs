//! The state that all requests of one client connection share; with HTTP/2, the state of one
//! stream.

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
    /// The connection's route to the gateway, if the packet filter redirected it to us.
    pub course: Option<Course>,
}

/// The route to the gateway of one redirected connection, which no other client's requests use.
#[derive(Clone, Debug)]
struct Redirection {
    dialler: Dialler,
    pool: Pool<Body>,
}

/// One client connection.
#[derive(Debug)]
pub(crate) struct Connection {
    /// The connection's ends.
    pub ends: Ends,
    /// What TLS agreed; `None` on a plain listener.
    pub tls: Option<ClientTls>,
    /// The terminator that serves its TLS; `None` on a plain listener.
    pub(crate) terminator: Option<Arc<Terminator>>,
    /// When it was accepted.
    pub accepted: Anchor,
    /// The part of the connection that its sessions need.
    pub state: Arc<ConnectionState>,
    /// The counts of an HTTP/2 connection; `None` with HTTP/1.
    pub(crate) http2: Option<Http2>,
    /// Boxed, because only `wstap attach` has it.
    redirection: Option<Box<Redirection>>,
}

/// A request's place in an HTTP/2 connection.
#[derive(Clone, Debug)]
pub(crate) struct Http2 {
    /// The request's stream; `None` for the connection itself.
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

    /// Sets the route of a redirected connection: its requests go to the address that its client
    /// had dialled.
    #[must_use]
    pub(crate) fn along(mut self, dialler: &Dialler) -> Self {
        self.redirection = self.ends.course.map(|course| {
            let dialler = dialler.along(course);
            let pool = Pool::new(dialler.clone());
            Box::new(Redirection { dialler, pool })
        });
        self
    }

    /// The connection's own dialler, and the pool for its plain requests; other connections use the
    /// tap's.
    pub(crate) fn own_way(&self) -> Option<(&Dialler, &Pool<Body>)> {
        let own = self.redirection.as_ref()?;
        Some((&own.dialler, &own.pool))
    }

    /// Whether the packet filter redirected the connection to us.
    pub(crate) fn is_redirected(&self) -> bool {
        self.redirection.is_some()
    }

    /// Whether the connection is a self-check of the tap, which is not recorded.
    pub(crate) fn is_self_check(&self) -> bool {
        let course = self.ends.course.as_ref();
        course.is_some_and(|course| course.is_check)
    }

    /// The client, as far as the connection itself tells.
    #[must_use]
    pub(crate) fn peer(&self) -> &Peer {
        &self.ends.peer
    }

    /// Marks the connection as HTTP/2.
    pub(crate) fn speaks_http2(&mut self, counts: Arc<Counts>) {
        let stream = None;
        self.http2 = Some(Http2 { stream, counts });
    }

    /// A stream of the connection, which ends and is counted on its own. The record of the first
    /// one also covers the beginning of the connection.
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

    /// The HTTP/2 facts for records of the connection.
    pub(crate) fn http2_facts(&self) -> Option<Http2Facts> {
        let Http2 { stream, counts } = self.http2.as_ref()?;
        Some(counts.facts(*stream))
    }

    /// Sets the terminator that serves its TLS.
    #[must_use]
    pub(crate) fn through(mut self, terminator: Option<Arc<Terminator>>) -> Self {
        self.terminator = terminator;
        self
    }

    /// Facts about the certificate that the client was shown, if wstap made it.
    fn self_made(&self) -> Option<Box<SelfMade>> {
        let shown = self.tls.as_ref()?.certificate.as_deref()?;
        self.terminator.as_ref()?.self_made(shown)
    }
}
