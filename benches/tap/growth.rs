//! How the cost of a message grows with sessions, and what the tap's settings change in it.

use crate::bench::{Bench, Proxy, Target, turns};
use crate::cost::spent;
use crate::idle::within;
use crate::report::{TAP, WHOLE};
use crate::support::Fallible;
use crate::support::crowd::Crowd;
use crate::support::numbers::median;
use crate::support::tap::Setup;

pub const GROUP: &str = "growth: CPU µs a message of 1 KiB each way";
pub const SETTINGS: &str = "settings of wstap: CPU µs a message of 1 KiB each way";

const SIZE: usize = 1024;
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
                .flat_map(|target| round(bench, &[target], sessions))
                .collect()
        } else {
            round(bench, &targets, sessions)
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

/// CPU microseconds a message of each of these targets.
fn round(bench: &Bench, targets: &[&Target], sessions: usize) -> Vec<Fallible<f64>> {
    let mut crowds: Vec<Fallible<(Crowd, Vec<f64>)>> = targets
        .iter()
        .map(|target| Ok((Crowd::gather(&target.door, sessions)?, Vec::new())))
        .collect();
    for round in 0..(bench.plan.rounds / 2).max(1) {
        for turn in turns(targets.len(), round) {
            if let Ok((crowd, costs)) = &mut crowds[turn] {
                let storm = || crowd.storm(SIZE, 1, bench.plan.storm);
                match spent(&bench.stage, targets[turn], storm) {
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
    let plain = |name, records| Setup {
        name,
        dialect: "plain",
        records,
        ..Setup::default()
    };
    let setups = [
        ("openclaw, records (as above)", Setup::default()),
        (
            "openclaw, no records",
            Setup {
                name: "no-records",
                records: false,
                ..Setup::default()
            },
        ),
        ("plain, records", plain("plain", true)),
        ("plain, no records", plain("plain-no-records", false)),
        (
            "TLS on both sides",
            Setup {
                name: "tls-both",
                tls_to_gateway: true,
                ..Setup::default()
            },
        ),
        (
            "no TLS on either side",
            Setup {
                name: "no-tls",
                tls: false,
                ..Setup::default()
            },
        ),
    ];
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
    let found = round(bench, &targets.iter().collect::<Vec<_>>(), sessions);
    for ((text, _), value) in setups.iter().zip(found) {
        let label = format!("{text}: {sessions} sessions");
        bench.less(SETTINGS, &label, TAP, value);
    }
    Ok(())
}
