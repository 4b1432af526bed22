//! TLS and the upgrade, with and without the dialect's handshake: the rate, and the proxy's cost of
//! each. Every session is closed in order before its lane opens the next.

use rustls::client::Resumption;

use crate::bench::{Bench, turns};
use crate::cost::{Spent, spent};
use crate::report::Better;
use crate::support::Fallible;
use crate::support::crowd::{Opened, come_and_go, doors};
use crate::support::head::Path;
use crate::support::numbers::median;

pub const GROUP: &str = "handshakes: TLS, upgrade, close";
pub const FULL: &str = "full: CPU µs each";
pub const RESUMED: &str = "resumed: CPU µs each";

/// Enough to keep the proxy busy while clients compute.
const LANES: usize = 8;

/// The handshake that a lane repeats.
#[derive(Clone, Copy)]
struct Kind {
    resume: bool,
    path: Path,
    /// The rows: CPU time of each, and the number a second.
    labels: (&'static str, &'static str),
}

const KINDS: [Kind; 4] = [
    Kind {
        resume: false,
        path: Path::Bare,
        labels: (FULL, "full: a second"),
    },
    Kind {
        resume: true,
        path: Path::Bare,
        labels: (RESUMED, "resumed: a second"),
    },
    Kind {
        resume: false,
        path: Path::Session,
        labels: (
            "full, with connect and hello: CPU µs each",
            "full, with connect and hello: a second",
        ),
    },
    Kind {
        resume: true,
        path: Path::Session,
        labels: (
            "resumed, with connect and hello: CPU µs each",
            "resumed, with connect and hello: a second",
        ),
    },
];

pub fn measure(bench: &mut Bench) -> Fallible<()> {
    bench.apart()?;
    for kind in KINDS {
        one_kind(bench, kind)?;
    }
    Ok(())
}

fn one_kind(bench: &mut Bench, kind: Kind) -> Fallible<()> {
    let rounds = (bench.plan.rounds / 2).max(1);
    let time = bench.plan.storm;
    let certificate = bench.stage.certificate.clone();
    let client = || {
        certificate.client(if kind.resume {
            Resumption::in_memory_sessions(4)
        } else {
            Resumption::disabled()
        })
    };
    let mut found: Vec<Fallible<Found>> = Vec::new();
    for target in &bench.targets {
        let lanes = doors(&target.door, LANES, client)?;
        let mut first = Found::default();
        // The first handshake of a lane has no ticket.
        let warm = come_and_go(lanes.clone(), kind.path, time / 4).map(|_| {
            first.lanes = lanes;
            first
        });
        found.push(warm);
    }
    for round in 0..rounds {
        for turn in turns(found.len(), round) {
            let target = &bench.targets[turn];
            if let Ok(one) = &mut found[turn] {
                let mut opened = Opened::default();
                let lanes = one.lanes.clone();
                let spent = spent(&bench.stage, target, || {
                    opened = come_and_go(lanes, kind.path, time)?;
                    Ok(opened.sessions)
                });
                match spent {
                    Ok(spent) => one.add(spent, opened),
                    Err(error) => found[turn] = Err(error),
                }
            }
        }
    }
    for (turn, one) in found.into_iter().enumerate() {
        let name = bench.targets[turn].name;
        let (costs, rates) = match one {
            Ok(one) => {
                if kind.resume && one.resumed < one.sessions {
                    bench.report.note(format!(
                        "{name} resumed {} of {} handshakes that were meant to be",
                        one.resumed, one.sessions
                    ));
                }
                (Ok(one.costs), Ok(one.rates))
            }
            Err(error) => (Err(error.to_string()), Err(error.to_string())),
        };
        let (cost, rate) = kind.labels;
        for (label, better, values) in [(cost, Better::Less, costs), (rate, Better::More, rates)] {
            let value = values.and_then(|values| median(values).ok_or_else(|| "none".to_owned()));
            bench.report.put(GROUP, label, better, name, value);
        }
    }
    Ok(())
}

#[derive(Default)]
struct Found {
    lanes: Vec<crate::support::client::Door>,
    costs: Vec<f64>,
    rates: Vec<f64>,
    sessions: usize,
    resumed: usize,
}

impl Found {
    fn add(&mut self, spent: Spent, opened: Opened) {
        self.costs.push(spent.micros);
        self.rates.push(spent.a_second);
        self.sessions += opened.sessions;
        self.resumed += opened.resumed;
    }
}
