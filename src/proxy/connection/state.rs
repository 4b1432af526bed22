//! The part of a connection that its sessions need, and the session that waits for the connection's
//! end.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use super::heads::Heads;
use super::interim::Interim;
use crate::proxy::tap::open_connections::ConnectionGuard;
use crate::session::record::TransportEnd;
use crate::transport::sensed::{End, Sensed};

/// The state of a connection, or of one stream of HTTP/2, that outlasts its requests.
#[derive(Debug)]
pub(crate) struct ConnectionState {
    /// Counts and ending of the connection, from its sensor.
    pub(crate) sensed: Arc<Sensed>,
    /// The heads of its requests.
    pub(crate) heads: Heads,
    /// Interim answers for its client.
    pub(crate) interim: Arc<Interim>,
    /// The session of the last upgrade that was refused or denied, or of the last request whose
    /// client had ended its sending side; kept until the connection ends.
    last: Mutex<LastSession>,
    counted: Arc<ConnectionGuard>,
}

/// A session whose record has to include how its connection ended.
pub(crate) trait AwaitsEnd: fmt::Debug + Send {
    /// Called when the connection has ended, or the task that served it was dropped.
    fn ended(&self, end: End);
}

/// The session that waits for the end of a connection.
#[derive(Debug, Default)]
struct LastSession {
    session: Option<Box<dyn AwaitsEnd>>,
    /// The connection has ended: sessions that are added now do not wait.
    over: bool,
}

impl ConnectionState {
    pub(super) fn new(sensed: Arc<Sensed>, counted: ConnectionGuard) -> Self {
        Self {
            sensed,
            heads: Heads::default(),
            interim: Arc::default(),
            last: Mutex::default(),
            counted: Arc::new(counted),
        }
    }

    /// Keeps the record of a session until the connection ends: the session's answer ends the
    /// connection, or the client had closed its sending side.
    pub(super) fn keep(&self, session: Box<dyn AwaitsEnd>) {
        let mut last = self.last();
        let before = if last.over {
            Some(session)
        } else {
            last.session.replace(session)
        };
        drop(last);
        // Outside of the lock: dropping it may write its record.
        drop(before);
    }

    /// Ends the handshake phase: the first request is read, or the upgrade is answered.
    pub(crate) fn establish(&self) {
        self.counted.establish();
    }

    /// The guard that counts the connection while it is open, for tasks that outlast its requests.
    pub(crate) fn counted(&self) -> Arc<ConnectionGuard> {
        Arc::clone(&self.counted)
    }

    /// Whether the tap is shutting down.
    #[must_use]
    pub(crate) fn is_draining(&self) -> bool {
        self.counted.is_draining()
    }

    fn last(&self) -> MutexGuard<'_, LastSession> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// On drop, reports to the waiting session how its connection ended: by then it has ended, or the
/// task that served it was dropped.
#[derive(Debug)]
pub(crate) struct EndOfConnection(Arc<ConnectionState>);

impl EndOfConnection {
    pub(crate) fn of(state: &Arc<ConnectionState>) -> Self {
        Self(Arc::clone(state))
    }
}

impl Drop for EndOfConnection {
    fn drop(&mut self) {
        let over = LastSession {
            session: None,
            over: true,
        };
        let last = std::mem::replace(&mut *self.0.last(), over);
        let Some(session) = last.session else {
            return;
        };
        session.ended(self.0.sensed.end().unwrap_or_else(|| End {
            kind: TransportEnd::Local,
            cause: None,
            at: Instant::now(),
            tcp: None,
            refused: None,
        }));
    }
}
