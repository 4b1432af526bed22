//! Quantiles and medians.

use std::time::Duration;

/// The middle value; of an even count the upper one. `None` of nothing.
pub fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied()
}

/// Times that were measured one by one, in order.
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

    /// In microseconds: the smallest time that at least this share of all does not go over.
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

/// A count as a number to divide by.
pub fn float(count: usize) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "no count here comes near 2^53")]
    let float = count as f64;
    float
}
