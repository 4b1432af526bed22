//! Quantiles and medians.

use std::time::Duration;

/// The middle value; for an even count, the upper of the two. `None` without values.
pub fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied()
}

/// Individually measured times, sorted.
#[derive(Debug)]
pub struct Pooled(Vec<Duration>);

impl Pooled {
    pub fn new(mut times: Vec<Duration>) -> Self {
        times.sort_unstable();
        Self(times)
    }

    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// The quantile in microseconds: the smallest time that at least this share of all times does
    /// not exceed.
    pub fn quantile(&self, share: f64) -> Option<f64> {
        let rank = (share * float(self.0.len())).ceil().max(1.0);
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a place in a list"
        )]
        let place = rank as usize - 1;
        let last = self.0.len().checked_sub(1)?;
        self.0.get(place.min(last)).map(|time| micros(*time))
    }
}

pub fn micros(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}

/// Converts a count to a float, for divisions.
pub fn float(count: usize) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "no count here comes near 2^53")]
    let float = count as f64;
    float
}
