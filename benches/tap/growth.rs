//! Growth of the figures with the number of open sessions: measured in one additional session, and
//! in all of them.

use std::thread;
use std::time::{Duration, Instant};

use crate::bench::{Bench, Target, turns};
use crate::cost::spent;
use crate::idle::within;
use crate::report::{DIRECT, WHOLE};
use crate::support::Fallible;
use crate::support::client::Client;
use crate::support::crowd::Crowd;
use crate::support::numbers::{Pooled, float, median};
use crate::support::process::Running;
use crate::support::slow::{Pieces, Way, first_piece};
use crate::support::talk::Messages;

pub const GROUP: &str = "growth with open sessions";

/// The figures, in the order of their rows.
const FIGURES: [&str; 5] = [
    "32 B in one more session, the others say 100 messages a second in all: p50, µs",
    "first piece of a slow frame in one more session, to the gateway: p50, µs",
    "first piece of a slow frame in one more session, to the client: p50, µs",
    "1 KiB, one under way in every session: CPU µs a message each way",
    "KiB a session (PSS)",
];

const SIZE: usize = 1024;
/// Messages a second of all other sessions together.
const LITTLE: usize = 100;
/// Round trips between two reads of the clock.
const TRIPS: usize = 10;
/// Above this number of sessions, a client holds those of only one target at a time.
const ALL_AT_ONCE: usize = 1_000;

/// A target with its sessions, and the measurements.
struct Lane {
    target: Target,
    crowd: Crowd,
    client: Client,
    kib: Option<f64>,
    cpu: Vec<f64>,
    trips: Vec<Duration>,
    /// Times to the gateway and to the client.
    slow: [Vec<Duration>; 2],
}

/// A target's name, and its lane unless something failed.
type Named = (&'static str, Fallible<Lane>);

pub fn measure(bench: &mut Bench) -> Fallible<()> {
    let mut found = Vec::new();
    for wanted in bench.plan.growth.clone() {
        let sessions = within(bench, wanted);
        // The direct path and newly started proxies: memory is counted from the start.
        let mut ways = vec![None];
        let proxies = bench.proxies.iter().enumerate();
        ways.extend(proxies.filter_map(|(at, one)| (one.name() != WHOLE).then_some(Some(at))));
        let at_once = if sessions > ALL_AT_ONCE {
            1
        } else {
            ways.len()
        };
        for ways in ways.chunks(at_once) {
            for (name, lane) in some(bench, ways, sessions)? {
                found.push((sessions, name, lane.map(Lane::figures)));
            }
        }
    }
    for (at, figure) in FIGURES.into_iter().enumerate() {
        for (sessions, name, figures) in &found {
            let label = format!("{figure}: {sessions} sessions");
            match figures {
                Ok(figures) => {
                    if let Some(value) = figures[at] {
                        bench.less(GROUP, &label, name, Ok(value));
                    }
                }
                Err(error) => bench.less(GROUP, &label, name, Err(error.to_string().into())),
            }
        }
    }
    Ok(())
}

/// Measures all figures of these paths, in turns.
fn some(bench: &Bench, ways: &[Option<usize>], sessions: usize) -> Fallible<Vec<Named>> {
    bench.apart()?;
    let open = |way: &Option<usize>| match way {
        None => (DIRECT, Lane::open(bench, None, sessions)),
        Some(at) => (
            bench.proxies[*at].name(),
            Lane::open(bench, Some(*at), sessions),
        ),
    };
    let mut lanes: Vec<Named> = ways.iter().map(open).collect();
    let rounds = bench.plan.few_rounds();
    in_turns(&mut lanes, rounds, |lane| lane.storm(bench));
    bench.together()?;
    in_turns(&mut lanes, rounds, |lane| lane.echo(bench.plan.storm));
    in_turns(&mut lanes, bench.plan.frames.min(30), |lane| {
        lane.drip(bench.plan.pause)
    });
    Ok(lanes)
}

fn in_turns(lanes: &mut [Named], rounds: usize, mut step: impl FnMut(&mut Lane) -> Fallible<()>) {
    for round in 0..rounds {
        for turn in turns(lanes.len(), round) {
            let lane = &mut lanes[turn].1;
            if let Ok(open) = lane
                && let Err(error) = step(open)
            {
                *lane = Err(error);
            }
        }
    }
}

impl Lane {
    fn open(bench: &Bench, proxy: Option<usize>, sessions: usize) -> Fallible<Self> {
        let stage = &bench.stage;
        let target = match proxy {
            None => Target {
                name: DIRECT,
                door: stage.secured(stage.gateway.tls)?,
                process: None,
            },
            Some(at) => {
                let proxy = &bench.proxies[at];
                let (process, door) = proxy.start(stage, stage.gateway.plain)?;
                Target::of(proxy.name(), door, process)
            }
        };
        let pss = || target.process.as_ref().map(Running::pss).transpose();
        // The first session allocates what all of them share.
        drop(Crowd::gather(&target.door, 1)?);
        let before = pss()?;
        let crowd = Crowd::gather(&target.door, sessions)?;
        let grown = pss()?.zip(before);
        let kib = grown.map(|(after, before)| float(after.saturating_sub(before)));
        Ok(Self {
            client: Client::greet(&target.door)?,
            target,
            crowd,
            kib: kib.map(|kib| kib / float(sessions)),
            cpu: Vec::new(),
            trips: Vec::new(),
            slow: [Vec::new(), Vec::new()],
        })
    }

    /// All sessions exchange messages.
    fn storm(&mut self, bench: &Bench) -> Fallible<()> {
        let crowd = &mut self.crowd;
        let work = || crowd.storm(SIZE, 1, bench.plan.storm);
        self.cpu
            .push(spent(&bench.stage, &self.target, work)?.micros);
        Ok(())
    }

    /// One session exchanges messages, the others only a few.
    fn echo(&mut self, time: Duration) -> Fallible<()> {
        let (crowd, client) = (&mut self.crowd, &mut self.client);
        let mut messages = Messages::new(32);
        thread::scope(|scope| {
            let others = scope.spawn(|| crowd.pace(32, LITTLE, time));
            let until = Instant::now() + time;
            while Instant::now() < until {
                self.trips.extend(client.trips(&mut messages, TRIPS)?);
            }
            others.join().map_err(|_| "the others panicked")??;
            Ok(())
        })
    }

    /// One frame each way.
    fn drip(&mut self, pause: Duration) -> Fallible<()> {
        let pieces = Pieces {
            count: 2,
            size: SIZE,
            pause,
        };
        for (way, times) in Way::BOTH.into_iter().zip(&mut self.slow) {
            times.push(first_piece(&mut self.client, way, pieces)?);
        }
        Ok(())
    }

    /// In the order of [`FIGURES`].
    fn figures(self) -> [Option<f64>; FIGURES.len()] {
        let middle = |times| Pooled::new(times).quantile(0.5);
        let [to_gateway, to_client] = self.slow.map(middle);
        [
            middle(self.trips),
            to_gateway,
            to_client,
            median(self.cpu),
            self.kib,
        ]
    }
}
