//! CPU time of the proxy for each message, the proxy alone on its core. Of the direct way it is what the
//! gateway itself spends, TLS included: a proxy cannot come much below that.

use std::time::Duration;

use crate::bench::{Bench, Stage, Target, turns};
use crate::support::Fallible;
use crate::support::crowd::Crowd;
use crate::support::numbers::{float, median, micros};

pub const GROUP: &str = "cost";
pub const FULL_SPEED: &str = "1 KiB at full speed: CPU µs a message each way";
pub const FIXED_RATE: &str = "1 KiB at 2,000 a second: CPU µs a message each way";
pub const BULK: &str = "64 KiB at full speed: CPU s a GB";

const KIB: usize = 1024;

/// What is done in a turn, and how its CPU time becomes a figure.
#[derive(Clone, Copy)]
enum Work {
    FullSpeed,
    FixedRate,
    Bulk,
}

impl Work {
    fn label(self) -> &'static str {
        match self {
            Self::FullSpeed => FULL_SPEED,
            Self::FixedRate => FIXED_RATE,
            Self::Bulk => BULK,
        }
    }

    fn turn(self, crowd: &mut Crowd, time: Duration) -> Fallible<usize> {
        match self {
            Self::FullSpeed => crowd.storm(KIB, 8, time),
            Self::FixedRate => crowd.pace(KIB, 2_000, time),
            Self::Bulk => crowd.storm(64 * KIB, 2, time),
        }
    }

    /// From the microseconds of one round trip.
    fn figure(self, micros: f64) -> f64 {
        match self {
            Self::FullSpeed | Self::FixedRate => micros,
            // 64 KiB go each way: seconds of 10^9 bytes.
            Self::Bulk => micros / 1e6 * 1e9 / float(2 * 64 * KIB),
        }
    }
}

pub fn measure(bench: &mut Bench) -> Fallible<()> {
    bench.apart()?;
    let mut crowds: Vec<Fallible<Crowd>> = bench
        .targets
        .iter()
        .map(|target| Crowd::gather(&target.door, 8))
        .collect();
    for work in [Work::FullSpeed, Work::FixedRate, Work::Bulk] {
        let mut found: Vec<Vec<f64>> = vec![Vec::new(); crowds.len()];
        for round in 0..bench.plan.rounds {
            for turn in turns(crowds.len(), round) {
                let target = &bench.targets[turn];
                let one = match &mut crowds[turn] {
                    Ok(crowd) => spent(&bench.stage, target, || work.turn(crowd, bench.plan.storm)),
                    Err(_) => continue,
                };
                match one {
                    Ok(micros) => found[turn].push(work.figure(micros)),
                    Err(error) => crowds[turn] = Err(error),
                }
            }
        }
        for (turn, values) in found.into_iter().enumerate() {
            let value = match &crowds[turn] {
                Ok(_) => median(values).ok_or_else(|| "no turn was measured".into()),
                Err(error) => Err(error.to_string().into()),
            };
            bench.less(GROUP, work.label(), bench.targets[turn].name, value);
        }
    }
    Ok(())
}

/// CPU microseconds of the target for each of the things that the work did.
pub fn spent(
    stage: &Stage,
    target: &Target,
    work: impl FnOnce() -> Fallible<usize>,
) -> Fallible<f64> {
    let before = target.cpu(stage)?;
    let count = work()?;
    let after = target.cpu(stage)?;
    if count == 0 {
        return Err("nothing was done in time".into());
    }
    Ok(micros(after.saturating_sub(before)) / float(count))
}
