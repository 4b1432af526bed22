//! The timers of a tunnel. One sleep serves all of them, set to the earliest deadline.

use std::time::{Duration, Instant};

use crate::config::Timeouts;
use crate::proxy::tap::drain::Plan;
use crate::session::record::TimerKey;

/// How often a leg that is not read, because the other one is blocked, is checked for a break.
const WATCH: Duration = Duration::from_secs(1);

/// A timer that fired.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Due {
    pub(super) key: TimerKey,
    pub(super) limit: Duration,
    pub(super) observed: Duration,
}

/// The timers of one tunnel.
#[derive(Clone, Copy, Debug)]
pub(super) struct Timers {
    limits: Limits,
    last_active: Instant,
    half_closed: Option<Instant>,
    close_seen: Option<Instant>,
    drain: Option<Draining>,
    watch: Option<Instant>,
    /// A deadline was set that may be earlier than the one that was next.
    sooner: bool,
}

/// The timeouts that concern a tunnel.
#[derive(Clone, Copy, Debug)]
struct Limits {
    idle: Duration,
    half_close: Duration,
    close: Duration,
    drain: Duration,
}

#[derive(Clone, Copy, Debug)]
struct Draining {
    started: Instant,
    /// When this session's Close goes out; `None` once it has.
    close_at: Option<Instant>,
    cut_at: Instant,
}

impl Timers {
    pub(super) fn new(timeouts: Timeouts, now: Instant) -> Self {
        let limits = Limits {
            idle: timeouts.idle,
            half_close: timeouts.half_close,
            close: timeouts.close,
            drain: timeouts.drain,
        };
        Self {
            limits,
            last_active: now,
            half_closed: None,
            close_seen: None,
            drain: None,
            watch: None,
            sooner: true,
        }
    }

    /// Returns whether [`Timers::next`] may be earlier than at the last call. Bytes that move only
    /// postpone it, so that most wake-ups have nothing to compare.
    pub(super) fn take_sooner(&mut self) -> bool {
        std::mem::take(&mut self.sooner)
    }

    /// Records that bytes moved, in either direction.
    pub(super) fn active(&mut self, now: Instant) {
        self.last_active = now;
    }

    /// Records that one leg has ended its side.
    pub(super) fn half_closed(&mut self, now: Instant) {
        self.half_closed.get_or_insert(now);
        self.sooner = true;
    }

    /// Records that a Close frame was seen, or sent by us.
    pub(super) fn close_seen(&mut self, now: Instant) {
        self.close_seen.get_or_insert(now);
        self.sooner = true;
    }

    /// Whether a Close frame has been seen or sent, so that only its answer is awaited.
    pub(super) fn is_closing(&self) -> bool {
        self.close_seen.is_some()
    }

    /// Records whether a leg is blocked; while it is, the other one must be watched.
    pub(super) fn blocked(&mut self, blocked: bool, now: Instant) {
        if blocked {
            self.watch.get_or_insert(now + WATCH);
            self.sooner = true;
        } else {
            self.watch = None;
        }
    }

    /// Returns whether it is time to look at legs that are not read, and sets the next time.
    pub(super) fn watch_is_due(&mut self, now: Instant) -> bool {
        let due = self.watch.is_some_and(|at| at <= now);
        if due {
            self.watch = Some(now + WATCH);
        }
        due
    }

    /// Starts the timers of a shutdown; `spread` (0 to 1) is this session's place in the queue of
    /// closes.
    pub(super) fn drain(&mut self, plan: Plan, spread: f64) {
        self.sooner = true;
        self.drain = Some(Draining {
            started: plan.started,
            close_at: Some(plan.close_at(spread)),
            cut_at: plan.cut_at(spread),
        });
    }

    /// The earliest deadline.
    pub(super) fn next(&self) -> Instant {
        self.deadlines()
            .map(|(at, _)| at)
            .chain(self.watch)
            .min()
            .unwrap_or(self.last_active + self.limits.idle)
    }

    /// The timer that has run out at `now`, if one has. A drain's Close is due only once.
    pub(super) fn due(&mut self, now: Instant) -> Option<Due> {
        let (_, key) = self
            .deadlines()
            .filter(|(at, _)| *at <= now)
            .min_by_key(|(at, _)| *at)?;
        let (since, limit) = match key {
            TimerKey::Idle => (self.last_active, self.limits.idle),
            TimerKey::HalfClose => (self.half_closed?, self.limits.half_close),
            TimerKey::Close => (self.close_seen?, self.limits.close),
            _ => {
                let drain = self.drain.as_mut()?;
                drain.close_at = None;
                (drain.started, self.limits.drain)
            }
        };
        Some(Due {
            key,
            limit,
            observed: now.saturating_duration_since(since),
        })
    }

    fn deadlines(&self) -> impl Iterator<Item = (Instant, TimerKey)> {
        let limits = self.limits;
        let closing = self
            .close_seen
            .map(|since| (since + limits.close, TimerKey::Close));
        let half = self
            .half_closed
            .map(|since| (since + limits.half_close, TimerKey::HalfClose));
        // A session that is closing is not idle.
        let idle = (closing.is_none() && half.is_none())
            .then_some((self.last_active + limits.idle, TimerKey::Idle));
        let drain = self.drain.map(|drain| {
            let at = drain
                .close_at
                .filter(|_| closing.is_none())
                .unwrap_or(drain.cut_at);
            (at, TimerKey::Drain)
        });
        [closing, half, idle, drain].into_iter().flatten()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits() -> Timeouts {
        let s = Duration::from_secs;
        Timeouts {
            idle: s(60),
            half_close: s(30),
            close: s(10),
            drain: s(8),
            ..Timeouts::default()
        }
    }

    #[test]
    fn idle_counts_from_the_last_byte() {
        let start = Instant::now();
        let mut timers = Timers::new(limits(), start);
        timers.active(start + Duration::from_secs(50));
        assert_eq!(timers.due(start + Duration::from_secs(61)), None);
        let due = timers.due(start + Duration::from_secs(112)).unwrap();
        assert_eq!(
            (due.key, due.observed),
            (TimerKey::Idle, Duration::from_secs(62))
        );
    }

    #[test]
    fn a_close_frame_replaces_the_idle_timer() {
        let start = Instant::now();
        let mut timers = Timers::new(limits(), start);
        timers.close_seen(start + Duration::from_secs(55));
        let due = timers.due(start + Duration::from_secs(65)).unwrap();
        assert_eq!(
            (due.key, due.observed),
            (TimerKey::Close, Duration::from_secs(10))
        );
        assert_eq!(timers.next(), start + Duration::from_secs(65));
    }

    #[test]
    fn a_drain_closes_by_its_place_and_ends_at_its_deadline() {
        let start = Instant::now();
        let mut timers = Timers::new(limits(), start);
        let plan = Plan {
            started: start,
            spread: Duration::from_secs(4),
            deadline: start + Duration::from_secs(8),
        };
        timers.drain(plan, 0.5);
        assert_eq!(timers.next(), start + Duration::from_secs(2));
        assert_eq!(
            timers.due(start + Duration::from_secs(2)).unwrap().key,
            TimerKey::Drain
        );
        timers.close_seen(start + Duration::from_secs(2));
        // Four seconds for its answer, as for every session.
        assert_eq!(timers.next(), start + Duration::from_secs(6));
    }
}
