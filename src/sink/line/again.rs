//! Collapses repeated failures: a client that retries every second and fails in the same way must not push
//! everything else off the screen. Only the lines for people are shortened; every record is written.
//!
//! The first failure of a client by a rule is printed in full. Of those that follow within [`WINDOW`] the
//! first, second, fourth, eighth and so on gets one line at once, so that somebody who retries by hand sees
//! an answer; at the end of the window one line has the count. Sessions that went well are never collapsed,
//! and neither is a failure with another next action.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use crate::session::SessionRecord;
use crate::session::address::host;

/// Period over which endings are counted together. A window without one ends the series.
const WINDOW: Duration = Duration::from_mins(1);

/// Maximum number of pairs of client and rule. Endings of further pairs are printed in full.
const MOST: usize = 256;

/// How an ending is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Say {
    InFull,
    Again {
        /// Endings since the window began.
        count: u64,
        over: Duration,
    },
    Nothing,
}

/// The endings of the last window.
#[derive(Debug, Default)]
pub(super) struct Again {
    series: HashMap<(String, String), Series>,
    /// Counts of series that were replaced before a line reported them.
    replaced: Vec<Unreported>,
}

/// The last failure that no line has reported, the count of the window, and how long it was.
pub(super) type Unreported = (SessionRecord, u64, Duration);

#[derive(Debug)]
struct Series {
    since: Instant,
    /// The next action that was printed in full.
    next: String,
    /// Endings in this window, after the one that was printed in full.
    count: u64,
    /// How many of them a line has reported.
    reported: u64,
    last: Option<SessionRecord>,
}

impl Again {
    /// How to print a judged record.
    pub(super) fn say(&mut self, record: &SessionRecord, now: Instant) -> Say {
        let Some(verdict) = record.verdict.as_ref().filter(|it| !it.class.is_fine()) else {
            return Say::InFull;
        };
        let client = host(&record.client.addr).to_owned();
        let key = (client, verdict.rule.clone());
        let full = self.series.len() >= MOST;
        match self.series.get_mut(&key) {
            // The end of the window may not have been checked yet.
            Some(series) if series.next == verdict.next && !series.is_over(now) => {
                let sessions = record.repeats.map_or(1, |repeats| repeats.count.max(1));
                let before = series.count;
                series.count = before.saturating_add(sessions);
                // Whether a power of two was reached: 1, 2, 4 …
                if series.count.ilog2() > before.checked_ilog2().unwrap_or(0) || before == 0 {
                    series.reported = series.count;
                    series.last = None;
                    return Say::Again {
                        count: series.count,
                        over: now.saturating_duration_since(series.since),
                    };
                }
                series.last = Some(record.clone());
                Say::Nothing
            }
            None if full => Say::InFull,
            _ => {
                let series = Series {
                    since: now,
                    next: verdict.next.clone(),
                    count: 0,
                    reported: 0,
                    last: None,
                };
                let before = self.series.insert(key, series);
                let take_unreported = before.and_then(|mut before| before.take_unreported(now));
                self.replaced.extend(take_unreported);
                Say::InFull
            }
        }
    }

    /// Whether [`Self::due`] has to be called from time to time.
    pub(super) fn waits(&self) -> bool {
        !self.series.is_empty() || !self.replaced.is_empty()
    }

    /// Ends the windows that are over, and returns their unreported endings.
    pub(super) fn due(&mut self, now: Instant) -> Vec<Unreported> {
        let mut due = std::mem::take(&mut self.replaced);
        self.series.retain(|_, series| {
            if !series.is_over(now) {
                return true;
            }
            due.extend(series.take_unreported(now));
            let goes_on = series.count > 0;
            (series.since, series.count, series.reported) = (now, 0, 0);
            goes_on
        });
        due
    }

    /// The unreported endings, at the end.
    pub(super) fn rest(&mut self, now: Instant) -> Vec<Unreported> {
        let mut rest = std::mem::take(&mut self.replaced);
        let all = self.series.drain();
        rest.extend(all.filter_map(|(_, mut series)| series.take_unreported(now)));
        rest
    }
}

