//! The time that the tap adds: from the moment a slice can be read to the moment it is written.
//!
//! Counted in buckets, so that a session of any length needs the same few bytes. The bounds are
//! fixed and shared with `/metrics`.

use super::record::frames::AddedLatency;

/// Upper bounds of the buckets in microseconds; one more bucket holds what is longer.
pub(crate) const BOUNDS_US: [u32; 40] = [
    1, 2, 3, 4, 5, 6, 8, 10, 12, 15, 20, 25, 30, 40, 50, 60, 80, 100, 120, 150, 200, 250, 300, 400,
    500, 600, 800, 1000, 1500, 2500, 4000, 5000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000,
    1_000_000, 5_000_000,
];

/// How many buckets there are.
pub(crate) const BUCKETS: usize = BOUNDS_US.len() + 1;

/// Number of slices by how long they took.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Added {
    /// Slices in each bucket of [`BOUNDS_US`]; not cumulative.
    pub counts: [u64; BUCKETS],
    /// The sum of all times, in nanoseconds.
    pub sum_ns: u64,
    /// The longest time, in nanoseconds.
    pub max_ns: u64,
}

impl Default for Added {
    fn default() -> Self {
        Self {
            counts: [0; BUCKETS],
            sum_ns: 0,
            max_ns: 0,
        }
    }
}

impl Added {
    /// Index of the bucket for this time in nanoseconds.
    #[must_use]
    pub fn bucket(ns: u64) -> usize {
        BOUNDS_US.partition_point(|bound| u64::from(*bound) * 1000 < ns)
    }

    /// Number of slices.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// Adds the slices of `other`.
    pub fn add(&mut self, other: &Self) {
        for (count, more) in self.counts.iter_mut().zip(other.counts) {
            *count += more;
        }
        self.sum_ns = self.sum_ns.saturating_add(other.sum_ns);
        self.max_ns = self.max_ns.max(other.max_ns);
    }

    /// The summary for the record: each quantile is the upper bound of its bucket, and never above
    /// the longest time; `None` when nothing was measured.
    #[must_use]
    pub fn summary(&self) -> Option<AddedLatency> {
        let count = self.count();
        if count == 0 {
            return None;
        }
        #[expect(
            clippy::cast_precision_loss,
            reason = "2^53 nanoseconds are a hundred days"
        )]
        let max = self.max_ns as f64 / 1000.0;
        let quantile = |percent: u64| {
            let rank = (count * percent).div_ceil(100).max(1);
            let mut seen = 0;
            let at = self.counts.iter().position(|bucket| {
                seen += bucket;
                seen >= rank
            });
            let bound = at.and_then(|at| BOUNDS_US.get(at));
            bound.map_or(max, |bound| f64::from(*bound).min(max))
        };
        Some(AddedLatency {
            p50: quantile(50),
            p99: quantile(99),
            max,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(all: &[u64]) -> Added {
        let mut added = Added::default();
        for ns in all {
            added.counts[Added::bucket(*ns)] += 1;
            added.sum_ns += ns;
            added.max_ns = added.max_ns.max(*ns);
        }
        added
    }

    #[test]
    fn bounds_rise_and_belong_to_their_own_bucket() {
        assert!(BOUNDS_US.is_sorted());
        assert_eq!(Added::bucket(0), 0);
        for (at, bound) in BOUNDS_US.iter().enumerate() {
            assert_eq!(Added::bucket(u64::from(*bound) * 1000), at);
            assert_eq!(Added::bucket(u64::from(*bound) * 1000 + 1), at + 1);
        }
    }

    #[test]
    fn quantiles_are_bounds_and_never_above_the_longest() {
        assert_eq!(Added::default().summary(), None);
        let one = of(&[2_300]).summary().unwrap();
        assert_eq!((one.p50, one.p99, one.max), (2.3, 2.3, 2.3));
        // 98 quick slices, one of 40 us, one of 7 s.
        let mut all = vec![1_500; 98];
        all.extend([39_000, 7_000_000_000]);
        let many = of(&all).summary().unwrap();
        assert_eq!((many.p50, many.p99, many.max), (2.0, 40.0, 7_000_000.0));
    }

    #[test]
    fn together_they_are_what_they_were_apart() {
        let mut sum = of(&[1, 5_000]);
        sum.add(&of(&[9_000_000]));
        assert_eq!(sum, of(&[1, 5_000, 9_000_000]));
    }
}
