//! Decides whether sessions that were lost within one second share a cause or coincide: a busy
//! gateway loses several in many seconds.

use super::chance::{float, one_in};
use super::event::{CRASH, TOGETHER_MS};
use super::remembered::Remembered;
use crate::session::moment::Moment;
use crate::session::party::Leg;

/// Windows, in milliseconds, whose losses give the usual rate: the last minute and the last ten
/// minutes. The higher of the two rates counts.
const USUAL_MS: [i64; 2] = [60 * 1000, REACH_MS];
const REACH_MS: i64 = 600 * 1000;

/// Maximum number of unusual seconds with [`CRASH`] or more losses that are taken for earlier
/// crashes and left out of the rate.
const WAVES: usize = 3;

/// Sessions of one leg that were lost within one second, compared with the usual rate.
pub(super) struct Together<'a> {
    /// The other losses within the second around this session that has most of them.
    pub(super) others: Vec<&'a Remembered>,
    /// Number of losses in the ten minutes before that second, and right after it.
    pub(super) beside: u32,
    /// By chance there would be as many in one case of this many; `None` if there were no other
    /// losses.
    pub(super) one_in: Option<u64>,
}

impl<'a> Together<'a> {
    /// Looks at the losses around a session whose leg was lost at that time. `since` is the start
    /// of the first session that could have been lost.
    pub(super) fn about((leg, at): (Leg, Moment), ends: &[&'a Remembered], since: Moment) -> Self {
        let mut losses: Vec<(i64, &Remembered)> = ends
            .iter()
            .filter(|other| other.lost.is_some_and(|(its, _)| its == leg))
            .map(|other| (other.closed_at.millis_since(at), *other))
            .collect();
        losses.sort_by_key(|(off, _)| *off);
        let begin = fullest_second(&losses);
        let end = begin + TOGETHER_MS;
        let others = losses
            .iter()
            .filter(|(off, _)| (begin..=end).contains(off))
            .map(|(_, other)| *other)
            .collect::<Vec<_>>();
        let ago: Vec<i64> = losses
            .iter()
            .map(|(off, _)| begin - off)
            .filter(|ago| (1..=REACH_MS).contains(ago))
            .collect();
        let after = losses.iter().filter(|(off, _)| *off > end).count();
        // A process that ends takes all its sessions within one second, and leaves none for the
        // next second.
        let just_before = ago.iter().filter(|ago| **ago <= TOGETHER_MS).count();
        let span = (at.millis_since(since) + begin).max(TOGETHER_MS);
        let rate = USUAL_MS
            .map(|window| rate(&ago, window.min(span)))
            .into_iter()
            .fold(float(just_before.max(after)), f64::max);
        // The second was chosen because it holds most losses, so double the expected number.
        let expected = rate * 2.0;
        let beside = ago.len() + after;
        Self {
            one_in: (beside > 0).then(|| one_in(ln_as_many(others.len(), expected))),
            beside: u32::try_from(beside).unwrap_or(u32::MAX),
            others,
        }
    }
}

/// Start of the second with most of the other losses, before this session's own loss (0).
fn fullest_second(losses: &[(i64, &Remembered)]) -> i64 {
    let near = losses
        .iter()
        .map(|(off, _)| *off)
        .filter(|off| (-TOGETHER_MS..0).contains(off));
    let held = |begin: i64| {
        let from = losses.partition_point(|(off, _)| *off < begin);
        let to = losses.partition_point(|(off, _)| *off <= begin + TOGETHER_MS);
        to - from
    };
    near.chain([0])
        .max_by_key(|begin| held(*begin))
        .unwrap_or(0)
}

/// Losses per second within a window, without what looks like earlier crashes. `ago` is sorted, the
/// earliest loss first.
fn rate(ago: &[i64], window_ms: i64) -> f64 {
    let mut counts: Vec<usize> = Vec::new();
    let mut rest = ago.get(ago.partition_point(|ago| *ago >= window_ms)..);
    while let Some([first, ..]) = rest {
        let all = rest.unwrap_or_default();
        let second = all.partition_point(|ago| first - ago <= TOGETHER_MS);
        counts.push(second);
        rest = all.get(second..);
    }
    counts.sort_unstable();
    let first_wave = counts.partition_point(|count| *count < CRASH);
    let usual = counts.len().saturating_sub(WAVES).max(first_wave);
    let lost: usize = counts.iter().take(usual).sum();
    let all = usize::try_from(window_ms / TOGETHER_MS).unwrap_or(usize::MAX);
    let seconds = all.saturating_sub(counts.len() - usual).max(1);
    float(lost) / float(seconds)
}

/// Logarithm of a bound on the probability of `count` or more when `expected` are expected
/// (Poisson).
fn ln_as_many(count: usize, expected: f64) -> f64 {
    let next = float(count + 1);
    if expected <= 0.0 {
        return if count == 0 { 0.0 } else { f64::NEG_INFINITY };
    }
    if expected >= next {
        return 0.0;
    }
    let ln_factorial: f64 = (1..=count).map(|number| float(number).ln()).sum();
    let exactly = float(count) * expected.ln() - expected - ln_factorial;
    // The rest of the tail is less than a geometric series.
    (exactly - (1.0 - expected / next).ln()).min(0.0)
}
