//! Reports when the gateway becomes unreachable or reachable, even while no client is connected.
//!
//! Most of the time the dials of sessions are enough: while they succeed, nothing else is dialled. Otherwise the
//! gateway is dialled every [`SLOW`], as in the readiness check, and more often while a change is being confirmed: one
//! failed dial is not reported, two in a row are.

use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use tokio::time::{MissedTickBehavior, interval, timeout};

use crate::config::OutputFormat;
use crate::proxy::{Current, Tap};
use crate::session::Moment;
use crate::session::record::GatewayErrorKind as Kind;
use crate::upstream::Reached;

/// Time between two dials while the gateway is steady.
const SLOW: Duration = Duration::from_secs(10);

/// Time between two dials while it is away.
const AWAY: Duration = Duration::from_secs(3);

/// Time between two checks of the sessions' dials, and between the dials that confirm a change.
const QUICK: Duration = Duration::from_secs(1);

/// Time limit for a dial. Clients would not wait longer for an answer either.
const DIAL_LIMIT: Duration = Duration::from_secs(3);

/// Number of observations in a row that confirm a change.
const CONFIRMED: u32 = 2;

/// Maximum number of changes that are reported in a row; further ones are counted.
const MOST: u32 = 6;

/// Time after which one more change may be reported.
const REFILL: Duration = Duration::from_secs(30);

/// Time without a change after which the changes that were only counted are reported as one.
const STEADY: Duration = Duration::from_mins(1);

/// Follows the gateway until the tap shuts down.
pub(super) async fn run(current: Arc<Current>) {
    let (mut of, mut state) = (String::new(), State::new(Instant::now()));
    let mut dialled = Instant::now();
    let mut every = interval(QUICK);
    every.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        every.tick().await;
        let tap = current.tap();
        if tap.draining().is_cancelled() {
            return;
        }
        let url = tap.config().gateway().url().to_string();
        if url != of {
            // Another gateway after a reload: its state is not known.
            (of, state) = (url, State::new(Instant::now()));
            dialled = Instant::now();
        }
        let reached = tap.dialler().dial_health().reached(SLOW, Instant::now());
        let pause = match reached {
            Reached::Failed(..) if state.up => Duration::ZERO,
            _ => state.pause(),
        };
        let seen = match reached {
            Reached::Answered(_) => Some(Observation::Up),
            _ if dialled.elapsed() >= pause => observe(&tap, &mut dialled).await,
            _ => None,
        };
        let change = seen.and_then(|seen| state.observe(seen, Instant::now()));
        if let Some(change) = change {
            report(&tap, &change.text(&of), change.is_up());
        }
    }
}

/// Dials the gateway. `None` if the outcome says nothing about it.
async fn observe(tap: &Tap, dialled: &mut Instant) -> Option<Observation> {
    let outcome = timeout(DIAL_LIMIT, tap.dialler().dial()).await;
    *dialled = Instant::now();
    match outcome {
        Ok(Ok(_)) => Some(Observation::Up),
        Ok(Err(failed)) => match failed.error.kind {
            // A limit of this process or host, not the gateway.
            Kind::OpenFiles | Kind::SystemFiles | Kind::Memory | Kind::Watches | Kind::Ports => {
                None
            }
            kind => Some(Observation::Down {
                why: failed.error.detail.clone(),
                nobody: matches!(kind, Kind::Refused | Kind::SocketMissing),
            }),
        },
        Err(_) => {
            let why = format!("no answer within {} s", DIAL_LIMIT.as_secs());
            tap.dialler().dial_health().failed(&why, Instant::now());
            let nobody = false;
            Some(Observation::Down { why, nobody })
        }
    }
}

fn report(tap: &Tap, text: &str, is_up: bool) {
    // With line output, the notice below already says it.
    if tap.config().output() == OutputFormat::Line {
        tracing::debug!(reachable = is_up, "{text}");
    } else if is_up {
        tracing::info!(reachable = true, "{text}");
    } else {
        tracing::warn!(reachable = false, "{text}");
    }
    tap.pipeline().notice(text, Moment(Timestamp::now()));
}

