//! Where finished records go.
//!
//! Every consumer has a bounded queue and a thread of its own: a slow or full disk, or a reader that does not read,
//! loses records (counted and shown), but never slows traffic. Repeated endings are joined first (`repeats`), so that a
//! flood of them costs no evidence.

mod batch;
pub(crate) mod file;
pub(crate) mod jsonl;
pub(crate) mod line;
pub(crate) mod live;
pub(crate) mod metrics;
pub(crate) mod queue;
pub(crate) mod recent;
mod repeats;

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::session::Moment;
use crate::session::SessionRecord;
use crate::session::memory::{self, Living, Memory};
use crate::session::record::context::{ContextFacts, GoingDown};
use crate::session::record::{ClientFacts, Kind};
use crate::session::text::PeerText;
use crate::session::visits::Visits;
use crate::verdict;
use live::Registry;
use metrics::Metrics;
pub use queue::{Consumer, Flushed, Queue, Unwritten};
use recent::Recent;
use repeats::Joiner;

/// How long the record of a session that vanished waits for others that die with it, and the record
/// of a client that was shown our certificate and left waits for a request from its address.
const SIBLINGS: Duration = Duration::from_secs(1);

/// Interval at which waiting records are checked.
pub const SETTLE_EVERY: Duration = Duration::from_millis(200);

/// Maximum number of waiting records; further ones are judged at once.
const MAX_WAITING: usize = 4096;

/// Connections without a request wait only while fewer than this many wait, so that strangers
/// cannot take the places of sessions.
const MAX_WAITING_VISITS: usize = MAX_WAITING / 2;

/// Takes finished records, judges them and hands them to every consumer.
#[derive(Debug)]
pub struct RecordPipeline {
    queues: Vec<Queue>,
    wanted: Wanted,
    metrics: Metrics,
    live: Arc<Registry>,
    /// The last records; only kept if something can show them.
    last: Option<Recent>,
    ended: Mutex<Ended>,
    /// `None`: repeated endings are not joined.
    joiner: Mutex<Option<Joiner>>,
    visits: Mutex<Visits>,
}

/// Sessions that ended recently.
#[derive(Debug, Default)]
struct Ended {
    memory: Memory,
    /// In the order of their time: sessions that vanished, each of which waits for its siblings, and
    /// connections without a request.
    waiting: VecDeque<(Instant, SessionRecord)>,
    /// Whether records are no longer held back.
    closed: bool,
}

/// Which records consumers get, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// For plain HTTP requests.
    pub http: Filter,
    /// For connections that ended before a request.
    pub connections: Filter,
    /// Whether repeated endings are joined into one record.
    pub joined: bool,
}

/// Which records of a kind consumers get.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Filter {
    /// Only records of sessions that did not end well.
    Errors,
    /// Every record.
    All,
    /// No record.
    None,
}

impl Wanted {
    /// Every record.
    pub const ALL: Self = Self {
        http: Filter::All,
        connections: Filter::All,
        joined: false,
    };
}

impl RecordPipeline {
    /// A pipeline that hands records to these consumers.
    #[must_use]
    pub fn new(queues: Vec<Queue>, wanted: Wanted) -> Self {
        Self {
            queues,
            wanted,
            metrics: Metrics::default(),
            live: Arc::default(),
            last: None,
            ended: Mutex::default(),
            joiner: Mutex::new(wanted.joined.then(Joiner::default)),
            visits: Mutex::default(),
        }
    }

    /// Keeps the last records for [`Self::recent`].
    #[must_use]
    pub fn keeping_recent(mut self) -> Self {
        self.last = Some(Recent::default());
        self
    }

    /// Judges a record, hands it on, and returns it with its verdict. The record of a session that vanished is judged a
    /// little later, because others that end with it may explain it; then this returns `None`. The same holds for a
    /// client that was shown our certificate and left: a browser that opens two connections drops one of them when its
    /// request goes out on the other. Never blocks.
    pub fn publish(&self, record: SessionRecord, now: Instant) -> Option<Arc<SessionRecord>> {
        let mut ended = self.ended();
        ended.memory.note(&record);
        let most = if memory::lost(&record).is_some() {
            MAX_WAITING
        } else if record.left_at_certificate() {
            MAX_WAITING_VISITS
        } else {
            0
        };
        if ended.waiting.len() < most && !ended.closed {
            ended.waiting.push_back((now + SIBLINGS, record));
            return None;
        }
        let context = self.context(&ended.memory, &record);
        drop(ended);
        Some(self.judge(record, context, now))
    }

    /// Judges one record whose siblings have had their time; `false` if there is none. One at a
    /// time, so that thousands of sessions that end together do not delay the other sessions of a
    /// thread.
    pub fn settle_one(&self, now: Instant) -> bool {
        let mut ended = self.ended();
        if ended.waiting.front().is_none_or(|(due, _)| *due > now) {
            return false;
        }
        let Some((_, record)) = ended.waiting.pop_front() else {
            return false;
        };
        let context = self.context(&ended.memory, &record);
        drop(ended);
        self.judge(record, context, now);
        true
    }

