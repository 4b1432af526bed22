//! Counts finished records, for `/metrics`.
//!
//! Every record is counted, even one that no other consumer wants. Labels come from closed sets
//! (classes, legs, phases, known close codes), never from values that a peer chose, so the number
//! of series is fixed. Counting is a few additions per session, under a lock that is held for
//! nothing else.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::session::SessionRecord;
use crate::session::party::Phase;
use crate::session::record::{Class, CloseSeen, Kind, Saw, TransportEnd};
use crate::ws::CloseCode;

/// Upper bounds of the buckets of [`Histogram`], in seconds.
pub(crate) const BUCKETS: [f64; 14] = [
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0,
];

/// The codes that have a series of their own; all others are `other`.
const KNOWN_CODES: [u16; 17] = [
    1000, 1001, 1002, 1003, 1005, 1006, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 3003,
    3008,
];

/// Counts of one tap.
#[derive(Debug, Default)]
pub struct Metrics(Mutex<Counts>);

/// All counters. The keys are label values, in the order of their names in the exposition.
#[derive(Clone, Debug, Default)]
pub struct Counts {
    /// Sessions by kind and verdict class.
    pub sessions: BTreeMap<(&'static str, &'static str), u64>,
    /// Upgrade attempts by the phase that they reached.
    pub attempts: BTreeMap<&'static str, u64>,
    /// Close frames by code and sender.
    pub close_frames: BTreeMap<(String, &'static str), u64>,
    /// Close codes that ends observed, by code and leg; 1005 and 1006 exist only here.
    pub close_observed: BTreeMap<(String, &'static str), u64>,
    /// How legs ended, by kind of end and leg.
    pub transport_ends: BTreeMap<(&'static str, &'static str), u64>,
    /// Seconds that bytes waited for their receiver, by direction.
    pub blocked_seconds: BTreeMap<&'static str, f64>,
    /// How long steps took, by step.
    pub handshakes: BTreeMap<&'static str, Histogram>,
    /// Sessions without a record because of the configuration, by kind.
    pub left_out: BTreeMap<&'static str, u64>,
    /// Sessions that share the record of another session.
    pub joined: u64,
}

/// A histogram of durations.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Histogram {
    /// Durations in each bucket of [`BUCKETS`]; not cumulative.
    pub buckets: [u64; BUCKETS.len()],
    /// All durations, including those beyond the last bound.
    pub count: u64,
    /// Sum in seconds.
    pub sum: f64,
}

impl Metrics {
    /// Counts a judged record.
    pub fn count(&self, record: &SessionRecord) {
        let mut counts = self.lock();
        let class = record
            .verdict
            .as_ref()
            .map_or(Class::Unknown, |it| it.class);
        let kind = kind(record.kind);
        *counts.sessions.entry((kind, class.as_str())).or_default() += 1;
        counts.steps(record);
        if record.kind != Kind::Websocket {
            return;
        }
        *counts.attempts.entry(record.phase.as_str()).or_default() += 1;
        if !record.had_tunnel() {
            return;
        }
        let close = &record.close;
        for (from, seen) in [
            ("client", &close.client),
            ("gateway", &close.gateway),
            ("tap", &close.tap),
        ] {
            if let Some(CloseSeen { code, .. }) = seen {
                let code = code.map_or_else(|| "none".to_owned(), code_label);
                *counts.close_frames.entry((code, from)).or_default() += 1;
            }
        }
        for (leg, saw) in [("client", close.client_saw), ("gateway", close.gateway_saw)] {
            if let Some(Saw { code, .. }) = saw {
                let key = (code_label(code), leg);
                *counts.close_observed.entry(key).or_default() += 1;
            }
        }
        for (leg, end) in [
            ("client", close.transport.client),
            ("gateway", close.transport.gateway),
        ] {
            if end != TransportEnd::None {
                *counts
                    .transport_ends
                    .entry((end.as_str(), leg))
                    .or_default() += 1;
            }
        }
        if let Some(latency) = &record.latency {
            for (direction, ms) in [
                ("to_client", latency.blocked_ms.to_client),
                ("to_gateway", latency.blocked_ms.to_gateway),
            ] {
                *counts.blocked_seconds.entry(direction).or_default() += ms / 1000.0;
            }
        }
    }

