//! Sessions that end at random ages, on either leg, at any rate: no verdict takes chance for a
//! cause, but timers among them are found.

use std::collections::VecDeque;

use super::*;
use crate::session::memory::{Living, Memory};
use crate::session::moment::Moment;
use crate::session::party::Leg;
use crate::session::record::dialect::DialectFacts;
use crate::session::record::{Confidence, TransportEnd};

/// `SplitMix64`: a repeatable random generator.
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A random number from 0 to 1.
    #[expect(clippy::cast_precision_loss, reason = "53 bits are kept")]
    fn part(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    fn uniform(&mut self, low: f64, high: f64) -> f64 {
        low + self.part() * (high - low)
    }

    fn log_uniform(&mut self, low: f64, high: f64) -> f64 {
        self.uniform(low.ln(), high.ln()).exp()
    }

    fn exponential(&mut self, mean: f64) -> f64 {
        -(1.0 - self.part()).ln() * mean
    }

    fn normal(&mut self, mean: f64, deviation: f64) -> f64 {
        let radius = (-2.0 * (1.0 - self.part()).ln()).sqrt();
        mean + deviation * radius * (std::f64::consts::TAU * self.part()).cos()
    }
}

/// One session: its start, its age when it was lost, and how long it had been silent.
#[derive(Clone, Copy, Debug)]
struct Life {
    opened_ms: i64,
    age_ms: i64,
    silence_ms: Option<i64>,
    leg: Leg,
}

impl Life {
    fn ends_ms(&self) -> i64 {
        self.opened_ms + self.age_ms
    }
}

fn at(ms: i64) -> Moment {
    Moment(jiff::Timestamp::from_millisecond(1_795_000_000_000 + ms).unwrap())
}

/// The session's record, with its own client address.
fn record(base: &SessionRecord, number: usize, life: &Life) -> SessionRecord {
    let mut record = base.clone();
    let end = at(life.ends_ms());
    record.id = uuid::Uuid::from_u128(number as u128 + 1);
    record.opened_at = at(life.opened_ms);
    record.closed_at = end;
    record.client.addr = format!("10.1.{}.{}:40000", number / 250, number % 250);
    let ends = &mut record.close.transport;
    match life.leg {
        Leg::Client => ends.client_at = Some(end),
        Leg::Gateway => ends.gateway_at = Some(end),
    }
    let frames = record.frames.as_mut().unwrap();
    let last = life.silence_ms.map(|silence| at(life.ends_ms() - silence));
    frames.to_gateway.last_at = last;
    frames.to_client.last_at = last;
    if let Some(DialectFacts::OpenClaw(facts)) = &mut record.dialect {
        facts.answered_at = Some(at(life.opened_ms));
    }
    record
}

fn base(leg: Leg) -> SessionRecord {
    let mut base = fixture(match leg {
        Leg::Client => "client.left.reset",
        Leg::Gateway => "gateway.left.open",
    });
    let ends = &base.close.transport;
    let end = match leg {
        Leg::Client => ends.client,
        Leg::Gateway => ends.gateway,
    };
    assert!(end.is_by_peer(), "{end:?}");
    base.context = None;
    base
}

/// Passes all sessions through the memory as the tap does: each is added when it ends, and judged a
/// second later together with the sessions that are known to be open then.
fn judge(lives: &[Life]) -> Vec<(Life, Verdict)> {
    const WAIT_MS: i64 = 1000;
    let mut lives = lives.to_vec();
    lives.sort_by_key(Life::ends_ms);
    let bases = [base(Leg::Client), base(Leg::Gateway)];
    let mut memory = Memory::default();
    let mut waiting: VecDeque<(Life, SessionRecord)> = VecDeque::new();
    let mut judged = Vec::new();
    let settle = |memory: &Memory, (life, mut record): (Life, SessionRecord)| {
        let now = life.ends_ms() + WAIT_MS;
        let survives = |other: &&Life| other.opened_ms < life.ends_ms() && other.ends_ms() > now;
        let survivors = lives.iter().filter(survives).take(256).count();
        let living = Living {
            survivors: u32::try_from(survivors).unwrap(),
            ..Living::default()
        };
        record.context = memory.context(&record, &living);
        (life, decide(&record))
    };
    for (number, life) in lives.iter().enumerate() {
        while let Some((first, _)) = waiting.front()
            && first.ends_ms() + WAIT_MS <= life.ends_ms()
        {
            judged.push(settle(&memory, waiting.pop_front().unwrap()));
        }
        let base = match life.leg {
            Leg::Client => &bases[0],
            Leg::Gateway => &bases[1],
        };
        let record = record(base, number, life);
        memory.note(&record);
        waiting.push_back((*life, record));
    }
    judged.extend(waiting.into_iter().map(|one| settle(&memory, one)));
    judged
}

