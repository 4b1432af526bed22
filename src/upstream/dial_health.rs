//! Whether the gateway has answered recently: every dial reports its outcome here.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Outcomes of the latest dials.
#[derive(Debug, Default)]
pub struct DialHealth(Mutex<Outcomes>);

#[derive(Debug, Default)]
struct Outcomes {
    answered: Option<Instant>,
    failed: Option<(Instant, String)>,
    /// The gateway has shown a certificate other than the pinned one.
    other_certificate: bool,
}

/// Health of the gateway, according to the latest dials.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reached {
    /// No dial yet, or the last success is too old to mean anything.
    Unknown,
    /// Time since the last successful dial.
    Answered(Duration),
    /// Time since the last failed dial, and its error.
    Failed(Duration, String),
}

impl DialHealth {
    /// Records that a dial succeeded.
    pub fn answered(&self, now: Instant) {
        self.lock().answered = Some(now);
    }

    /// Records that a dial failed, and why.
    pub fn failed(&self, why: &str, now: Instant) {
        self.lock().failed = Some((now, why.to_owned()));
    }

    /// Records that the gateway showed a certificate other than the pinned one.
    pub fn saw_other_certificate(&self) {
        self.lock().other_certificate = true;
    }

    /// Whether the gateway ever showed a certificate other than the pinned one.
    #[must_use]
    pub fn has_seen_other_certificate(&self) -> bool {
        self.lock().other_certificate
    }

    /// The later of the last success and the last failure, if it is no older than `window`.
    #[must_use]
    pub fn reached(&self, window: Duration, now: Instant) -> Reached {
        let last = self.lock();
        let age = |at: Instant| now.saturating_duration_since(at);
        let answered = last.answered.filter(|at| age(*at) <= window);
        match (answered, &last.failed) {
            (Some(answered), Some((failed, why))) if *failed > answered => {
                Reached::Failed(age(*failed), why.clone())
            }
            (Some(answered), _) => Reached::Answered(age(answered)),
            (None, Some((failed, why))) if age(*failed) <= window => {
                Reached::Failed(age(*failed), why.clone())
            }
            (None, _) => Reached::Unknown,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Outcomes> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_outcome_counts_while_it_is_fresh() {
        let (dial_health, start) = (DialHealth::default(), Instant::now());
        let window = Duration::from_mins(1);
        let at = |seconds| start + Duration::from_secs(seconds);
        let seconds = Duration::from_secs;
        assert_eq!(dial_health.reached(window, at(0)), Reached::Unknown);
        dial_health.answered(at(0));
        assert_eq!(
            dial_health.reached(window, at(60)),
            Reached::Answered(seconds(60))
        );
        assert_eq!(dial_health.reached(window, at(61)), Reached::Unknown);
        dial_health.failed("refused", at(5));
        let failed = Reached::Failed(seconds(1), "refused".to_owned());
        assert_eq!(dial_health.reached(window, at(6)), failed);
        dial_health.answered(at(7));
        assert_eq!(
            dial_health.reached(window, at(8)),
            Reached::Answered(seconds(1))
        );
        assert_eq!(dial_health.reached(window, at(100)), Reached::Unknown);
    }
}