/// One observation.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Observation {
    Up,
    Down {
        why: String,
        /// The host answered that nothing listens.
        nobody: bool,
    },
}

/// A change to report.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Change {
    Unreachable {
        why: String,
    },
    Reachable {
        after: Duration,
        /// Every dial in between was refused: the process was away, or its port was closed off.
        refused: bool,
    },
    /// Changes that were not reported individually, and the state since then.
    Flapped {
        changes: u32,
        over: Duration,
        up: bool,
    },
}

impl Change {
    fn is_up(&self) -> bool {
        match self {
            Self::Unreachable { .. } => false,
            Self::Reachable { .. } => true,
            Self::Flapped { up, .. } => *up,
        }
    }

    fn text(&self, url: &str) -> String {
        match self {
            Self::Unreachable { why } => format!("{url} cannot be reached: {why}"),
            Self::Reachable { after, refused } => {
                let refused = if *refused {
                    "; nothing listened there in between"
                } else {
                    ""
                };
                let after = after.as_secs().max(1);
                format!("{url} can be reached again, after {after} s{refused}")
            }
            Self::Flapped { changes, over, up } => {
                let now = if *up { "can" } else { "cannot" };
                let over = over.as_secs();
                format!("{url} {now} be reached now, after {changes} more changes in {over} s")
            }
        }
    }
}

/// Turns observations into reports. Pure.
#[derive(Debug)]
struct State {
    /// The confirmed state. A gateway that was never reached counts as reachable, so that only its
    /// absence is reported.
    up: bool,
    /// Observations in a row that contradict it.
    against: u32,
    /// When the first of them came.
    turned: Instant,
    /// When the last change was confirmed.
    changed: Instant,
    down_since: Instant,
    nobody: bool,
    budget: u32,
    refilled: Instant,
    suppressed: u32,
    suppressed_since: Instant,
}

impl State {
    fn new(now: Instant) -> Self {
        Self {
            up: true,
            against: 0,
            turned: now,
            changed: now,
            down_since: now,
            nobody: true,
            budget: MOST,
            refilled: now,
            suppressed: 0,
            suppressed_since: now,
        }
    }

    /// Time from one dial to the next.
    fn pause(&self) -> Duration {
        match (self.up, self.against) {
            (_, 1..) => Duration::ZERO,
            (true, 0) => SLOW,
            (false, 0) => AWAY,
        }
    }

    fn observe(&mut self, seen: Observation, now: Instant) -> Option<Change> {
        let up = seen == Observation::Up;
        if let Observation::Down { nobody, .. } = &seen {
            // The first failure of an outage starts over.
            let begins = self.up && self.against == 0;
            self.nobody = *nobody && (begins || self.nobody);
        }
        if up == self.up {
            self.against = 0;
            return self.sum_up(now);
        }
        if self.against == 0 {
            self.turned = now;
        }
        self.against += 1;
        if self.against < CONFIRMED {
            return None;
        }
        (self.up, self.against, self.changed) = (up, 0, now);
        let change = match seen {
            Observation::Down { why, .. } => {
                self.down_since = self.turned;
                Change::Unreachable { why }
            }
            Observation::Up => Change::Reachable {
                after: self.turned.saturating_duration_since(self.down_since),
                refused: self.nobody,
            },
        };
        self.spend(now).then_some(change)
    }

    /// Whether one more change may be reported by itself.
    fn spend(&mut self, now: Instant) -> bool {
        while self.budget < MOST && now.saturating_duration_since(self.refilled) >= REFILL {
            self.budget += 1;
            self.refilled += REFILL;
        }
        if self.budget == MOST {
            self.refilled = now;
        }
        // Once changes are being counted, count all of them, so that the report with the sum comes
        // last.
        if self.budget == 0 || self.suppressed > 0 {
            if self.suppressed == 0 {
                self.suppressed_since = now;
            }
            self.suppressed += 1;
            return false;
        }
        self.budget -= 1;
        true
    }

