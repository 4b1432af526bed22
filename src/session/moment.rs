//! Times in a record: wall clock once, the monotonic clock from then on.

use std::fmt;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A point in time as a record shows it: RFC 3339, UTC, microseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Moment(#[schemars(with = "String")] pub Timestamp);

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.6}", self.0)
    }
}

impl Serialize for Moment {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl Moment {
    /// Milliseconds from `earlier` to here, negative when `earlier` is later.
    #[must_use]
    pub fn millis_since(self, earlier: Self) -> i64 {
        self.0.as_millisecond() - earlier.0.as_millisecond()
    }
}

/// A session's own clock: the wall clock is read once, so that a step of it can neither reorder
/// the session's events nor change a duration.
#[derive(Clone, Copy, Debug)]
pub struct Anchor {
    wall: Timestamp,
    mono: Instant,
}

impl Anchor {
    /// Both clocks, read at the same moment by the caller.
    #[must_use]
    pub fn new(wall: Timestamp, mono: Instant) -> Self {
        Self { wall, mono }
    }

    /// What the wall clock would have shown at `now`, cut to microseconds.
    #[must_use]
    pub fn at(&self, now: Instant) -> Moment {
        let since = now.saturating_duration_since(self.mono);
        let at = self.wall.checked_add(since).unwrap_or(Timestamp::MAX);
        Moment(Timestamp::from_microsecond(at.as_microsecond()).unwrap_or(at))
    }

    /// Time since the anchor.
    #[must_use]
    pub fn since(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.mono)
    }

    /// The anchor itself.
    #[must_use]
    pub fn opened(&self) -> Instant {
        self.mono
    }
}

/// A duration in milliseconds with three decimals, as records show it.
#[must_use]
pub fn millis(duration: Duration) -> f64 {
    #[expect(
        clippy::cast_precision_loss,
        reason = "2^53 microseconds are 285 years"
    )]
    let micros = duration.as_micros() as f64;
    micros / 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_have_six_decimals_and_follow_the_monotonic_clock() {
        let start = Instant::now();
        let anchor = Anchor::new("2026-11-21T01:02:03Z".parse().unwrap(), start);
        let later = anchor.at(start + Duration::from_micros(1_500));
        assert_eq!(later.to_string(), "2026-11-21T01:02:03.001500Z");
        assert_eq!(
            serde_json::to_string(&later).unwrap(),
            "\"2026-11-21T01:02:03.001500Z\""
        );
        assert_eq!(
            anchor.at(start.checked_sub(Duration::from_secs(1)).unwrap()),
            anchor.at(start)
        );
        assert!((millis(Duration::from_micros(1_500)) - 1.5).abs() < f64::EPSILON);
    }
}
