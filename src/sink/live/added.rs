//! Added latency of one open session, written only by its relay and read by others.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use crate::session::added::{Added, BUCKETS};

/// Like [`Added`], but with a single writer, so that a load and a store are enough for an addition.
#[derive(Debug)]
pub(super) struct Counting {
    counts: [AtomicU64; BUCKETS],
    sum_ns: AtomicU64,
    max_ns: AtomicU64,
}

impl Default for Counting {
    fn default() -> Self {
        Self {
            counts: std::array::from_fn(|_| AtomicU64::new(0)),
            sum_ns: AtomicU64::new(0),
            max_ns: AtomicU64::new(0),
        }
    }
}

impl Counting {
    pub(super) fn count(&self, took: Duration) {
        let ns = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        if let Some(count) = self.counts.get(Added::bucket(ns)) {
            count.store(count.load(Relaxed) + 1, Relaxed);
        }
        let sum = self.sum_ns.load(Relaxed).saturating_add(ns);
        self.sum_ns.store(sum, Relaxed);
        if ns > self.max_ns.load(Relaxed) {
            self.max_ns.store(ns, Relaxed);
        }
    }

    pub(super) fn look(&self) -> Added {
        let mut added = Added::default();
        for (seen, count) in added.counts.iter_mut().zip(&self.counts) {
            *seen = count.load(Relaxed);
        }
        added.sum_ns = self.sum_ns.load(Relaxed);
        added.max_ns = self.max_ns.load(Relaxed);
        added
    }
}
