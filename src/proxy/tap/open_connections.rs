//! Counts of open connections, and of those among them that have not reached a session yet.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use tokio::sync::Notify;

use super::clients::ClientSlot;
use super::drain::Drain;

/// Counts of open connections, and whether they must end.
#[derive(Debug, Default)]
pub(crate) struct OpenConnections {
    connections: AtomicUsize,
    /// The number of connections has changed.
    changed: Notify,
    handshakes: AtomicUsize,
    drain: Arc<Drain>,
}

/// The counts before one more connection was counted.
#[derive(Clone, Copy, Debug)]
pub(super) struct Before {
    pub(super) connections: usize,
    pub(super) handshakes: usize,
}

impl OpenConnections {
    pub(super) fn new(drain: &Arc<Drain>) -> Arc<Self> {
        Arc::new(Self {
            drain: Arc::clone(drain),
            ..Self::default()
        })
    }

    /// Connections and tunnels that are open.
    pub(super) fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }

    /// Connections that have not reached a session yet.
    pub(super) fn handshakes(&self) -> usize {
        self.handshakes.load(Ordering::Relaxed)
    }

    /// Counts one more while the guard lives.
    pub(super) fn enter(self: &Arc<Self>) -> (ConnectionGuard, Before) {
        let connections = self.connections.fetch_add(1, Ordering::Relaxed);
        self.changed.notify_waiters();
        let handshakes = self.handshakes.fetch_add(1, Ordering::Relaxed);
        let guard = ConnectionGuard {
            counts: Arc::clone(self),
            handshake: AtomicBool::new(true),
            place: None,
        };
        let before = Before {
            connections,
            handshakes,
        };
        (guard, before)
    }

    /// Waits until `is_so` holds for the number of open connections.
    pub(super) async fn until(&self, is_so: impl Fn(usize) -> bool) {
        let mut changed = pin!(self.changed.notified());
        loop {
            // Before the check, so that no change after it is missed.
            changed.as_mut().enable();
            if is_so(self.connections()) {
                return;
            }
            changed.as_mut().await;
            changed.set(self.changed.notified());
        }
    }
}

/// Counts one connection until it is dropped.
#[derive(Debug)]
pub(crate) struct ConnectionGuard {
    counts: Arc<OpenConnections>,
    /// The connection counts as a handshake.
    handshake: AtomicBool,
    place: Option<ClientSlot>,
}

impl ConnectionGuard {
    /// Holds its client's slot.
    pub(crate) fn keep(&mut self, place: ClientSlot) {
        self.place = Some(place);
    }

    /// Whether the tap is shutting down.
    pub(crate) fn is_draining(&self) -> bool {
        self.counts.drain.has_begun()
    }

    /// Stops counting the connection as a handshake: it has reached a session.
    pub(crate) fn establish(&self) {
        if self.handshake.swap(false, Ordering::Relaxed) {
            self.counts.handshakes.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

impl Drop for ConnectionGuard {
    fn drop(&mut self) {
        self.establish();
        self.counts.connections.fetch_sub(1, Ordering::Relaxed);
        self.counts.changed.notify_waiters();
    }
}