const BLAMED: [&str; 3] = [
    "hop.fault.idle_cadence",
    "gateway.lifecycle.crash",
    "gateway.lifecycle.restarting",
];

/// Draws an age in seconds.
type Spread = fn(&mut Dice) -> f64;

/// Distributions of ages, as people, programs and networks cause them.
const SPREADS: [(&str, Spread); 11] = [
    ("log-uniform", |dice| dice.log_uniform(1.2, 60.0)),
    ("log-uniform, both legs", |dice| dice.log_uniform(1.2, 60.0)),
    ("log-uniform, hours", |dice| dice.log_uniform(2.0, 9000.0)),
    ("uniform", |dice| dice.uniform(0.0, 90.0)),
    ("exponential", |dice| dice.exponential(25.0)),
    ("a program of 1 to 3 s", |dice| dice.uniform(1.0, 3.0)),
    ("a program of about 10 s", |dice| dice.normal(10.0, 1.0)),
    ("a program of 60 s, give or take", |dice| {
        dice.normal(60.0, 4.2)
    }),
    ("people", |dice| dice.normal(300_f64.ln(), 0.8).exp()),
    ("half people, half a program", |dice| {
        if dice.part() < 0.5 {
            dice.log_uniform(1.2, 3600.0)
        } else {
            dice.normal(20.0, 1.6)
        }
    }),
    ("three programs", |dice| match dice.next() % 3 {
        0 => dice.normal(3.0, 0.3),
        1 => dice.normal(15.0, 1.5),
        _ => dice.normal(40.0, 4.0),
    }),
];

fn millis(seconds: f64) -> i64 {
    #[expect(clippy::cast_possible_truncation, reason = "hours at most")]
    let ms = (seconds * 1000.0).round() as i64;
    ms.max(1)
}

/// Sessions with ages of this distribution. They begin all at once, or one after the other.
fn at_random(dice: &mut Dice, spread: Spread, leg: Leg, count: usize) -> Vec<Life> {
    let mean_gap = [0.0, 0.2, 3.0][usize::try_from(dice.next() % 3).unwrap()];
    let talks = dice.next() % 3;
    let mut opened_ms = 0;
    let mut one = |dice: &mut Dice| {
        opened_ms += millis(dice.exponential(mean_gap)) - 1;
        let age_ms = millis(spread(dice));
        // No message at all, the last one at a random time, or one every 25 s as from a gateway.
        #[expect(clippy::cast_precision_loss, reason = "hours at most")]
        let silence_ms = match talks {
            0 => None,
            1 => Some(millis(dice.part() * age_ms as f64 / 1000.0)),
            _ => Some(age_ms % 25_000),
        };
        Life {
            opened_ms,
            age_ms,
            silence_ms,
            leg,
        }
    };
    (0..count).map(|_| one(dice)).collect()
}

/// The same in every run, unless a longer search asks for other values.
fn seed() -> u64 {
    let given = std::env::var("WSTAP_TEST_SEED").ok();
    given.map_or(13, |seed| {
        seed.parse().expect("WSTAP_TEST_SEED is a number")
    })
}