    /// Counts a session of this kind that has no record because of the configuration.
    pub fn left_out(&self, of: Kind) {
        *self.lock().left_out.entry(kind(of)).or_default() += 1;
    }

    /// Counts this many more sessions that share the record of another one.
    pub fn joined(&self, sessions: u64) {
        self.lock().joined += sessions;
    }

    /// A copy of all counters.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, Counts> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Counts {
    fn steps(&mut self, record: &SessionRecord) {
        let tls = record.client.tls.as_ref().and_then(|tls| tls.handshake_ms);
        let gateway = record.gateway.as_ref();
        // A kept connection has one TLS handshake and many requests; an answer to a page request is
        // not an upgrade.
        let http = record.kind == Kind::Http;
        let application = (record.began(Phase::Handshake)).zip(record.began(Phase::Open));
        let application = application.map(|(from, to)| {
            let micros = to.0.as_microsecond() - from.0.as_microsecond();
            #[expect(
                clippy::cast_precision_loss,
                reason = "2^53 microseconds are 285 years"
            )]
            let ms = micros as f64 / 1000.0;
            ms
        });
        for (step, ms) in [
            ("tls", tls.filter(|_| !http)),
            ("connect", gateway.and_then(|it| it.connect_ms)),
            (
                "upgrade",
                gateway.filter(|_| !http).and_then(|it| it.upgrade_ms),
            ),
            ("application", application),
        ] {
            if let Some(ms) = ms {
                self.handshakes.entry(step).or_default().add(ms / 1000.0);
            }
        }
    }
}

impl Histogram {
    fn add(&mut self, seconds: f64) {
        let found = BUCKETS.iter().position(|bound| seconds <= *bound);
        if let Some(bucket) = found.and_then(|at| self.buckets.get_mut(at)) {
            *bucket += 1;
        }
        self.count += 1;
        self.sum += seconds;
    }
}

/// The spelling in records.
pub(crate) fn kind(kind: Kind) -> &'static str {
    match kind {
        Kind::Websocket => "websocket",
        Kind::Http => "http",
        Kind::Connection => "connection",
    }
}

fn code_label(code: CloseCode) -> String {
    if KNOWN_CODES.contains(&code.0) {
        code.to_string()
    } else {
        "other".to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::text::PeerText;

    fn closed_by_client(code: u16) -> SessionRecord {
        let mut record = SessionRecord {
            kind: Kind::Websocket,
            phase: Phase::Open,
            ..SessionRecord::default()
        };
        record.close.client = Some(CloseSeen {
            code: Some(CloseCode(code)),
            reason: PeerText::default(),
            at: record.opened_at,
            breaks: Vec::new(),
        });
        record
    }

    #[test]
    fn whatever_code_a_peer_chooses_the_series_stay_few() {
        let metrics = Metrics::default();
        for code in 0..=u16::MAX {
            metrics.count(&closed_by_client(code));
        }
        let counts = metrics.counts();
        assert_eq!(counts.close_frames.len(), KNOWN_CODES.len() + 1);
        let other = counts.close_frames[&("other".to_owned(), "client")];
        assert_eq!(other, 65536 - KNOWN_CODES.len() as u64);
        assert_eq!(counts.attempts["open"], 65536);
    }

    #[test]
    fn a_histogram_counts_what_is_beyond_its_buckets() {
        let mut histogram = Histogram::default();
        for seconds in [0.001, 0.0011, 29.0, 31.0] {
            histogram.add(seconds);
        }
        assert_eq!(histogram.buckets[..2], [1, 1]);
        assert_eq!(histogram.buckets.iter().sum::<u64>(), 3);
        assert_eq!(histogram.count, 4);
    }
}
