//! Echo round trips with everything on one core, in one session through each target, in turns.

use std::time::Duration;

use crate::bench::{Bench, turns};
use crate::plan::Trips;
use crate::report::DIRECT;
use crate::support::Fallible;
use crate::support::client::Client;
use crate::support::numbers::Pooled;
use crate::support::talk::Messages;

pub const GROUP: &str = "latency, µs";

/// With fewer samples the p99 is the slowest or second slowest one, which is chance.
const ENOUGH_FOR_P99: usize = 300;

/// The rows of one size.
pub fn label(size: usize, row: &str) -> String {
    let size = match size {
        mib if mib % (1 << 20) == 0 => format!("{} MiB", mib >> 20),
        kib if kib % (1 << 10) == 0 => format!("{} KiB", kib >> 10),
        bytes => format!("{bytes} B"),
    };
    format!("{size}: {row}")
}

pub fn measure(bench: &mut Bench) -> Fallible<()> {
    bench.together()?;
    for trips in bench.plan.trips.clone() {
        let size = trips.size;
        let times = one_size(bench, trips);
        let mut direct = (None, None);
        for (name, times) in times {
            let found = times.map(Pooled::new);
            for (share, row) in [(0.5, "p50"), (0.99, "p99")] {
                let few = |found: &Pooled| share > 0.9 && found.count() < ENOUGH_FOR_P99;
                if found.as_ref().is_ok_and(few) {
                    bench.report.leave_open(GROUP, &label(size, row));
                    bench
                        .report
                        .leave_open(GROUP, &label(size, &format!("added {row}")));
                    continue;
                }
                let value = match &found {
                    Ok(pooled) => pooled.quantile(share).ok_or_else(|| "no round trip".into()),
                    Err(error) => Err(error.to_string().into()),
                };
                let base = if share < 0.9 {
                    &mut direct.0
                } else {
                    &mut direct.1
                };
                if name == DIRECT {
                    *base = value.as_ref().ok().copied();
                } else if let (Ok(value), Some(base)) = (&value, *base) {
                    let label = label(size, &format!("added {row}"));
                    bench.less(GROUP, &label, name, Ok(value - base));
                }
                bench.less(GROUP, &label(size, row), name, value);
            }
        }
    }
    Ok(())
}

type Times = Fallible<Vec<Duration>>;

/// The times of each target.
fn one_size(bench: &Bench, trips: Trips) -> Vec<(&'static str, Times)> {
    let Trips {
        size,
        rounds,
        a_turn,
    } = trips;
    let targets = &bench.targets;
    let mut lanes: Vec<Fallible<(Client, Messages, Vec<Duration>)>> = targets
        .iter()
        .map(|target| {
            let mut client = Client::greet(&target.door)?;
            let mut messages = Messages::new(size);
            // The first messages make buffers grow and windows open.
            client.trips(&mut messages, a_turn.min(20))?;
            Ok((client, messages, Vec::new()))
        })
        .collect();
    for round in 0..rounds {
        for turn in turns(targets.len(), round) {
            let lane = &mut lanes[turn];
            if let Ok((client, messages, times)) = lane {
                // At the first trip the caches are full of another proxy's data.
                let first = client.trips(messages, 1);
                match first.and_then(|_| client.trips(messages, a_turn)) {
                    Ok(more) => times.extend(more),
                    Err(error) => *lane = Err(error),
                }
            }
        }
    }
    let names = targets.iter().map(|target| target.name);
    let times = lanes.into_iter().map(|lane| {
        let (client, _, times) = lane?;
        client.close()?;
        Ok(times)
    });
    names.zip(times).collect()
}