    /// Remembers that the gateway announced to an open session that it goes down; `boot` identifies
    /// its process.
    pub fn announce(&self, gateway: &str, boot: Option<PeerText>, down: GoingDown) {
        self.ended().memory.announce(gateway, boot, down);
    }

    /// What other sessions show about this one, including sessions that are still open.
    fn context(&self, memory: &Memory, record: &SessionRecord) -> Option<ContextFacts> {
        let url = record.gateway.as_ref().map_or("", |gateway| &gateway.url);
        let living = memory::asks(record).map(|asks| Living {
            survivors: self.live.open_since(url, asks.before),
            let_in: self.live.let_in(url, asks.before),
            answers: if asks.answers {
                self.live.answers(url, &record.client.addr)
            } else {
                Vec::new()
            },
        });
        memory.context(record, &living.unwrap_or_default())
    }

    /// Hands on one joined record that is due; `false` when there is none.
    pub fn release_one(&self, now: Instant) -> bool {
        let released = self.joiner().as_mut().and_then(|joiner| joiner.due(now));
        if let Some(record) = &released {
            self.release(record);
        }
        released.is_some()
    }

    fn judge(
        &self,
        mut record: SessionRecord,
        context: Option<ContextFacts>,
        now: Instant,
    ) -> Arc<SessionRecord> {
        record.context = context.or_else(|| self.visits().context(&record));
        let verdict = verdict::decide(&record);
        let fine = verdict.class.is_fine();
        tracing::debug!(id = %record.id, rule = verdict.rule, class = ?verdict.class, "session judged");
        record.verdict = Some(verdict);
        self.metrics.count(&record);
        let filter = match record.kind {
            Kind::Websocket => Filter::All,
            Kind::Http => self.wanted.http,
            Kind::Connection => self.wanted.connections,
        };
        let record = Arc::new(record);
        if filter == Filter::None || (filter == Filter::Errors && fine) {
            self.metrics.left_out(record.kind);
            return record;
        }
        let is_for_itself = match self.joiner().as_mut() {
            Some(joiner) => joiner.admit(&record, now),
            None => true,
        };
        if is_for_itself {
            self.hand_on(&record);
        } else {
            tracing::debug!(id = %record.id, "a record is joined with others that are alike");
        }
        record
    }

    fn release(&self, record: &Arc<SessionRecord>) {
        let count = record.repeats.map_or(1, |repeats| repeats.count);
        self.metrics.joined(count - 1);
        self.hand_on(record);
    }

    fn hand_on(&self, record: &Arc<SessionRecord>) {
        tracing::debug!(id = %record.id, "record queued");
        for queue in &self.queues {
            queue.offer(Arc::clone(record));
        }
        if let Some(last) = &self.last {
            last.keep(Arc::clone(record));
        }
    }

    fn joiner(&self) -> MutexGuard<'_, Option<Joiner>> {
        self.joiner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Records the first request of a connection.
    pub fn asked(&self, client: &ClientFacts, at: Moment) {
        self.visits().asked(client, at);
    }

    fn visits(&self) -> MutexGuard<'_, Visits> {
        self.visits.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn ended(&self) -> MutexGuard<'_, Ended> {
        self.ended.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counters of all records.
    #[must_use]
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// The open sessions, whose records are yet to come.
    #[must_use]
    pub fn live(&self) -> &Arc<Registry> {
        &self.live
    }

    /// The last records that consumers got, the last one first; empty unless they are kept.
    #[must_use]
    pub fn recent(&self) -> Vec<Arc<SessionRecord>> {
        self.last.as_ref().map(Recent::look).unwrap_or_default()
    }

    /// Number of records that each consumer has lost so far.
    #[must_use]
    pub fn lost(&self) -> Vec<(String, u64)> {
        self.queues
            .iter()
            .map(|queue| (queue.name().to_owned(), queue.dropped()))
            .collect()
    }

    /// Number of records that found a queue full, by consumer; consumers without loss are left out.
    #[must_use]
    pub fn dropped(&self) -> Vec<(String, u64)> {
        let mut lost = self.lost();
        lost.retain(|(_, count)| *count > 0);
        lost
    }

    /// Asks consumers to check whether the destination of their writes is still in place.
    pub fn look(&self) {
        for queue in &self.queues {
            queue.look();
        }
    }

    /// Passes on an event outside any session; only the lines for people show it.
    pub fn notice(&self, text: &str, at: Moment) {
        for queue in &self.queues {
            queue.notice(text, at);
        }
    }

    /// Judges the records that still wait, and writes what is queued, within `limit`. Records that
    /// are not written by then are counted as lost, and so are records that are published later.
    pub fn close(&self, limit: Duration) {
        let until = Instant::now() + limit;
        let all = Instant::now() + SIBLINGS;
        self.ended().closed = true;
        while self.settle_one(all) {}
        // No more joining from here on: late records are lost, and counted one by one.
        let mut joiner = self.joiner().take();
        while let Some(record) = joiner.as_mut().and_then(Joiner::rest) {
            self.release(&record);
        }
        // Close the queues in parallel: a slow one must not use up the others' time.
        for queue in &self.queues {
            queue.end();
        }
        for queue in &self.queues {
            queue.close(until);
        }
    }
}

#[cfg(test)]
mod tests;