#[test]
fn sessions_that_end_at_random_blame_nobody() {
    let mut dice = Dice(seed());
    for (number, (name, spread)) in SPREADS.into_iter().enumerate() {
        let leg = [Leg::Client, Leg::Gateway][number % 2];
        for (life, verdict) in judge(&at_random(&mut dice, spread, leg, 1000)) {
            assert!(
                !BLAMED.contains(&verdict.rule.as_str()),
                "{name}, {leg:?}: {life:?} is {verdict:#?}"
            );
        }
    }
}

/// Three hundred clients that connect all at once, as in a load test.
#[test]
fn three_hundred_clients_that_leave_at_random_are_no_crash_and_no_cadence() {
    let mut dice = Dice(300);
    for leg in [Leg::Client, Leg::Gateway] {
        for _ in 0..5 {
            let one = |dice: &mut Dice| Life {
                opened_ms: 0,
                age_ms: millis(dice.log_uniform(1.2, 60.0)),
                silence_ms: None,
                leg,
            };
            let lives: Vec<Life> = (0..300).map(|_| one(&mut dice)).collect();
            for (life, verdict) in judge(&lives) {
                let blamed = BLAMED.contains(&verdict.rule.as_str());
                assert!(!blamed, "{life:?} is {verdict:#?}");
                assert!(!verdict.next.contains("share"), "{life:?} is {verdict:#?}");
            }
        }
    }
}

/// Every other session is cut by a timer with this much jitter; the rest end by themselves.
fn with_noise(dice: &mut Dice, period_ms: i64, jitter_ms: f64, leg: Leg) -> Vec<Life> {
    let mut opened_ms = 0;
    let mut lives = Vec::new();
    for number in 0..20 {
        opened_ms += 4000 + millis(dice.exponential(5.0));
        let cut = number % 2 == 1;
        let talked_ms = millis(dice.uniform(0.05, 40.0));
        #[expect(clippy::cast_precision_loss, reason = "an hour at most")]
        let silence_ms = if cut {
            period_ms + millis((dice.uniform(0.0, jitter_ms)) / 1000.0)
        } else {
            millis(dice.log_uniform(1.2, period_ms as f64 / 500.0))
        };
        lives.push(Life {
            opened_ms,
            age_ms: talked_ms + silence_ms,
            silence_ms: Some(silence_ms),
            leg,
        });
    }
    lives
}

#[test]
fn a_timer_among_as_many_that_end_by_themselves_is_found_by_its_tenth_cut() {
    let mut dice = Dice(10);
    for leg in [Leg::Client, Leg::Gateway] {
        for period_ms in [5_000, 30_000, 60_000, 350_000] {
            for _ in 0..25 {
                #[expect(clippy::cast_precision_loss, reason = "minutes")]
                let jitter_ms = 10.0 + period_ms as f64 * 0.002;
                let lives = with_noise(&mut dice, period_ms, jitter_ms, leg);
                let judged = judge(&lives);
                let cut = |life: &Life| {
                    let late = life.silence_ms.unwrap_or(0) - period_ms;
                    (0..=2 * millis(jitter_ms / 1000.0)).contains(&late)
                };
                let (_, last) = judged.iter().rfind(|(life, _)| cut(life)).unwrap();
                assert_eq!(
                    last.rule, "hop.fault.idle_cadence",
                    "{period_ms}: {last:#?}"
                );
                // A session that ends by itself after that time cannot be distinguished from a cut
                // one.
                let near = |life: &Life| {
                    let off = life.silence_ms.unwrap_or(0).abs_diff(period_ms);
                    off * 25 < period_ms.unsigned_abs()
                };
                let others = judged.iter().filter(|(life, _)| !near(life));
                for (life, verdict) in others {
                    assert!(
                        verdict.rule != "hop.fault.idle_cadence",
                        "{life:?}: {verdict:#?}"
                    );
                }
            }
        }
    }
}