    fn sum_up(&mut self, now: Instant) -> Option<Change> {
        if self.suppressed == 0 || now.saturating_duration_since(self.changed) < STEADY {
            return None;
        }
        let changes = std::mem::take(&mut self.suppressed);
        Some(Change::Flapped {
            changes,
            over: now.saturating_duration_since(self.suppressed_since),
            up: self.up,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn down(nobody: bool) -> Observation {
        let why = "why".to_owned();
        Observation::Down { why, nobody }
    }

    /// The reports for these observations, one per second.
    fn reports(seen: impl IntoIterator<Item = Observation>) -> Vec<(u64, Change)> {
        let start = Instant::now();
        let mut state = State::new(start);
        let mut found = Vec::new();
        for (second, seen) in (1..).zip(seen) {
            let change = state.observe(seen, start + Duration::from_secs(second));
            found.extend(change.map(|change| (second, change)));
        }
        found
    }

    fn times(seen: &Observation, count: usize) -> Vec<Observation> {
        vec![seen.clone(); count]
    }

    #[test]
    fn a_steady_gateway_is_not_reported() {
        assert_eq!(reports(times(&Observation::Up, 1000)), []);
        // A single failed dial is never reported, however often it happens.
        let single = [times(&Observation::Up, 9), vec![down(true)]].concat();
        assert_eq!(reports(vec![single; 50].concat()), []);
    }

    #[test]
    fn each_change_is_reported_once() {
        let (up, gone) = (times(&Observation::Up, 10), times(&down(true), 10));
        let found = reports([up.clone(), gone, up].concat());
        let why = "why".to_owned();
        let after = Duration::from_secs(10);
        let expected = [
            (12, Change::Unreachable { why }),
            (
                22,
                Change::Reachable {
                    after,
                    refused: true,
                },
            ),
        ];
        assert_eq!(found, expected);
    }

    #[test]
    fn one_that_is_away_from_the_start_is_reported() {
        let found = reports(times(&down(false), 100));
        assert!(
            matches!(found[..], [(2, Change::Unreachable { .. })]),
            "{found:?}"
        );
    }

    #[test]
    fn only_an_outage_that_was_refused_all_the_time_is_said_to_be_one() {
        for (outage, refused) in [
            (vec![down(true), down(true)], true),
            (vec![down(false), down(false)], false),
            (vec![down(true), down(true), down(false)], false),
            (vec![down(false), down(true), down(true)], false),
        ] {
            let found = reports(
                [
                    times(&Observation::Up, 2),
                    outage,
                    times(&Observation::Up, 2),
                ]
                .concat(),
            );
            let refused_seen = found.iter().find_map(|(_, change)| match change {
                Change::Reachable { refused, .. } => Some(*refused),
                _ => None,
            });
            assert_eq!(refused_seen, Some(refused));
        }
        // Another outage before does not count.
        let timed_out = [times(&down(false), 3), times(&Observation::Up, 3)].concat();
        let found =
            reports([timed_out, times(&down(true), 3), times(&Observation::Up, 3)].concat());
        let last = &found.last().unwrap().1;
        assert!(
            matches!(last, Change::Reachable { refused: true, .. }),
            "{found:?}"
        );
    }

    #[test]
    fn a_flapping_gateway_does_not_flood_and_is_summed_up() {
        let flap = [times(&down(true), 3), times(&Observation::Up, 3)].concat();
        let found = reports([vec![flap; 100].concat(), times(&Observation::Up, 100)].concat());
        let changes = MOST as usize..=MOST as usize + 4;
        assert!(changes.contains(&(found.len() - 1)), "{found:?}");
        let (_, last) = found.last().unwrap();
        assert!(
            matches!(last, Change::Flapped { up: true, .. }),
            "{found:?}"
        );
        let changes: u32 = found
            .iter()
            .map(|(_, change)| match change {
                Change::Flapped { changes, .. } => *changes,
                _ => 1,
            })
            .sum();
        assert_eq!(changes, 200);
    }
}
