//! What all requests of one client connection have in common.

use std::net::SocketAddr;
use std::sync::Arc;

use crate::proxy::drain::Drain;
use crate::proxy::heads::Heads;
use crate::proxy::interim::Interim;
use crate::proxy::tap::ConnectionGuard;
use crate::session::moment::Anchor;
use crate::session::record::ClientTls;
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
    drain: Arc<Drain>,
    counted: ConnectionGuard,
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
            drain,
            counted,
        }
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
