//! What all requests of one client connection have in common.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::proxy::drain::Drain;
use crate::session::moment::Anchor;
use crate::session::record::ClientTls;
use crate::transport::sensor::Sensed;

/// One client connection.
#[derive(Debug)]
pub struct Connection {
    /// The client.
    pub peer: SocketAddr,
    /// Our end.
    pub local: SocketAddr,
    /// What TLS agreed; `None` on a plain listener.
    pub tls: Option<ClientTls>,
    /// When it was accepted.
    pub accepted: Anchor,
    /// What is sensed of it.
    pub sensed: Arc<Sensed>,
    requests: AtomicU64,
    drain: Arc<Drain>,
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
    ) -> Self {
        Self { peer, local, tls, accepted, sensed, requests: AtomicU64::new(0), drain }
    }

    /// Counts a request; `true` for the first.
    pub fn count_request(&self) -> bool {
        self.requests.fetch_add(1, Ordering::Relaxed) == 0
    }

    /// Requests whose head was read.
    #[must_use]
    pub fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }

    /// The tap is shutting down.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.drain.has_begun()
    }
}
