//! Times in a record: the wall clock is read once, the monotonic clock from then on.

use std::fmt;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use jiff::tz::Offset;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A point in time as a record shows it: RFC 3339, UTC, microseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Moment(#[schemars(with = "String")] pub Timestamp);

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.digits() {
            Some(digits) => f.write_str(str::from_utf8(&digits).unwrap_or_default()),
            None => write!(f, "{:.6}", self.0),
        }
    }
}

impl Serialize for Moment {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.digits() {
            Some(digits) => serializer.serialize_str(str::from_utf8(&digits).unwrap_or_default()),
            None => serializer.collect_str(self),
        }
    }
}

impl Moment {
    /// The text form, without the formatting machinery: a record has dozens of times. `None` if the
    /// year does not have four digits.
    fn digits(self) -> Option<[u8; 27]> {
        let civil = Offset::UTC.to_datetime(self.0);
        let mut shown = *b"0000-00-00T00:00:00.000000Z";
        // Writes two digits.
        let mut put = |place: usize, value: i32| {
            let value = u8::try_from(value).unwrap_or_default();
            if let Some([tens, ones]) = shown.get_mut(place..place + 2) {
                (*tens, *ones) = (b'0' + value / 10, b'0' + value % 10);
            }
        };
        let year = i32::from(civil.year());
        if !(0..=9999).contains(&year) {
            return None;
        }
        let micros = civil.subsec_nanosecond() / 1000;
        put(0, year / 100);
        put(2, year % 100);
        put(5, i32::from(civil.month()));
        put(8, i32::from(civil.day()));
        put(11, i32::from(civil.hour()));
        put(14, i32::from(civil.minute()));
        put(17, i32::from(civil.second()));
        put(20, micros / 10_000);
        put(22, micros / 100 % 100);
        put(24, micros % 100);
        Some(shown)
    }

    /// The moment this many milliseconds earlier; `None` if it is out of range.
    #[must_use]
    pub fn before(self, ms: u64) -> Option<Self> {
        let ms = i64::try_from(ms).ok()?;
        let earlier = self.0.as_millisecond().checked_sub(ms)?;
        Timestamp::from_millisecond(earlier).ok().map(Self)
    }

    /// Milliseconds from `earlier` to here, negative when `earlier` is later.
    #[must_use]
    pub fn millis_since(self, earlier: Self) -> i64 {
        self.0.as_millisecond() - earlier.0.as_millisecond()
    }
}

/// A session's own clock. The wall clock is read once, so that a clock step can neither reorder the
/// session's events nor change a duration.
#[derive(Clone, Copy, Debug)]
pub struct Anchor {
    wall: Timestamp,
    mono: Instant,
}

impl Anchor {
    /// Takes both clocks, read at the same moment by the caller.
    #[must_use]
    pub fn new(wall: Timestamp, mono: Instant) -> Self {
        Self { wall, mono }
    }

    /// What the wall clock would have shown at `now`, truncated to microseconds.
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
pub(crate) fn millis(duration: Duration) -> f64 {
    #[expect(
        clippy::cast_precision_loss,
        reason = "2^53 microseconds are 285 years"
    )]
    let micros = duration.as_micros() as f64;
    micros / 1000.0
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn digits_are_those_that_the_library_prints(
            nanos in any::<u32>(),
            second in prop_oneof![-5_000_000_000_i64..5_000_000_000, -377_705_023_201..=253_402_207_200_i64],
        ) {
            let at = Timestamp::new(second, i32::try_from(nanos % 1_000_000_000).unwrap());
            let at = Moment(at.unwrap_or(Timestamp::MIN));
            prop_assert_eq!(at.to_string(), format!("{:.6}", at.0));
            prop_assert_eq!(serde_json::to_string(&at).unwrap(), format!("\"{:.6}\"", at.0));
        }
    }

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
