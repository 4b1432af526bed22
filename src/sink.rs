//! Where finished records go.
//!
//! Every consumer has a bounded queue and a thread of its own: a slow or full disk, or a reader
//! that does not read, costs records (counted and shown), never traffic.

mod batch;
pub mod file;
pub mod jsonl;
pub mod line;
pub mod live;
pub mod metrics;
pub mod queue;
pub mod recent;

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::session::Moment;
use crate::session::SessionRecord;
use crate::session::memory::{self, Memory};
use crate::session::record::{ClientFacts, ContextFacts, Kind};
use crate::session::visits::Visits;
use crate::verdict;
use live::Registry;
use metrics::Metrics;
pub use queue::{Consumer, Flushed, Queue, Unwritten};
use recent::Recent;

/// How long a session that vanished waits for others that die with it.
const SIBLINGS: Duration = Duration::from_secs(1);

/// How often the waiting ones are looked at.
pub const SETTLE_EVERY: Duration = Duration::from_millis(200);

/// Sessions that wait at most; further ones are judged at once.
const MAX_WAITING: usize = 4096;

/// Takes finished records, judges them and hands them to every consumer.
#[derive(Debug)]
pub struct Outlet {
    queues: Vec<Queue>,
    http: HttpFilter,
    metrics: Metrics,
    live: Arc<Registry>,
    /// Only where somebody can look at them.
    last: Option<Recent>,
    ended: Mutex<Ended>,
    visits: Mutex<Visits>,
}

/// What has ended lately.
#[derive(Debug, Default)]
struct Ended {
    memory: Memory,
    /// Sessions that vanished, in the order of their time: each waits for its siblings.
    waiting: VecDeque<(Instant, SessionRecord)>,
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
        Self {
            queues,
            http,
            metrics: Metrics::default(),
            live: Arc::default(),
            last: None,
            ended: Mutex::default(),
            visits: Mutex::default(),
        }
    }

    /// Keeps the last records for [`Self::recent`].
    #[must_use]
    pub fn keeping_recent(mut self) -> Self {
        self.last = Some(Recent::default());
        self
    }

    /// Judges a record, hands it on, and gives it back with its verdict. One that vanished without
    /// a word is judged a little later, because others that die with it explain it: then there is
    /// nothing to give back. Never waits.
    pub fn publish(&self, record: SessionRecord) -> Option<Arc<SessionRecord>> {
        let mut ended = self.ended();
        ended.memory.note(&record);
        if memory::lost(&record).is_some() && ended.waiting.len() < MAX_WAITING {
            ended.waiting.push_back((Instant::now() + SIBLINGS, record));
            return None;
        }
        let context = ended.memory.context(&record);
        drop(ended);
        let context = context.or_else(|| self.visits().context(&record));
        Some(self.judge(record, context))
    }

    /// Judges one record whose siblings have had their time; `false` when there is none. One at a
    /// time, so that thousands that end together do not hold up the sessions of a thread.
    pub fn settle_one(&self, now: Instant) -> bool {
        let mut ended = self.ended();
        if ended.waiting.front().is_none_or(|(due, _)| *due > now) {
            return false;
        }
        let Some((_, record)) = ended.waiting.pop_front() else {
            return false;
        };
        let context = ended.memory.context(&record);
        drop(ended);
        self.judge(record, context);
        true
    }

    fn judge(
        &self,
        mut record: SessionRecord,
        context: Option<ContextFacts>,
    ) -> Arc<SessionRecord> {
        record.context = context;
        let verdict = verdict::decide(&record);
        let fine = verdict.class.is_fine();
        record.verdict = Some(verdict);
        self.metrics.count(&record);
        let wanted = match (record.kind, self.http) {
            (Kind::Http, HttpFilter::None) => false,
            (Kind::Http, HttpFilter::Errors) => !fine,
            _ => true,
        };
        let record = Arc::new(record);
        if wanted {
            for queue in &self.queues {
                queue.offer(Arc::clone(&record));
            }
            if let Some(last) = &self.last {
                last.keep(Arc::clone(&record));
            }
        }
        record
    }

    /// A request came, the first of its connection.
    pub fn asked(&self, client: &ClientFacts, at: Moment) {
        self.visits().asked(client, at);
    }

    fn visits(&self) -> MutexGuard<'_, Visits> {
        self.visits.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn ended(&self) -> MutexGuard<'_, Ended> {
        self.ended.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What has been counted of all records.
    #[must_use]
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// The sessions whose records are yet to come.
    #[must_use]
    pub fn live(&self) -> &Arc<Registry> {
        &self.live
    }

    /// The last records that consumers got, the last one first; none unless they are kept.
    #[must_use]
    pub fn recent(&self) -> Vec<Arc<SessionRecord>> {
        self.last.as_ref().map(Recent::look).unwrap_or_default()
    }

    /// Records that every consumer has lost so far.
    #[must_use]
    pub fn lost(&self) -> Vec<(String, u64)> {
        self.queues
            .iter()
            .map(|queue| (queue.name().to_owned(), queue.dropped()))
            .collect()
    }

    /// Records that found a queue full, by consumer; those without loss are left out.
    #[must_use]
    pub fn dropped(&self) -> Vec<(String, u64)> {
        let mut lost = self.lost();
        lost.retain(|(_, count)| *count > 0);
        lost
    }

    /// Has consumers look whether what they write to is still where it should be.
    pub fn look(&self) {
        for queue in &self.queues {
            queue.look();
        }
    }

    /// Judges what still waits, and writes out what is queued, for at most so long; what is not
    /// written by then is counted as lost, as is what is published later.
    pub fn close(&self, limit: Duration) {
        let until = Instant::now() + limit;
        let all = Instant::now() + SIBLINGS;
        while self.settle_one(all) {}
        // Side by side: a slow one must not take the others' time.
        for queue in &self.queues {
            queue.end();
        }
        for queue in &self.queues {
            queue.close(until);
        }
    }
}
