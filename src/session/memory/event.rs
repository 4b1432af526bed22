//! Which losses count as one event.

use crate::session::moment::Moment;

/// Losses within this time of each other are one event.
pub(super) const TOGETHER_MS: i64 = 1000;

/// This many sessions lost within a second mean that a process ended.
pub(super) const CRASH: usize = 3;

/// Whether two losses are close enough to be one event.
pub(super) fn within_a_second(one: Moment, other: Moment) -> bool {
    one.millis_since(other).abs() <= TOGETHER_MS
}
