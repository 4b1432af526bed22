//! A small histogram of frame sizes.
//!
//! Sessions have few distinct frame sizes, so the buckets are a sorted list of those that
//! occurred: nothing is allocated for an idle session, and at most 496 entries of
//! 16 bytes for a hostile one. Buckets are log-linear, eight to a power of two, so a quantile is
//! at most one eighth above the true value; minimum and maximum are exact.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Eight buckets for each of 61 powers of two, and the eight sizes below 8.
#[cfg(test)]
const MAX_BUCKETS: usize = 496;

/// Counts sizes by bucket.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sizes {
    buckets: Vec<(u16, u64)>,
    count: u64,
    min: u64,
    max: u64,
}

/// Number of frames that were no larger than `le` bytes and larger than half of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Bucket {
    /// Upper bound in bytes, one less than a power of two (0, 1, 3, 7, 15 …).
    pub le: u64,
    /// Number of frames in this bucket; not cumulative.
    pub count: u64,
}

/// The distribution of payload sizes in bytes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SizeSummary {
    /// The smallest, exact.
    pub min: u64,
    /// The median, within one eighth.
    pub p50: u64,
    /// The 99th percentile, within one eighth.
    pub p99: u64,
    /// The largest, exact.
    pub max: u64,
    /// Frames by powers of two; empty buckets are left out.
    pub buckets: Vec<Bucket>,
}

impl Sizes {
    /// Counts one size.
    pub(crate) fn add(&mut self, size: u64) {
        self.min = if self.count == 0 {
            size
        } else {
            self.min.min(size)
        };
        self.max = self.max.max(size);
        self.count += 1;
        let bucket = index(size);
        match self
            .buckets
            .binary_search_by_key(&bucket, |(index, _)| *index)
        {
            Ok(at) => {
                if let Some((_, count)) = self.buckets.get_mut(at) {
                    *count += 1;
                }
            }
            Err(at) => self.buckets.insert(at, (bucket, 1)),
        }
    }

    /// The summary; `None` if nothing was counted.
    #[must_use]
    pub(crate) fn summary(&self) -> Option<SizeSummary> {
        if self.count == 0 {
            return None;
        }
        let mut buckets: Vec<Bucket> = Vec::new();
        for (index, count) in &self.buckets {
            let le = power_of_two_bound(upper_bound(*index));
            match buckets.last_mut() {
                Some(last) if last.le == le => last.count += count,
                _ => buckets.push(Bucket { le, count: *count }),
            }
        }
        Some(SizeSummary {
            min: self.min,
            p50: self.quantile(50),
            p99: self.quantile(99),
            max: self.max,
            buckets,
        })
    }

    fn quantile(&self, percent: u64) -> u64 {
        let rank = (self.count.saturating_mul(percent)).div_ceil(100).max(1);
        let mut seen = 0;
        for (index, count) in &self.buckets {
            seen += count;
            if seen >= rank {
                return upper_bound(*index).clamp(self.min, self.max);
            }
        }
        self.max
    }
}

/// The bucket of a size: its power of two and the three bits below the top one.
fn index(size: u64) -> u16 {
    if size < 8 {
        return u16::try_from(size).unwrap_or(0);
    }
    let power = size.ilog2();
    let step = (size >> (power - 3)) & 0x7;
    u16::try_from(u64::from(power - 2) * 8 + step).unwrap_or(u16::MAX)
}

/// The largest size that falls into a bucket.
fn upper_bound(index: u16) -> u64 {
    if index < 8 {
        return u64::from(index);
    }
    let power = u32::from(index / 8) + 2;
    let step = u64::from(index % 8);
    let width = 1u64 << (power - 3);
    (1u64 << power) + (step * width) + (width - 1)
}

fn power_of_two_bound(size: u64) -> u64 {
    if size == 0 {
        0
    } else {
        u64::MAX >> size.leading_zeros()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn known_values() {
        let mut sizes = Sizes::default();
        assert_eq!(sizes.summary(), None);
        for size in [0, 1, 5, 100, 70_000] {
            sizes.add(size);
        }
        let summary = sizes.summary().unwrap();
        assert_eq!((summary.min, summary.p50, summary.max), (0, 5, 70_000));
        assert_eq!(summary.p99, 70_000);
        let buckets: Vec<(u64, u64)> = summary.buckets.iter().map(|b| (b.le, b.count)).collect();
        assert_eq!(buckets, [(0, 1), (1, 1), (7, 1), (127, 1), (131_071, 1)]);
    }

    proptest! {
        #[test]
        fn a_size_lies_in_its_bucket(size in any::<u64>()) {
            let upper = upper_bound(index(size));
            prop_assert!(size <= upper);
            prop_assert!(upper - size <= size / 8);
            prop_assert!(usize::from(index(size)) < MAX_BUCKETS);
        }

        #[test]
        fn quantiles_are_ordered_and_memory_is_bounded(all in proptest::collection::vec(any::<u64>(), 1..2000)) {
            let mut sizes = Sizes::default();
            for size in &all {
                sizes.add(*size);
            }
            let summary = sizes.summary().unwrap();
            prop_assert!(summary.min <= summary.p50 && summary.p50 <= summary.p99 && summary.p99 <= summary.max);
            prop_assert!(sizes.buckets.len() <= MAX_BUCKETS);
            prop_assert_eq!(summary.buckets.iter().map(|b| b.count).sum::<u64>(), all.len() as u64);
        }
    }
}
