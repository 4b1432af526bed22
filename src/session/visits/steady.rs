//! Detects connections at regular intervals, as made by health checks.

use crate::session::record::Steady;

/// Fewer intervals prove nothing.
const LEAST: usize = 3;

/// Shorter intervals belong to a client that retries at once.
const LEAST_MS: u64 = 500;

/// Maximum deviation of an interval from the median, as a share of the median.
const MOST_APART: f64 = 0.05;

/// Minimum growth factor of the intervals of a client that backs off.
const GROWTH: f64 = 1.4;

/// Finds the last intervals that are alike; the last one comes first.
pub(super) fn of(intervals: &[u64]) -> Option<Steady> {
    let counts = LEAST..=intervals.len();
    let alike = counts.rev().filter_map(|count| intervals.get(..count));
    alike.into_iter().find_map(even)
}

fn even(intervals: &[u64]) -> Option<Steady> {
    let mut sorted = intervals.to_vec();
    sorted.sort_unstable();
    let middle = *sorted.get(sorted.len() / 2)?;
    if middle < LEAST_MS {
        return None;
    }
    let apart = sorted.iter().map(|one| one.abs_diff(middle)).max()?;
    // Times are compared in whole milliseconds.
    let apart = as_share(apart.max(1), middle);
    if apart > MOST_APART {
        return None;
    }
    let count = u32::try_from(intervals.len()).ok()?;
    Some(Steady {
        every_ms: middle,
        intervals: count,
        chance: chance(count, apart),
    })
}

/// Probability that independent random intervals are all within this share of their median. With a
/// uniform distribution from 0, one interval is within it with twice the share; with an exponential or
/// log-uniform distribution less often. Any of the intervals may be the median.
fn chance(count: u32, apart: f64) -> f64 {
    let others = i32::try_from(count).unwrap_or(i32::MAX) - 1;
    (f64::from(count) * (2.0 * apart).powi(others)).min(1.0)
}

/// Whether three successive intervals grew; the last one comes first.
pub(super) fn grows(intervals: &[u64]) -> bool {
    let grew = |later: u64, earlier: u64| as_share(later, earlier.max(1)) >= GROWTH;
    intervals.windows(3).any(|three| match three {
        [last, middle, first] => grew(*last, *middle) && grew(*middle, *first),
        _ => false,
    })
}

#[expect(
    clippy::cast_precision_loss,
    reason = "milliseconds of a day are exact"
)]
fn as_share(part: u64, whole: u64) -> f64 {
    part as f64 / whole as f64
}
