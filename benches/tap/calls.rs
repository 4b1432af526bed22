//! System calls of the proxy for each message, counted by strace. They do not depend on how busy the
//! machine is.

use std::fs;
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::bench::Bench;
use crate::latency::label;
use crate::program::Program;
use crate::support::Fallible;
use crate::support::client::{Client, Door};
use crate::support::numbers::float;
use crate::support::process::Running;
use crate::support::talk::Messages;

pub const GROUP: &str = "system calls a message each way, one at a time";

const SIZES: [usize; 3] = [1024, 16 * 1024, 64 * 1024];
const PATIENCE: Duration = Duration::from_secs(10);

pub fn measure(bench: &mut Bench) -> Fallible<()> {
    let Some(strace) = Program::find("strace") else {
        bench.report.note(
            "system calls are not counted: strace is not here (scripts/fetch-packages.sh strace)",
        );
        return Ok(());
    };
    bench.apart()?;
    for size in SIZES {
        let mut found = Vec::new();
        for target in &bench.targets {
            if let Some(process) = &target.process {
                let folder = bench.stage.fresh_folder("strace")?;
                let core = bench.stage.other_core;
                let tracer = || {
                    let mut command = strace.command();
                    command.args(["-f", "-c", "-o", "calls"]);
                    for id in process.tree()? {
                        command.args(["-p", &id.to_string()]);
                    }
                    Running::start("strace", &command, &folder, core)
                };
                let calls = count(process, &target.door, size, bench.plan.calls, tracer).and_then(
                    |mut tracer| {
                        tracer.end();
                        total(&fs::read_to_string(folder.join("calls"))?)
                    },
                );
                let each = calls.map(|calls| float(calls) / float(bench.plan.calls));
                found.push((target.name, each));
            }
        }
        for (name, each) in found {
            bench.less(GROUP, &label(size, "calls"), name, each);
        }
    }
    Ok(())
}

/// Traces only these round trips.
fn count(
    process: &Running,
    door: &Door,
    size: usize,
    trips: usize,
    tracer: impl FnOnce() -> Fallible<Running>,
) -> Fallible<Running> {
    let mut client = Client::greet(door)?;
    let mut messages = Messages::new(size);
    client.trips(&mut messages, 20)?;
    let tracer = tracer()?;
    let deadline = Instant::now() + PATIENCE;
    while !process.is_traced()? {
        if Instant::now() > deadline {
            return Err("strace did not attach".into());
        }
        sleep(Duration::from_millis(5));
    }
    client.trips(&mut messages, trips)?;
    Ok(tracer)
}

/// The last line of strace's summary: share, seconds, each, calls, errors or nothing, `total`.
pub fn total(summary: &str) -> Fallible<usize> {
    let line = summary.lines().find(|line| line.ends_with(" total"));
    let calls = line.and_then(|line| line.split_whitespace().nth(3));
    Ok(calls.ok_or("strace counted nothing")?.parse()?)
}
