//! CPU time of the proxy for each message, with the proxy alone on its core. For the direct path it
//! is the time of the gateway itself, including TLS: a proxy cannot get much below that.

use std::time::{Duration, Instant};

use crate::bench::{Bench, Target, turns};
use crate::report::Better;
use crate::stage::Stage;
use crate::support::Fallible;
use crate::support::crowd::Crowd;
use crate::support::numbers::{float, median, micros};

pub const GROUP: &str = "cost";
pub const FULL_SPEED: &str = "1 KiB at full speed: CPU µs a message each way";
pub const FIXED_RATE: &str = "1 KiB at 2,000 a second: CPU µs a message each way";
pub const BULK: &str = "64 KiB at full speed: CPU s a GB";

const KIB: usize = 1024;

/// The work of a turn, and how its CPU time becomes a figure.
#[derive(Clone, Copy)]
enum Work {
    FullSpeed,
    FixedRate,
    Bulk,
}

impl Work {
    const ALL: [Self; 3] = [Self::FullSpeed, Self::FixedRate, Self::Bulk];

    /// The rows: the cost of one, the number per second, and how busy the proxy was.
    fn labels(self) -> [&'static str; 3] {
        match self {
            Self::FullSpeed => [
                FULL_SPEED,
                "1 KiB at full speed: messages a second each way",
                "1 KiB at full speed: the proxy's share of its core, %",
            ],
            Self::FixedRate => [
                FIXED_RATE,
                "1 KiB at 2,000 a second: messages a second each way",
                "1 KiB at 2,000 a second: the proxy's share of its core, %",
            ],
            Self::Bulk => [
                BULK,
                "64 KiB at full speed: MB a second, both ways together",
                "64 KiB at full speed: the proxy's share of its core, %",
            ],
        }
    }

    fn turn(self, crowd: &mut Crowd, time: Duration) -> Fallible<usize> {
        match self {
            Self::FullSpeed => crowd.storm(KIB, 8, time),
            Self::FixedRate => crowd.pace(KIB, 2_000, time),
            Self::Bulk => crowd.storm(64 * KIB, 2, time),
        }
    }

    /// A figure for each label.
    fn figures(self, spent: &Spent) -> [f64; 3] {
        // 64 KiB go each way.
        let bytes = float(2 * 64 * KIB);
        let (each, rate) = match self {
            Self::FullSpeed | Self::FixedRate => (spent.micros, spent.a_second),
            // Seconds per 10^9 bytes.
            Self::Bulk => (
                spent.micros / 1e6 * 1e9 / bytes,
                spent.a_second * bytes / 1e6,
            ),
        };
        [each, rate, spent.share * 100.0]
    }
}

pub fn measure(bench: &mut Bench) -> Fallible<()> {
    bench.apart()?;
    let mut crowds: Vec<Fallible<Crowd>> = bench
        .targets
        .iter()
        .map(|target| Crowd::gather(&target.door, 8))
        .collect();
    for work in Work::ALL {
        let mut found: Vec<[Vec<f64>; 3]> = vec![Default::default(); crowds.len()];
        for round in 0..bench.plan.rounds {
            for turn in turns(crowds.len(), round) {
                let target = &bench.targets[turn];
                let one = match &mut crowds[turn] {
                    Ok(crowd) => spent(&bench.stage, target, || work.turn(crowd, bench.plan.storm)),
                    Err(_) => continue,
                };
                match one {
                    Ok(spent) => {
                        for (values, value) in found[turn].iter_mut().zip(work.figures(&spent)) {
                            values.push(value);
                        }
                    }
                    Err(error) => crowds[turn] = Err(error),
                }
            }
        }
        let kinds = [Better::Less, Better::More, Better::Neither];
        for (turn, rows) in found.into_iter().enumerate() {
            let name = bench.targets[turn].name;
            for ((label, better), values) in work.labels().into_iter().zip(kinds).zip(rows) {
                let value = match &crowds[turn] {
                    Ok(_) => median(values).ok_or_else(|| "no turn was measured".to_owned()),
                    Err(error) => Err(error.to_string()),
                };
                bench.report.put(GROUP, label, better, name, value);
            }
        }
    }
    Ok(())
}

/// The CPU usage of a proxy in one turn.
#[derive(Clone, Copy, Debug)]
pub struct Spent {
    /// CPU time per item of work.
    pub micros: f64,
    /// Items per second.
    pub a_second: f64,
    /// Ratio of CPU time to elapsed time: 1 is a whole core.
    pub share: f64,
}

/// Measures the target's CPU usage during `work`, which returns the number of items that it did.
pub fn spent(
    stage: &Stage,
    target: &Target,
    work: impl FnOnce() -> Fallible<usize>,
) -> Fallible<Spent> {
    let (before, began) = (target.cpu(stage)?, Instant::now());
    let count = work()?;
    let (after, took) = (target.cpu(stage)?, began.elapsed().as_secs_f64());
    if count == 0 {
        return Err("nothing was done in time".into());
    }
    let cpu = after.saturating_sub(before);
    Ok(Spent {
        micros: micros(cpu) / float(count),
        a_second: float(count) / took,
        share: cpu.as_secs_f64() / took,
    })
}
