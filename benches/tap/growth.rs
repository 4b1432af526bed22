//! How the cost of a message grows with sessions, and what the tap's settings change in it.

use std::time::Duration;

use crate::bench::{Bench, Proxy, Target, turns};
use crate::cost::spent;
use crate::idle::within;
use crate::report::{TAP, WHOLE};
use crate::support::Fallible;
use crate::support::crowd::Crowd;
use crate::support::numbers::median;
use crate::support::tap::Setup;

pub const GROUP: &str = "growth: CPU µs a message of 1 KiB each way";
pub const SETTINGS: &str = "settings of wstap: CPU µs a call of 1 KiB and its answer, or an event";

const SIZE: usize = 1024;
/// In each session and turn.
const EVENTS: usize = 1_000;
/// Above this a client holds the sessions of one target at a time.
const ALL_AT_ONCE: usize = 1_000;

pub fn measure(bench: &mut Bench) -> Fallible<()> {
    bench.apart()?;
    for wanted in bench.plan.growth.clone() {
        let sessions = within(bench, wanted);
        let targets: Vec<&Target> = bench
            .targets
            .iter()
            .filter(|one| one.name != WHOLE)
            .collect();
        let found = if sessions > ALL_AT_ONCE {
            targets
                .iter()
                .flat_map(|target| round(bench, &[target], sessions, Work::Calls(1)))
                .collect()
        } else {
            round(bench, &targets, sessions, Work::Calls(1))
        };
        let label = format!("{sessions} sessions");
        let names: Vec<_> = targets.iter().map(|target| target.name).collect();
        for (name, value) in names.into_iter().zip(found) {
            bench.less(GROUP, &label, name, value);
        }
    }
    for sessions in bench.plan.settings.clone() {
        settings(bench, sessions)?;
    }
    Ok(())
}

/// What a crowd does in a turn.
#[derive(Clone, Copy, Debug)]
enum Work {
    /// So many messages under way in each session.
    Calls(usize),
    Events,
}

impl Work {
    fn turn(self, crowd: &mut Crowd, time: Duration) -> Fallible<usize> {
        match self {
            Self::Calls(window) => crowd.storm(SIZE, window, time),
            Self::Events => crowd.listen(SIZE, EVENTS),
        }
    }
}

/// CPU microseconds a message of each of these targets.
fn round(bench: &Bench, targets: &[&Target], sessions: usize, work: Work) -> Vec<Fallible<f64>> {
    let mut crowds: Vec<Fallible<(Crowd, Vec<f64>)>> = targets
        .iter()
        .map(|target| Ok((Crowd::gather(&target.door, sessions)?, Vec::new())))
        .collect();
    for round in 0..(bench.plan.rounds / 2).max(1) {
        for turn in turns(targets.len(), round) {
            if let Ok((crowd, costs)) = &mut crowds[turn] {
                let done = || work.turn(crowd, bench.plan.storm);
                match spent(&bench.stage, targets[turn], done) {
                    Ok(cost) => costs.push(cost),
                    Err(error) => crowds[turn] = Err(error),
                }
            }
        }
    }
    let medians = crowds.into_iter().map(|crowd| {
        let (_, costs) = crowd?;
        median(costs).ok_or_else(|| "no turn was measured".into())
    });
    medians.collect()
}

/// The tap's other settings beside its usual ones, in turns.
fn settings(bench: &mut Bench, sessions: usize) -> Fallible<()> {
    let setups = setups();
    let mut targets = Vec::new();
    for (_, setup) in &setups {
        let gateway = if setup.tls_to_gateway {
            bench.stage.gateway.tls
        } else {
            bench.stage.gateway.plain
        };
        let (process, door) = Proxy::start(setup, &bench.stage, gateway)?;
        targets.push(Target::of(setup.name, door, process));
    }
    let targets: Vec<&Target> = targets.iter().collect();
    for (what, sessions, work) in [
        ("one call at a time", sessions, Work::Calls(1)),
        ("8 calls under way", sessions, Work::Calls(8)),
        ("events of the gateway", sessions.min(8), Work::Events),
    ] {
        let found = round(bench, &targets, sessions, work);
        for ((text, _), value) in setups.iter().zip(found) {
            let label = format!("{sessions} sessions, {what}: {text}");
            bench.less(SETTINGS, &label, TAP, value);
        }
    }
    Ok(())
}

fn setups() -> [(&'static str, Setup); 6] {
    let other = |name| Setup {
        name,
        ..Setup::default()
    };
    [
        ("as everywhere above", Setup::default()),
        (
            "no records",
            Setup {
                records: false,
                ..other("no-records")
            },
        ),
        (
            "dialect plain",
            Setup {
                dialect: "plain",
                ..other("plain")
            },
        ),
        (
            "dialect plain, no records",
            Setup {
                dialect: "plain",
                records: false,
                ..other("plain-no-records")
            },
        ),
        (
            "TLS on both sides",
            Setup {
                tls_to_gateway: true,
                ..other("tls-both")
            },
        ),
        (
            "no TLS on either side",
            Setup {
                tls: false,
                ..other("no-tls")
            },
        ),
    ]
}
