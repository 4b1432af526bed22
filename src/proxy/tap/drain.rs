//! The shutdown of the tap: announced once, with a plan that every session can read.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

/// Maximum number of Close frames per second, so that not all clients reconnect at once.
const CLOSES_PER_SECOND: u32 = 200;

/// The schedule of the drain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Plan {
    /// When it began.
    pub started: Instant,
    /// The time over which the closes are spread.
    pub spread: Duration,
    /// When the remaining sessions are ended without waiting.
    pub deadline: Instant,
}

impl Plan {
    /// When to send the Close of the session at this position (0 to 1).
    #[must_use]
    pub(crate) fn close_at(&self, place: f64) -> Instant {
        self.started + self.spread.mul_f64(place.clamp(0.0, 1.0))
    }

    /// When to cut the session at this position if it has not ended. Each session has the same time for
    /// its answer. Cutting thousands of silent sessions takes seconds, so it cannot all happen at the
    /// deadline.
    #[must_use]
    pub(crate) fn cut_at(&self, place: f64) -> Instant {
        let whole = self.deadline.saturating_duration_since(self.started);
        self.close_at(place) + whole.saturating_sub(self.spread)
    }
}

/// The drain of one tap.
#[derive(Debug, Default)]
pub(crate) struct Drain {
    /// Read at every wake-up of every tunnel; reading the token would take a lock.
    begun: AtomicBool,
    token: CancellationToken,
    plan: OnceLock<Plan>,
}

impl Drain {
    /// Begins the drain; only the first call counts. Half of the time is for the closes, spread no
    /// further than the number of sessions requires; the other half is for their answers.
    pub(crate) fn begin(&self, limit: Duration, sessions: usize) {
        let started = Instant::now();
        let sessions = u32::try_from(sessions).unwrap_or(u32::MAX);
        let wanted = Duration::from_secs(1).saturating_mul(sessions) / CLOSES_PER_SECOND;
        let plan = Plan {
            started,
            spread: wanted.min(limit / 2),
            deadline: started + limit,
        };
        let _ = self.plan.set(plan);
        self.begun.store(true, Ordering::Release);
        self.token.cancel();
    }

    /// Cancelled when the drain begins.
    #[must_use]
    pub(crate) fn token(&self) -> &CancellationToken {
        &self.token
    }

    /// Whether the drain has begun.
    #[must_use]
    pub(crate) fn has_begun(&self) -> bool {
        self.begun.load(Ordering::Acquire)
    }

    /// The plan; before the drain, one that ends everything at once.
    #[must_use]
    pub(crate) fn plan(&self) -> Plan {
        let now = Instant::now();
        let at_once = Plan {
            started: now,
            spread: Duration::ZERO,
            deadline: now,
        };
        self.plan.get().copied().unwrap_or(at_once)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_sessions_close_at_once_and_many_are_spread_over_half_the_time() {
        let spread = |sessions| {
            let drain = Drain::default();
            drain.begin(Duration::from_secs(8), sessions);
            drain.plan().spread
        };
        assert_eq!(spread(1), Duration::from_millis(5));
        assert_eq!(spread(100_000), Duration::from_secs(4));
    }

    #[test]
    fn each_session_has_as_long_for_its_answer() {
        let drain = Drain::default();
        drain.begin(Duration::from_secs(8), 100_000);
        let plan = drain.plan();
        for place in [0.0, 0.3, 1.0] {
            let time = plan.cut_at(place) - plan.close_at(place);
            assert_eq!(time, Duration::from_secs(4));
        }
        assert_eq!(plan.cut_at(1.0), plan.deadline);
    }
}
