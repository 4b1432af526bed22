//! Decides whether sessions end after a fixed time, and how unlikely that is by chance.
//!
//! Ages of sessions cluster by chance: of three hundred sessions that end at random, some three
//! always end at nearly the same age. So a period is claimed only where no plausible distribution
//! of ages (of people, programs and networks) would give as many ends in such a narrow window.
//!
//! The distribution itself is not known. We only assume that it is smooth: whatever it is, a window is
//! expected to hold at most [`DENSITY`] times its width of the ends around a period. A log-uniform
//! distribution has two fifths of that; a bell curve reaches it when its deviation is 8 % of its mean.
//! Timers are an order of magnitude more precise.

use super::chance::{float, ln_chance, ln_factorials, one_in};
use super::down::ONE_EVENT;
use super::event::{TOGETHER_MS, within_a_second};
use super::remembered::Remembered;
use super::together::Together;
use crate::session::moment::Moment;
use crate::session::party::Leg;
use crate::session::record::context::{Cadence, Measure};

/// Defaults of well-known proxies and load balancers, in seconds.
pub(crate) const PERIODS_S: [u32; 8] = [30, 58, 60, 100, 180, 300, 350, 3600];

/// Shorter sessions say nothing about timers.
pub(super) const LEAST_PERIOD_MS: u64 = 1500;

/// A claim must be less likely by chance than one case in this many.
pub(crate) const FAR_FROM_CHANCE: u64 = 1_000_000;

/// Equal silence of waves is reported as possible if it is rarer than this by chance.
pub(crate) const WAVES_ALIKE: u64 = 100;

/// A session that carried a byte this shortly before its end was not cut for being idle, and that
/// last message may have ended it.
const JUST_BEFORE_MS: u64 = 1000;

/// Fewer ends do not form a cluster.
const LEAST_CASES: usize = 3;

/// Ends within this share of a value count as the ends around it.
const AROUND: f64 = 0.25;

/// Width of the widest cluster, as a share of its value: one second of 40.
const WIDEST: f64 = 0.025;

/// Largest share of the ends around a value that a window may hold by chance, per unit of the
/// window's relative width.
const DENSITY: f64 = 5.0;

/// Maximum number of ends around a value that are examined, the latest ones; bounds the work.
const MOST: usize = 128;

/// Precision of times: rounding to milliseconds at both ends of a window adds up to this.
const RESOLUTION_MS: u64 = 1;

/// Sessions that end within one second are a wave from this number on.
const WAVE: usize = 3;

/// The end of one leg, if a timer could have caused it.
struct Cut<'a> {
    at: Moment,
    value: u64,
    session: &'a Remembered,
}

/// The cluster of ends that is least likely to occur by chance.
struct Cluster {
    first: usize,
    last: usize,
    ln_chance: f64,
}

/// The period that this session's end belongs to.
pub(super) fn cadence(
    ends: &[&Remembered],
    this: &Remembered,
    together: &Together<'_>,
) -> Option<Cadence> {
    let (leg, _) = this.lost.filter(|_| could_be_a_timers(this))?;
    let of_leg = ends.iter().filter(|other| is_end_of(leg, other));
    // Each of them was tested when it ended, and each test was another chance of a false claim.
    let looks = of_leg.count() + 1;
    let by_silence = clustered(ends, this, (leg, Measure::Silence), looks);
    let by_age = clustered(ends, this, (leg, Measure::Age), looks);
    let clustered = more_likely(by_silence, by_age);
    // All sessions get the gateway's ticks at the same moment, so sessions that end within one second
    // have always been silent for equally long. They are a wave only if more end than in a usual
    // second.
    let usual = together.one_in.is_some_and(|one_in| one_in < ONE_EVENT);
    let waves = waves(ends, this, leg, looks).filter(|_| !usual);
    match (clustered, waves) {
        (Some(found), waves) => Some(Cadence {
            waves: waves.map_or(0, |waves| waves.waves),
            ..found
        }),
        (None, waves) => waves,
    }
}

