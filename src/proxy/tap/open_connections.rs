//! How many connections are open, and how many of them have not got through to a session yet.

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

/// How many were open before one more was counted.
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

    /// Connections that have not got through to a session yet.
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

    /// Waits until the number of open connections is as wanted.
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
    /// It counts among the handshakes.
    handshake: AtomicBool,
    place: Option<ClientSlot>,
}

impl ConnectionGuard {
    /// Keeps the place of its client.
    pub(crate) fn keep(&mut self, place: ClientSlot) {
        self.place = Some(place);
    }

    /// The tap is shutting down.
    pub(crate) fn is_draining(&self) -> bool {
        self.counts.drain.has_begun()
    }

    /// It has got through: it is no handshake any more.
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