impl Series {
    fn is_over(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.since) >= WINDOW
    }

    fn take_unreported(&mut self, now: Instant) -> Option<Unreported> {
        let last = self.last.take().filter(|_| self.count > self.reported)?;
        Some((last, self.count, now.saturating_duration_since(self.since)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::record::Class;
    use crate::session::record::Repeats;

    fn record(client: &str, rule: &str, next: &str) -> SessionRecord {
        let mut record = SessionRecord::default();
        let mut verdict = crate::verdict::decide(&record);
        verdict.class = Class::GatewayAuth;
        rule.clone_into(&mut verdict.rule);
        next.clone_into(&mut verdict.next);
        record.verdict = Some(verdict);
        client.clone_into(&mut record.client.addr);
        record
    }

    #[test]
    fn what_another_action_replaces_is_told_all_the_same() {
        let (mut again, now) = (Again::default(), Instant::now());
        let first = record("192.0.2.1:1", "a", "do this");
        for _ in 0..4 {
            again.say(&first, now);
        }
        let other = record("192.0.2.1:1", "a", "do that");
        assert_eq!(again.say(&other, now), Say::InFull);
        let due = again.due(now);
        assert_eq!(
            due.iter().map(|(_, count, _)| *count).collect::<Vec<_>>(),
            [3]
        );
        assert!(again.due(now).is_empty());
    }

    #[test]
    fn only_the_same_client_rule_and_action_repeat() {
        let (mut again, now) = (Again::default(), Instant::now());
        let mut say = |record: &SessionRecord| again.say(record, now);
        assert_eq!(say(&record("192.0.2.1:1", "a", "x")), Say::InFull);
        let other = record("192.0.2.1:2", "a", "x");
        assert!(matches!(say(&other), Say::Again { count: 1, .. }));
        assert_eq!(say(&record("192.0.2.2:1", "a", "x")), Say::InFull);
        assert_eq!(say(&record("192.0.2.1:1", "b", "x")), Say::InFull);
        assert_eq!(say(&record("192.0.2.1:1", "a", "y")), Say::InFull);
        let mut fine = record("192.0.2.3:1", "ok", "");
        fine.verdict.as_mut().unwrap().class = Class::Ok;
        assert_eq!((say(&fine), say(&fine)), (Say::InFull, Say::InFull));
    }

    #[test]
    fn a_window_without_an_ending_ends_the_series() {
        let (mut again, start) = (Again::default(), Instant::now());
        let at = |seconds| start + Duration::from_secs(seconds);
        let one = record("unix", "a", "x");
        assert_eq!(again.say(&one, at(0)), Say::InFull);
        for _ in 0..3 {
            again.say(&one, at(1));
        }
        assert!(again.due(at(59)).is_empty());
        let due = again.due(at(60));
        let (_, count, over) = &due[0];
        assert_eq!((due.len(), *count, over.as_secs()), (1, 3, 60));
        // The series goes on, so it is still shortened.
        assert!(matches!(
            again.say(&one, at(61)),
            Say::Again { count: 1, .. }
        ));
        assert!(again.due(at(120)).is_empty());
        assert!(again.waits());
        assert!(again.due(at(180)).is_empty());
        assert!(!again.waits());
        assert_eq!(again.say(&one, at(181)), Say::InFull);
    }

    #[test]
    fn joined_records_count_with_their_number_and_nothing_is_forgotten() {
        let (mut again, now) = (Again::default(), Instant::now());
        let mut one = record("unix", "a", "x");
        again.say(&one, now);
        one.repeats = Some(Repeats {
            count: 100,
            first_at: one.closed_at,
            last_at: one.closed_at,
            many_clients: false,
        });
        assert!(matches!(
            again.say(&one, now),
            Say::Again { count: 100, .. }
        ));
        one.repeats = None;
        assert_eq!(again.say(&one, now), Say::Nothing);
        let rest: Vec<u64> = again.rest(now).iter().map(|(_, count, _)| *count).collect();
        assert_eq!(rest, [101]);
    }

    #[test]
    fn a_flood_of_clients_takes_no_memory_and_is_told_in_full() {
        let (mut again, now) = (Again::default(), Instant::now());
        for host in 0..2 * MOST {
            let one = record(&format!("[2001:db8::{host:x}]:1"), "a", "x");
            assert_eq!(again.say(&one, now), Say::InFull);
        }
        assert_eq!(again.series.len(), MOST);
    }
}