/// Decides whether silence or age explains the ends. Sessions that carry data at their start and
/// nothing later are as alike in age as in silence, whichever of the two ended them. Idle timers
/// are far more common, so silence wins unless it explains clearly fewer ends.
fn more_likely(by_silence: Option<Cadence>, by_age: Option<Cadence>) -> Option<Cadence> {
    let (Some(silence), Some(age)) = (by_silence, by_age) else {
        return by_silence.or(by_age);
    };
    let nearly_as_many = |one: &Cadence, other: &Cadence| {
        one.cases.saturating_mul(4) >= other.cases.saturating_mul(3)
    };
    if !nearly_as_many(&silence, &age) {
        return Some(age);
    }
    let same_age_ms = nearly_as_many(&age, &silence).then_some(age.period_ms);
    Some(Cadence {
        same_age_ms,
        ..silence
    })
}

fn is_end_of(leg: Leg, one: &Remembered) -> bool {
    one.lost.is_some_and(|(its, _)| its == leg) && !one.given_up
}

/// Whether a timer in the path may have ended a session: it was open, it had been quiet, our own
/// keepalive did not end it, and the gateway had not announced a shutdown.
fn could_be_a_timers(one: &Remembered) -> bool {
    let quiet = one
        .silence_ms
        .is_none_or(|silence| silence >= JUST_BEFORE_MS);
    one.open && quiet && !one.given_up && one.shutdown.is_none()
}

fn value(measure: Measure, one: &Remembered) -> Option<u64> {
    let value = match measure {
        Measure::Silence => one.silence_ms,
        Measure::Age => Some(one.age_ms),
    };
    value.filter(|value| *value >= LEAST_PERIOD_MS)
}

fn clustered(
    ends: &[&Remembered],
    this: &Remembered,
    (leg, measure): (Leg, Measure),
    looks: usize,
) -> Option<Cadence> {
    let own = value(measure, this)?;
    let around = around(ends, this, own, (leg, measure));
    let values: Vec<u64> = around.iter().map(|cut| cut.value).collect();
    let found = narrowest(&values, own)?;
    let measures = 2;
    let sizes = values.len().saturating_sub(LEAST_CASES - 1);
    let tried = looks.saturating_mul(sizes).saturating_mul(measures);
    let one_in = one_in(found.ln_chance + float(tried).ln());
    let members = around.get(found.first..=found.last)?;
    let clients = clients(members.iter().map(|cut| cut.session));
    // If the sessions of one client all last equally long, the client may have a limit of its own.
    let own_limit = leg == Leg::Client && measure == Measure::Age && clients < 2;
    if one_in < FAR_FROM_CHANCE || own_limit {
        return None;
    }
    let period_ms = members.get(members.len() / 2)?.value;
    Some(Cadence {
        measure,
        leg,
        period_ms,
        same_age_ms: None,
        cases: u32::try_from(members.len()).unwrap_or(u32::MAX),
        known_s: known(period_ms),
        compared: u32::try_from(looks).unwrap_or(u32::MAX),
        one_in: Some(one_in),
        clients,
        waves: 0,
    })
}

/// The ends around a value, sorted by their own values. Ends within a second of each other share a
/// cause, which need not be a timer, so they count once. The same holds for this session and the
/// ones that ended at the same time.
fn around<'a>(
    ends: &[&'a Remembered],
    this: &'a Remembered,
    own: u64,
    (leg, measure): (Leg, Measure),
) -> Vec<Cut<'a>> {
    let is_near = |value: &u64| float(value.abs_diff(own)) <= AROUND * float(own);
    let mut near: Vec<Cut<'a>> = ends
        .iter()
        .filter(|other| is_end_of(leg, other) && could_be_a_timers(other))
        .filter(|other| !within_a_second(other.closed_at, this.closed_at))
        .filter_map(|other| {
            Some(Cut {
                at: other.closed_at,
                value: value(measure, other).filter(is_near)?,
                session: other,
            })
        })
        .collect();
    near.sort_by_key(|cut| (cut.at, cut.value));
    let mut last = None;
    near.retain(|cut| {
        let apart = last.is_none_or(|last| !within_a_second(cut.at, last));
        if apart {
            last = Some(cut.at);
        }
        apart
    });
    near.drain(..near.len().saturating_sub(MOST));
    near.push(Cut {
        at: this.closed_at,
        value: own,
        session: this,
    });
    near.sort_by_key(|cut| cut.value);
    near
}

