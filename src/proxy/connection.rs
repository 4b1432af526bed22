//! What all requests of one client connection have in common; of HTTP/2, what one stream has.

use std::net::SocketAddr;
use std::sync::Arc;

use crate::proxy::drain::Drain;
use crate::proxy::heads::Heads;
use crate::proxy::http2::Counts;
use crate::proxy::interim::Interim;
use crate::proxy::tap::ConnectionGuard;
use crate::session::moment::Anchor;
use crate::session::record::ClientTls;
use crate::session::record::client::Http2Facts;
use crate::transport::sensor::Sensed;
use crate::transport::tls::Terminator;

/// One client connection.
#[derive(Debug)]
pub struct Connection {
    /// The client.
    pub peer: SocketAddr,
    /// Our end.
    pub local: SocketAddr,
    /// What TLS agreed; `None` on a plain listener.
    pub tls: Option<ClientTls>,
    /// What its TLS is served by; `None` on a plain listener.
    pub(super) terminator: Option<Arc<Terminator>>,
    /// When it was accepted.
    pub accepted: Anchor,
    /// What is sensed of it.
    pub sensed: Arc<Sensed>,
    /// The heads of its requests.
    pub(super) heads: Heads,
    /// Interim answers for its client.
    pub(super) interim: Arc<Interim>,
    /// What is counted of an HTTP/2 connection.
    pub(super) http2: Option<Http2>,
    drain: Arc<Drain>,
    counted: ConnectionGuard,
}

/// A request's place in an HTTP/2 connection.
#[derive(Clone, Debug)]
pub(super) struct Http2 {
    /// Its stream; `None`: the connection itself.
    pub(super) stream: Option<u32>,
    pub(super) counts: Arc<Counts>,
}

impl Connection {
    /// A connection that was just accepted.
    #[must_use]
    pub fn new(
        peer: SocketAddr,
        local: SocketAddr,
        tls: Option<ClientTls>,
        accepted: Anchor,
        sensed: Arc<Sensed>,
        drain: Arc<Drain>,
        counted: ConnectionGuard,
    ) -> Self {
        Self {
            peer,
            local,
            tls,
            terminator: None,
            accepted,
            sensed,
            heads: Heads::default(),
            interim: Arc::default(),
            http2: None,
            drain,
            counted,
        }
    }

    /// It speaks HTTP/2.
    pub(super) fn speaks_http2(&mut self, counts: Arc<Counts>) {
        let stream = None;
        self.http2 = Some(Http2 { stream, counts });
    }

    /// A stream of it, which ends for itself and counts for itself. The first one's record tells of
    /// the connection's beginning too.
    pub(super) fn stream(&self, stream: u32, opened: Anchor, counted: ConnectionGuard) -> Self {
        self.is_established();
        let http2 = self.http2.clone();
        Self {
            peer: self.peer,
            local: self.local,
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
            drain: Arc::clone(&self.drain),
            counted,
        }
    }

    /// For its records.
    pub(super) fn http2_facts(&self) -> Option<Http2Facts> {
        let Http2 { stream, counts } = self.http2.as_ref()?;
        Some(counts.facts(*stream))
    }

    /// Its TLS is served by this.
    #[must_use]
    pub fn through(mut self, terminator: Option<Arc<Terminator>>) -> Self {
        self.terminator = terminator;
        self
    }

    /// Its first request is read, or its upgrade is answered: it is no handshake any more.
    pub(super) fn is_established(&self) {
        self.counted.is_established();
    }

    /// The tap is shutting down.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.drain.has_begun()
    }
}
