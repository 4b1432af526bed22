//! The effect of the tap's settings: dialect, records, TLS on each side. All of them in turns.

use std::net::SocketAddr;
use std::time::Duration;

use rustls::client::Resumption;

use crate::bench::{Bench, Target, turns};
use crate::cost::spent;
use crate::idle;
use crate::report::TAP;
use crate::stage::Proxy;
use crate::support::Fallible;
use crate::support::client::Client;
use crate::support::crowd::{Crowd, come_and_go, doors};
use crate::support::head::Path;
use crate::support::numbers::{Pooled, median};
use crate::support::talk::Messages;
use crate::support::tap::Setup;

pub const GROUP: &str = "settings of wstap";

const LATENCY: &str = "32 B: p50, µs";
const SESSION: &str = "a session (TLS, upgrade, connect, hello, close): CPU µs";

const SIZE: usize = 1024;
/// Events in each session and turn.
const EVENTS: usize = 1_000;
const LANES: usize = 8;
/// Round trips in each turn.
const TRIPS: usize = 100;

pub fn measure(bench: &mut Bench) -> Fallible<()> {
    let setups = setups();
    let mut targets = Vec::new();
    for (_, setup) in &setups {
        let (process, door) = Proxy::start(setup, &bench.stage, gateway(bench, setup))?;
        targets.push(Target::of(setup.name, door, process));
    }
    let mut rows: Vec<(String, Vec<Fallible<f64>>)> = Vec::new();
    bench.together()?;
    rows.push((LATENCY.to_owned(), latency(bench, &targets)));
    bench.apart()?;
    for sessions in &bench.plan.settings {
        for (what, sessions, work) in [
            ("one call at a time", *sessions, Work::Calls(1)),
            ("8 calls under way", *sessions, Work::Calls(8)),
            ("events of the gateway", (*sessions).min(8), Work::Events),
        ] {
            let unit = match work {
                Work::Calls(_) => "CPU µs a call of 1 KiB and its answer",
                Work::Events => "CPU µs an event of 1 KiB",
            };
            let label = format!("{sessions} sessions, {what}: {unit}");
            rows.push((label, costs(bench, &targets, sessions, work)));
        }
    }
    rows.push((SESSION.to_owned(), sessions(bench, &targets)));
    // The targets measured so far hold memory from their work.
    drop(targets);
    let idle = bench.plan.settings_idle;
    let memory = setups.iter().map(|(_, setup)| {
        let found = idle::one(&bench.stage, setup, gateway(bench, setup), idle);
        found.map(|(new, _)| new)
    });
    rows.push((
        format!("{idle} idle sessions: KiB each (PSS)"),
        memory.collect(),
    ));
    for (figure, values) in rows {
        for ((text, _), value) in setups.iter().zip(values) {
            bench.less(GROUP, &format!("{figure}: {text}"), TAP, value);
        }
    }
    Ok(())
}

/// The gateway's address for this setting.
fn gateway(bench: &Bench, setup: &Setup) -> SocketAddr {
    if setup.tls_to_gateway {
        bench.stage.gateway.tls
    } else {
        bench.stage.gateway.plain
    }
}

/// Runs something for each target in turns, and returns the median of the results.
fn in_turns<T>(
    targets: &[Target],
    rounds: usize,
    open: impl FnMut(&Target) -> Fallible<T>,
    mut step: impl FnMut(&Target, &mut T) -> Fallible<f64>,
) -> Vec<Fallible<f64>> {
    let mut lanes: Vec<Fallible<(T, Vec<f64>)>> = targets
        .iter()
        .map(open)
        .map(|lane| Ok((lane?, Vec::new())))
        .collect();
    for round in 0..rounds {
        for turn in turns(targets.len(), round) {
            let lane = &mut lanes[turn];
            if let Ok((open, values)) = lane {
                match step(&targets[turn], open) {
                    Ok(value) => values.push(value),
                    Err(error) => *lane = Err(error),
                }
            }
        }
    }
    let medians = lanes.into_iter().map(|lane| {
        let (_, values) = lane?;
        median(values).ok_or_else(|| "no turn was measured".into())
    });
    medians.collect()
}

fn latency(bench: &Bench, targets: &[Target]) -> Vec<Fallible<f64>> {
    let open = |target: &Target| Ok((Client::greet(&target.door)?, Messages::new(32)));
    in_turns(
        targets,
        4 * bench.plan.rounds,
        open,
        |_, (client, messages)| {
            client.trips(messages, 1)?;
            let times: Vec<Duration> = client.trips(messages, TRIPS)?;
            let middle = Pooled::new(times).quantile(0.5);
            middle.ok_or_else(|| "no round trip".into())
        },
    )
}

/// The work of a crowd in a turn.
#[derive(Clone, Copy, Debug)]
enum Work {
    /// A number of messages under way in each session.
    Calls(usize),
    Events,
}

fn costs(bench: &Bench, targets: &[Target], sessions: usize, work: Work) -> Vec<Fallible<f64>> {
    let open = |target: &Target| Crowd::gather(&target.door, sessions);
    in_turns(targets, bench.plan.few_rounds(), open, |target, crowd| {
        let done = || match work {
            Work::Calls(window) => crowd.storm(SIZE, window, bench.plan.storm),
            Work::Events => crowd.listen(SIZE, EVENTS),
        };
        Ok(spent(&bench.stage, target, done)?.micros)
    })
}

fn sessions(bench: &Bench, targets: &[Target]) -> Vec<Fallible<f64>> {
    let client = || bench.stage.certificate.client(Resumption::disabled());
    let open = |target: &Target| doors(&target.door, LANES, client);
    in_turns(targets, bench.plan.few_rounds(), open, |target, lanes| {
        let lanes = lanes.clone();
        let done = || Ok(come_and_go(lanes, Path::Session, bench.plan.storm)?.sessions);
        Ok(spent(&bench.stage, target, done)?.micros)
    })
}

fn setups() -> [(&'static str, Setup); 6] {
    let other = |name| Setup {
        name,
        ..Setup::default()
    };
    [
        (
            "dialect openclaw, records (as everywhere above)",
            Setup::default(),
        ),
        (
            "dialect openclaw, no records",
            Setup {
                records: false,
                ..other("no-records")
            },
        ),
        (
            "dialect plain, records",
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
