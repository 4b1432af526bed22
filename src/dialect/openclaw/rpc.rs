//! Requests of the client and the gateway's answers to them, in bounded tables.

use std::time::{Duration, Instant};

use super::front::{Failure, Front, Kind};
use crate::dialect::protocol::Ending;
use crate::session::moment::millis;
use crate::session::record::dialect::{
    MethodFacts, RpcFacts, RpcFailure, RpcLatency, UnansweredRequest,
};
use crate::session::text::PeerText;

/// Maximum number of pending requests.
const MOST_WAITING: usize = 256;

/// Maximum number of methods with a row of their own.
const MOST_METHODS: usize = 32;

/// Longest method name that a record keeps.
const METHOD_CAP: usize = 64;

/// Maximum number of unanswered requests in a record.
const MOST_UNANSWERED: usize = 16;

/// Maximum number of kinds of failure.
const MOST_FAILURES: usize = 16;

/// The requests of one session.
#[derive(Debug, Default)]
pub(super) struct Rpc {
    /// Ids of pending requests, in no order. Few are pending at a time, so a linear search is
    /// fastest; the ids are kept separately for that.
    ids: Vec<u64>,
    /// The requests, each at the same index as its id.
    waiting: Vec<Waiting>,
    rows: Vec<Row>,
    /// The methods without a row of their own.
    rest: Option<Box<Row>>,
    failures: Vec<(PeerText, Failure, u64, Instant)>,
    counts: Counts,
}

/// Counters as in the record.
#[derive(Clone, Copy, Debug, Default)]
struct Counts {
    requests: u64,
    responses: u64,
    errors: u64,
    unmatched: u64,
    duplicate_ids: u64,
    untracked: u64,
    unseen_to_gateway: u64,
    unseen_to_client: u64,
}

/// A request without an answer yet.
#[derive(Debug)]
struct Waiting {
    /// Its number among all requests.
    number: u64,
    method: Method,
    at: Instant,
    end: u64,
    /// Whether the gateway accepted it; the result comes in a second answer.
    accepted: bool,
}

/// A request's method.
#[derive(Debug)]
enum Method {
    /// Index of the row with its name.
    Row(usize),
    /// All rows were taken.
    Other(PeerText),
}

#[derive(Debug, Default)]
struct Row {
    /// The name as it came; empty for the row of all other methods.
    raw: Box<[u8]>,
    name: Option<PeerText>,
    requests: u64,
    responses: u64,
    errors: u64,
    fastest: Option<Duration>,
    slowest: Duration,
    total: Duration,
}

impl Row {
    fn answered(&mut self, latency: Duration) {
        self.responses += 1;
        self.fastest = Some(self.fastest.map_or(latency, |fastest| fastest.min(latency)));
        self.slowest = self.slowest.max(latency);
        self.total += latency;
    }

    fn facts(&self) -> MethodFacts {
        MethodFacts {
            method: self.name.clone(),
            requests: self.requests,
            responses: self.responses,
            errors: self.errors,
            latency_ms: self.fastest.map(|fastest| {
                #[expect(clippy::cast_precision_loss, reason = "no session has 2^53 answers")]
                let mean = millis(self.total) / self.responses.max(1) as f64;
                RpcLatency {
                    min: millis(fastest),
                    mean: (mean * 1000.0).round() / 1000.0,
                    max: millis(self.slowest),
                }
            }),
        }
    }
}

impl Rpc {
    /// Records a message of the client. `end` is the position of the last byte that can be part of
    /// it.
    pub(super) fn client_said(&mut self, front: Front<'_>, end: u64, now: Instant) {
        match front {
            Front {
                kind: Some(Kind::Request),
                id: Some(id),
                method: Some(name),
                ..
            } => self.request(id, &name, end, now),
            Front {
                kind: Some(Kind::Request) | None,
                ..
            } => self.unseen_to_gateway(),
            _ => {}
        }
    }

    fn request(&mut self, id: u64, name: &[u8], end: u64, now: Instant) {
        self.counts.requests += 1;
        let method = self.method(name);
        self.row(&method).requests += 1;
        if self.ids.contains(&id) {
            self.counts.duplicate_ids += 1;
        } else if self.waiting.len() >= MOST_WAITING {
            self.counts.untracked += 1;
        } else {
            if self.waiting.is_empty() {
                // Usually one request is pending at a time: no room for more until more come.
                self.waiting.reserve_exact(1);
            }
            self.ids.push(id);
            self.waiting.push(Waiting {
                number: self.counts.requests,
                method,
                at: now,
                end,
                accepted: false,
            });
        }
    }