/// Sessions of equal age with a byte right before the end are a program's habit, not a proxy's
/// timer.
#[test]
fn programs_that_always_take_as_long_are_no_hops_fault() {
    for leg in [Leg::Client, Leg::Gateway] {
        let lives: Vec<Life> = (0..200)
            .map(|number| Life {
                opened_ms: number * 5000,
                age_ms: 2000 + number % 3,
                silence_ms: Some(120),
                leg,
            })
            .collect();
        for (_, verdict) in judge(&lives) {
            assert!(!BLAMED.contains(&verdict.rule.as_str()), "{verdict:#?}");
        }
    }
}

/// Three sessions that are cut at once, again and again. All get the gateway's ticks at the same
/// moment.
fn mass_cuts(cuts: usize, mut next: impl FnMut(i64) -> (i64, i64)) -> Vec<Life> {
    let mut last_ms = 0;
    let one = |_| {
        let (end_ms, silence_ms) = next(last_ms);
        let opened_ms = last_ms + 1;
        last_ms = end_ms;
        (0..3).map(move |late| Life {
            opened_ms,
            age_ms: end_ms + late - opened_ms,
            silence_ms: Some(silence_ms + late),
            leg: Leg::Gateway,
        })
    };
    (0..cuts).flat_map(one).collect()
}

/// `possible` is less than one of a hundred by chance, and `likely` is never.
#[test]
fn mass_cuts_at_random_times_with_shared_ticks_are_no_cadence() {
    const TICK_MS: i64 = 30_000;
    let mut dice = Dice(seed());
    let (mut judged, mut possible) = (0, 0);
    for _ in 0..300 {
        let lives = mass_cuts(6, |last_ms| {
            let end_ms = last_ms + millis(dice.uniform(700.0, 1400.0));
            (end_ms, end_ms % TICK_MS)
        });
        for (life, verdict) in judge(&lives) {
            judged += 1;
            if verdict.rule == "hop.fault.idle_cadence" {
                possible += 1;
                let likely = verdict.confidence != Confidence::Possible;
                assert!(!likely, "{life:?} is {verdict:#?}");
            }
        }
    }
    assert_eq!(judged, 300 * 6 * 3);
    assert!(possible * 100 < judged, "{possible} of {judged}");
}

#[test]
fn mass_cuts_of_a_timer_are_possible_from_the_second_and_likely_by_the_fourth() {
    let mut dice = Dice(12);
    for period_ms in [10_000, 20_000, 60_000] {
        let lives = mass_cuts(4, |last_ms| {
            let silence_ms = period_ms + millis(dice.uniform(0.0, 0.005));
            let talked_ms = millis(dice.uniform(700.0, 1400.0));
            (last_ms + talked_ms + silence_ms, silence_ms)
        });
        let verdicts: Vec<_> = judge(&lives)
            .into_iter()
            .map(|(_, verdict)| verdict)
            .collect();
        let cadence = "hop.fault.idle_cadence";
        assert!(verdicts[..3].iter().all(|verdict| verdict.rule != cadence));
        for verdict in &verdicts[3..6] {
            assert_eq!(verdict.rule, cadence, "{period_ms}: {verdict:#?}");
            assert_eq!(verdict.confidence, Confidence::Possible);
        }
        for verdict in &verdicts[9..] {
            assert_eq!(verdict.rule, cadence, "{period_ms}: {verdict:#?}");
            assert_eq!(verdict.confidence, Confidence::Likely);
        }
    }
}

fn left_leg(leg: Leg) -> TransportEnd {
    let base = base(leg);
    match leg {
        Leg::Client => base.close.transport.client,
        Leg::Gateway => base.close.transport.gateway,
    }
}

#[test]
fn the_sessions_of_these_tests_are_lost() {
    assert_eq!(left_leg(Leg::Client), TransportEnd::Rst);
    assert!(left_leg(Leg::Gateway).is_orderly());
    let verdicts = judge(&[Life {
        opened_ms: 0,
        age_ms: 9000,
        silence_ms: Some(5000),
        leg: Leg::Gateway,
    }]);
    assert_eq!(verdicts[0].1.rule, "gateway.left.open");
}
