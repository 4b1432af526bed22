//! What a peer saw, for tests to wait for.

use std::sync::Arc;

use tokio::sync::watch;
use tokio::time::timeout;

use super::deadline::STEP;
use super::frame::Frame;
use super::head::Head;
use super::wire::Ending;

/// One thing that a peer saw.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Seen {
    /// A connection was accepted (and, with TLS, its handshake is done).
    Accepted,
    /// A request head.
    Head(Head),
    /// A frame, payload unmasked.
    Frame(Frame),
    /// Raw bytes, by peers that do not look for frames.
    Bytes(Vec<u8>),
    /// How the far end ended the connection.
    Ended(Ending),
}

/// What was seen on which connection, counted from 0.
#[derive(Clone, Debug)]
pub struct Entry {
    pub connection: usize,
    pub seen: Seen,
}

/// Everything that a peer saw, in order.
#[derive(Clone)]
pub struct Log(Arc<watch::Sender<Vec<Entry>>>);

impl Log {
    pub fn new() -> Self {
        Self(Arc::new(watch::Sender::new(Vec::new())))
    }

    pub fn push(&self, connection: usize, seen: Seen) {
        self.0
            .send_modify(|entries| entries.push(Entry { connection, seen }));
    }

    /// What `find` finds, as soon as it is there.
    pub async fn wait<T>(&self, what: &str, find: impl Fn(&[Entry]) -> Option<T>) -> T {
        let mut found = None;
        let mut watch = self.0.subscribe();
        let looking = watch.wait_for(|entries| {
            found = find(entries);
            found.is_some()
        });
        let outcome = timeout(STEP, looking).await;
        let in_time = outcome.is_ok();
        drop(outcome);
        found.filter(|_| in_time).unwrap_or_else(|| {
            panic!(
                "waited {STEP:?} for {what}; the peer saw {}",
                self.summary()
            )
        })
    }

    /// Returns when a connection was accepted, TLS included.
    pub async fn accepted(&self, connection: usize) {
        self.first("a connection", connection, |seen| {
            matches!(seen, Seen::Accepted).then_some(())
        })
        .await;
    }

    /// The first request head of a connection.
    pub async fn head(&self, connection: usize) -> Head {
        self.first("a request head", connection, |seen| match seen {
            Seen::Head(head) => Some(head.clone()),
            _ => None,
        })
        .await
    }

    /// The Close frame that came on a connection: code and reason.
    pub async fn close(&self, connection: usize) -> (Option<u16>, String) {
        self.first("a Close frame", connection, |seen| match seen {
            Seen::Frame(frame) => frame.as_close(),
            _ => None,
        })
        .await
    }

    /// The first data frame of a connection.
    pub async fn data(&self, connection: usize) -> Frame {
        self.first("a data frame", connection, |seen| match seen {
            Seen::Frame(frame) if frame.opcode < super::frame::CLOSE => Some(frame.clone()),
            _ => None,
        })
        .await
    }

    /// How the far end ended a connection.
    pub async fn ending(&self, connection: usize) -> Ending {
        self.first("the end of the connection", connection, |seen| match seen {
            Seen::Ended(ending) => Some(ending.clone()),
            _ => None,
        })
        .await
    }

    /// The raw bytes of a connection, as soon as there are `len` of them.
    pub async fn bytes(&self, connection: usize, len: usize) -> Vec<u8> {
        let enough = |entries: &[Entry]| {
            let on_it = entries
                .iter()
                .filter(|entry| entry.connection == connection);
            let pieces = on_it.filter_map(|entry| match &entry.seen {
                Seen::Bytes(bytes) => Some(bytes.as_slice()),
                _ => None,
            });
            let pieces: Vec<&[u8]> = pieces.collect();
            let sum: usize = pieces.iter().map(|piece| piece.len()).sum();
            (sum >= len).then(|| pieces.concat())
        };
        self.wait("raw bytes", enough).await
    }

    /// How often something was seen so far.
    pub fn count(&self, is_it: impl Fn(&Seen) -> bool) -> usize {
        self.0
            .borrow()
            .iter()
            .filter(|entry| is_it(&entry.seen))
            .count()
    }

    /// The request heads of all connections so far, in order.
    pub fn heads(&self) -> Vec<Head> {
        let entries = self.0.borrow();
        let heads = entries.iter().filter_map(|entry| match &entry.seen {
            Seen::Head(head) => Some(head.clone()),
            _ => None,
        });
        heads.collect()
    }

    /// Connections accepted so far.
    pub fn connections(&self) -> usize {
        self.count(|seen| matches!(seen, Seen::Accepted))
    }

    /// Request heads read so far.
    pub fn requests(&self) -> usize {
        self.count(|seen| matches!(seen, Seen::Head(_)))
    }

    async fn first<T>(
        &self,
        what: &str,
        connection: usize,
        pick: impl Fn(&Seen) -> Option<T>,
    ) -> T {
        self.wait(what, |entries| {
            let mut on_it = entries
                .iter()
                .filter(|entry| entry.connection == connection);
            on_it.find_map(|entry| pick(&entry.seen))
        })
        .await
    }

    /// Short enough to print.
    fn summary(&self) -> String {
        let entries = self.0.borrow();
        let last = entries.iter().rev().take(12).rev();
        let shown = last.map(|entry| {
            let mut text = format!("{}:{:?}", entry.connection, entry.seen);
            if let Some((cut, _)) = text.char_indices().nth(160) {
                text.truncate(cut);
            }
            text
        });
        shown.collect::<Vec<_>>().join(" | ")
    }
}
