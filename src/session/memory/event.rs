//! What counts as one event.

use crate::session::moment::Moment;

/// Deaths within this time of each other are one event.
pub(super) const TOGETHER_MS: i64 = 1000;

/// Sessions lost within a second that stand for a process that ended.
pub(super) const CRASH: usize = 3;

/// Whether two deaths are within the time of one event.
pub(super) fn within_a_second(one: Moment, other: Moment) -> bool {
    one.millis_since(other).abs() <= TOGETHER_MS
}