    /// Records a message of the gateway. `accepted`: a response that only says that the work has
    /// begun.
    pub(super) fn gateway_said(&mut self, front: Front<'_>, accepted: bool, now: Instant) {
        let (id, ok) = match front {
            Front {
                kind: Some(Kind::Response),
                id: Some(id),
                ok: Some(ok),
                ..
            } => (id, ok),
            Front {
                kind: Some(Kind::Response) | None,
                ..
            } => return self.unseen_to_client(),
            _ => return,
        };
        let Some(at) = self.ids.iter().position(|waiting| *waiting == id) else {
            self.counts.unmatched += 1;
            return;
        };
        self.ids.swap_remove(at);
        let mut waiting = self.waiting.swap_remove(at);
        let first = !waiting.accepted;
        if first {
            self.counts.responses += 1;
            let latency = now.saturating_duration_since(waiting.at);
            self.row(&waiting.method).answered(latency);
        }
        if !ok {
            self.counts.errors += 1;
            self.row(&waiting.method).errors += 1;
            let failure = front.error.map(|failure| *failure).unwrap_or_default();
            let method = self.name(&waiting.method);
            self.failed(method, failure, now);
        } else if accepted && first {
            waiting.accepted = true;
            self.ids.push(id);
            self.waiting.push(waiting);
        }
    }

    fn failed(&mut self, method: PeerText, failure: Failure, now: Instant) {
        let has_room = self.failures.len() < MOST_FAILURES;
        let known = self.failures.iter_mut().find(|(known, other, ..)| {
            *known == method
                && other.error.code == failure.error.code
                && other.error.details_code == failure.error.details_code
                && other.missing_scope == failure.missing_scope
        });
        match known {
            Some((_, _, count, _)) => *count += 1,
            None if has_room => {
                self.failures.push((method, failure, 1, now));
            }
            None => {}
        }
    }

    pub(super) fn unseen_to_gateway(&mut self) {
        self.counts.unseen_to_gateway += 1;
    }

    pub(super) fn unseen_to_client(&mut self) {
        self.counts.unseen_to_client += 1;
    }

    fn method(&mut self, name: &[u8]) -> Method {
        if let Some(at) = self.rows.iter().position(|row| *row.raw == *name) {
            return Method::Row(at);
        }
        let shown = PeerText::from_bytes(name, METHOD_CAP);
        if self.rows.len() >= MOST_METHODS {
            return Method::Other(shown);
        }
        if self.rows.len() < 4 {
            // Many sessions use one or two methods, and each row is large.
            self.rows.reserve_exact(1);
        }
        self.rows.push(Row {
            raw: name.into(),
            name: Some(shown),
            ..Row::default()
        });
        Method::Row(self.rows.len() - 1)
    }

    fn row(&mut self, method: &Method) -> &mut Row {
        let row = match method {
            Method::Row(at) => self.rows.get_mut(*at),
            Method::Other(_) => None,
        };
        row.unwrap_or_else(|| self.rest.get_or_insert_default())
    }

    fn name(&self, method: &Method) -> PeerText {
        let name = match method {
            Method::Row(at) => self.rows.get(*at).and_then(|row| row.name.clone()),
            Method::Other(name) => Some(name.clone()),
        };
        name.unwrap_or_default()
    }

    /// The facts for the record.
    pub(super) fn facts(&self, ending: &Ending<'_>) -> RpcFacts {
        let counts = self.counts;
        let mut facts = RpcFacts {
            requests: counts.requests,
            responses: counts.responses,
            errors: counts.errors,
            unmatched: counts.unmatched,
            duplicate_ids: counts.duplicate_ids,
            untracked: counts.untracked,
            unseen_to_gateway: counts.unseen_to_gateway,
            unseen_to_client: counts.unseen_to_client,
            ..RpcFacts::default()
        };
        let rest = self.rest.as_deref().filter(|rest| rest.requests > 0);
        facts.methods = self.rows.iter().chain(rest).map(Row::facts).collect();
        facts.failures = self
            .failures
            .iter()
            .map(|(method, failure, count, first)| RpcFailure {
                method: method.clone(),
                code: failure.error.code.clone(),
                details_code: failure.error.details_code.clone(),
                message: failure.error.message.clone(),
                missing_scope: failure.missing_scope.clone(),
                count: *count,
                first_at: ending.anchor.at(*first),
            })
            .collect();
        if facts.unseen_to_client == 0 {
            let (count, oldest) = self.left(false, ending);
            (facts.unanswered_count, facts.unanswered) = (Some(count), oldest);
            let (count, oldest) = self.left(true, ending);
            (facts.unfinished_count, facts.unfinished) = (Some(count), oldest);
        }
        facts
    }

    /// Number of requests that wait for an answer, or for the result after they were accepted; and
    /// the oldest of them.
    fn left(&self, accepted: bool, ending: &Ending<'_>) -> (u64, Vec<UnansweredRequest>) {
        let mut left: Vec<&Waiting> = self
            .waiting
            .iter()
            .filter(|waiting| waiting.accepted == accepted)
            .collect();
        left.sort_by_key(|waiting| waiting.number);
        let oldest = left.iter().take(MOST_UNANSWERED);
        let oldest = oldest.map(|waiting| UnansweredRequest {
            method: self.name(&waiting.method),
            at: ending.anchor.at(waiting.at),
            age_ms: millis(ending.now.saturating_duration_since(waiting.at)),
            written: waiting.end <= ending.written_to_gateway,
        });
        (left.len() as u64, oldest.collect())
    }
}
