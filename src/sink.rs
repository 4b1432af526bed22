//! Where finished records go.
//!
//! Every consumer has a bounded queue and a thread of its own: a slow or full disk, or a reader
//! that does not read, costs records (counted and shown), never traffic.

pub mod jsonl;
pub mod line;
pub mod queue;

use std::sync::Arc;
use std::time::Duration;

use crate::session::SessionRecord;
use crate::session::record::Kind;
use crate::verdict;
pub use queue::{Consumer, Queue};

/// Takes finished records, judges them and hands them to every consumer.
#[derive(Debug)]
pub struct Outlet {
    queues: Vec<Queue>,
    http: HttpFilter,
}

/// Which `http` records are handed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HttpFilter {
    /// Those that did not end well.
    Errors,
    /// Every one.
    All,
    /// Not one.
    None,
}

impl Outlet {
    /// An outlet with these consumers.
    #[must_use]
    pub fn new(queues: Vec<Queue>, http: HttpFilter) -> Self {
        Self { queues, http }
    }

    /// Judges a record, hands it on, and gives it back with its verdict. Never waits.
    #[expect(
        clippy::must_use_candidate,
        reason = "it is called to hand the record on"
    )]
    pub fn publish(&self, mut record: SessionRecord) -> Arc<SessionRecord> {
        let verdict = verdict::decide(&record);
        let fine = verdict.class.is_fine();
        record.verdict = Some(verdict);
        let wanted = match (record.kind, self.http) {
            (Kind::Http, HttpFilter::None) => false,
            (Kind::Http, HttpFilter::Errors) => !fine,
            _ => true,
        };
        let record = Arc::new(record);
        for queue in self.queues.iter().filter(|_| wanted) {
            queue.offer(Arc::clone(&record));
        }
        record
    }

    /// Records that found a queue full, by consumer; those without loss are left out.
    #[must_use]
    pub fn dropped(&self) -> Vec<(String, u64)> {
        self.queues
            .iter()
            .map(|queue| (queue.name().to_owned(), queue.dropped()))
            .filter(|(_, count)| *count > 0)
            .collect()
    }

    /// Writes out what is queued, waiting at most so long for each consumer.
    pub fn close(&self, limit: Duration) {
        for queue in &self.queues {
            queue.close(limit);
        }
    }
}
