//! What all requests of one client connection have in common.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::proxy::drain::Drain;
use crate::proxy::tap::ConnectionGuard;
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
    in_flight: AtomicU64,
    settled_bytes: AtomicU64,
    drain: Arc<Drain>,
    _counted: ConnectionGuard,
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
            accepted,
            sensed,
            requests: AtomicU64::new(0),
            in_flight: AtomicU64::new(0),
            settled_bytes: AtomicU64::new(0),
            drain,
            _counted: counted,
        }
    }

    /// Counts a request whose head was read; `true` for the first.
    pub fn request_begins(&self) -> bool {
        self.in_flight.fetch_add(1, Ordering::Relaxed);
        self.requests.fetch_add(1, Ordering::Relaxed) == 0
    }

    /// A request's session is over.
    pub fn request_ended(&self) {
        self.settled_bytes
            .store(self.sensed.bytes_read(), Ordering::Relaxed);
        self.in_flight.fetch_sub(1, Ordering::Relaxed);
    }

    /// Sessions of this connection that are not over.
    #[must_use]
    pub fn in_flight(&self) -> u64 {
        self.in_flight.load(Ordering::Relaxed)
    }

    /// Bytes came after the last request: part of a head.
    #[must_use]
    pub fn has_partial_head(&self) -> bool {
        self.sensed.bytes_read() > self.settled_bytes.load(Ordering::Relaxed)
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
