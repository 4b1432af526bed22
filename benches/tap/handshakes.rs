//! TLS and the upgrade: how many a second, and what each costs the proxy. Every session is closed in
//! order before its lane opens the next.

use rustls::client::Resumption;

use crate::bench::{Bench, turns};
use crate::cost::spent;
use crate::report::Better;
use crate::support::Fallible;
use crate::support::crowd::{Opened, come_and_go, doors};
use crate::support::numbers::{float, median};

pub const GROUP: &str = "handshakes: TLS, upgrade, close";
pub const FULL: &str = "full: CPU µs each";
pub const RESUMED: &str = "resumed: CPU µs each";

/// Enough to keep the proxy at work while clients reckon.
const LANES: usize = 8;

pub fn measure(bench: &mut Bench) -> Fallible<()> {
    bench.apart()?;
    kind(bench, false)?;
    kind(bench, true)
}

fn kind(bench: &mut Bench, resume: bool) -> Fallible<()> {
    let rounds = (bench.plan.rounds / 2).max(1);
    let time = bench.plan.storm;
    let certificate = bench.stage.certificate.clone();
    let client = || {
        certificate.client(if resume {
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
        let warm = come_and_go(lanes.clone(), time / 4).map(|_| {
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
                let cost = spent(&bench.stage, target, || {
                    opened = come_and_go(lanes, time)?;
                    Ok(opened.sessions)
                });
                match cost {
                    Ok(cost) => one.add(cost, opened, time.as_secs_f64()),
                    Err(error) => found[turn] = Err(error),
                }
            }
        }
    }
    let (cost, rate) = if resume {
        (RESUMED, "resumed: a second")
    } else {
        (FULL, "full: a second")
    };
    for (turn, one) in found.into_iter().enumerate() {
        let name = bench.targets[turn].name;
        let (costs, rates) = match one {
            Ok(one) if resume && one.resumed < one.sessions => {
                let text = format!(
                    "{name} resumed {} of {} handshakes that were meant to be",
                    one.resumed, one.sessions
                );
                bench.report.note(text);
                (Ok(one.costs), Ok(one.rates))
            }
            Ok(one) => (Ok(one.costs), Ok(one.rates)),
            Err(error) => (Err(error.to_string()), Err(error.to_string())),
        };
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
    fn add(&mut self, cost: f64, opened: Opened, seconds: f64) {
        self.costs.push(cost);
        self.rates.push(float(opened.sessions) / seconds);
        self.sessions += opened.sessions;
        self.resumed += opened.resumed;
    }
}