/// The window around `own` that is least likely to occur by chance. `values` are sorted and contain
/// `own`.
fn narrowest(values: &[u64], own: u64) -> Option<Cluster> {
    let place = values.partition_point(|value| *value < own);
    let ln_factorials = ln_factorials(values.len());
    let mut best: Option<Cluster> = None;
    for (first, low) in values.iter().enumerate().take(place + 1).rev() {
        if share(own - low, own) > WIDEST {
            break;
        }
        for (last, high) in values.iter().enumerate().skip(place) {
            let width = high - low + RESOLUTION_MS;
            let cases = last - first + 1;
            if share(width, own) > WIDEST {
                break;
            }
            let by_chance = DENSITY * share(width, own);
            let ln_chance = ln_chance(values.len(), cases, by_chance, &ln_factorials);
            let rarer = best.as_ref().is_none_or(|best| ln_chance < best.ln_chance);
            if cases >= LEAST_CASES && rarer && stands_out(values, (*low, *high), cases) {
                best = Some(Cluster {
                    first,
                    last,
                    ln_chance,
                });
            }
        }
    }
    best
}

/// Whether a window is at least four times as dense as its surroundings, three widths on each side. A
/// window at the top of a bell curve is hardly denser than its surroundings, however many ends there
/// are.
fn stands_out(values: &[u64], (low, high): (u64, u64), cases: usize) -> bool {
    let reach = 3 * (high - low + RESOLUTION_MS);
    let from = values.partition_point(|value| value.saturating_add(reach) < low);
    let to = values.partition_point(|value| *value <= high.saturating_add(reach));
    let surroundings = (to - from).saturating_sub(cases);
    2 * surroundings <= 3 * cases
}

/// Treats the ends as waves: all sessions that were lost in one second had been silent for equally
/// long, and the same happened before, after the same silence. The gateway's process went on in
/// between, so it did not end then, and probably has not ended now.
///
/// That the sessions of one wave are alike says nothing: all of them get the gateway's ticks at one
/// moment. What counts is how alike the waves are, and from how many they were chosen. A cut at a
/// random moment comes a time `t` after the last tick. Its density only falls with `t`, however the
/// ticks are spread, so it is never more than `1/t`. So an earlier wave is within `d` of this one's
/// silence by chance in at most `2d/(own - d)` of cases.
fn waves(ends: &[&Remembered], this: &Remembered, leg: Leg, looks: usize) -> Option<Cadence> {
    let own = value(Measure::Silence, this)?;
    let mut of_leg: Vec<&Remembered> = ends
        .iter()
        .copied()
        .filter(|other| is_end_of(leg, other))
        .collect();
    of_leg.sort_by_key(|other| other.closed_at);
    let beside = of_leg
        .iter()
        .copied()
        .filter(|other| within_a_second(other.closed_at, this.closed_at));
    let now: Vec<&Remembered> = beside.chain([this]).collect();
    if !is_wave(&now, own) {
        return None;
    }
    let clients = clients(now.iter().copied());
    if leg == Leg::Client && clients < 2 {
        return None;
    }
    // A wave that came while this session was already silent would have cut this session too.
    let before = |other: &&Remembered| {
        let ago = u64::try_from(this.closed_at.millis_since(other.closed_at));
        ago.is_ok_and(|ago| ago.saturating_add(TOGETHER_MS.unsigned_abs()) >= own)
            && !within_a_second(other.closed_at, this.closed_at)
    };
    let of_leg: Vec<&Remembered> = of_leg.into_iter().filter(before).collect();
    let mut earlier = Vec::new();
    let mut rest = of_leg.as_slice();
    while let Some(first) = rest.first() {
        let length =
            rest.partition_point(|other| within_a_second(other.closed_at, first.closed_at));
        let (wave, later) = rest.split_at(length.max(1));
        let its = first.silence_ms.unwrap_or(0);
        if is_wave(wave, its) && wave.iter().all(|one| went_on(one, this)) {
            let off = |one: &&Remembered| one.silence_ms.unwrap_or(0).abs_diff(own);
            earlier.extend(wave.iter().map(off).max());
        }
        rest = later;
    }
    earlier.sort_unstable();
    let (alike, one_in) = most_alike(&earlier, own)?;
    let waves = u32::try_from(alike + 1).unwrap_or(u32::MAX);
    (one_in >= WAVES_ALIKE).then(|| Cadence {
        measure: Measure::Silence,
        leg,
        period_ms: own,
        same_age_ms: None,
        cases: waves,
        known_s: known(own),
        compared: u32::try_from(looks).unwrap_or(u32::MAX),
        one_in: Some(one_in),
        clients,
        waves,
    })
}

/// The number of earlier waves whose nearness to this one's silence is least likely by chance, and
/// the "one case in N" of that. `off` is the distance of each wave, the nearest first.
fn most_alike(off: &[u64], own: u64) -> Option<(usize, u64)> {
    let all = off.len();
    let ln_factorials = ln_factorials(all);
    let ln = |count: usize| ln_factorials.get(count).copied().unwrap_or(0.0);
    // Every number of waves is a try, and every wave was examined when it came.
    let tries = float(all).ln() + float(all + 1).ln();
    off.iter()
        .take_while(|off| share(**off, own) <= WIDEST)
        .zip(1..)
        .map(|(off, alike)| {
            let by_chance = share(2 * off + RESOLUTION_MS, own.saturating_sub(*off).max(1));
            let choices = ln(all) - ln(alike) - ln(all - alike);
            let ln_chance = choices + float(alike) * by_chance.min(1.0).ln();
            (alike, one_in(ln_chance + tries))
        })
        .max_by_key(|(_, one_in)| *one_in)
}

/// Whether there are enough ends, each after the same silence.
fn is_wave(ends: &[&Remembered], own: u64) -> bool {
    /// Delay that scheduling adds to short silences.
    const SLACK_MS: u64 = 50;

    let as_silent = |one: &&Remembered| {
        let silence = value(Measure::Silence, one).filter(|_| could_be_a_timers(one));
        silence.is_some_and(|its| its.abs_diff(own) <= own / 50 + SLACK_MS)
    };
    ends.len() >= WAVE && ends.iter().all(as_silent)
}

/// Whether the process of an earlier session went on: it accepted this session after the earlier
/// one's end, or this session was open at that time and survived.
fn went_on(earlier: &Remembered, this: &Remembered) -> bool {
    let same_process = this.shares_process_with(earlier);
    let heard_later = this.heard_at > earlier.closed_at;
    let outlived = this.open && this.heard_at <= earlier.closed_at;
    same_process && heard_later || outlived
}

/// Number of client addresses among the sessions. Where the address is not known, a proxy may hide
/// several clients.
fn clients<'a>(sessions: impl Iterator<Item = &'a Remembered>) -> u32 {
    let mut known = Vec::new();
    let mut unknown: u32 = 0;
    for session in sessions {
        match session.client {
            Some(client) => known.push(client),
            None => unknown = unknown.saturating_add(1),
        }
    }
    known.sort_unstable();
    known.dedup();
    u32::try_from(known.len()).map_or(u32::MAX, |known| known.saturating_add(unknown))
}

/// The well-known default within 3 % of a period.
fn known(period_ms: u64) -> Option<u32> {
    PERIODS_S.into_iter().find(|seconds| {
        let wanted = u64::from(*seconds) * 1000;
        period_ms.abs_diff(wanted) * 100 <= wanted * 3
    })
}

fn share(part: u64, whole: u64) -> f64 {
    float(part) / float(whole)
}
