//! The parts that all figures share: the gateway, the proxies in front of it, and the report.

use std::net::SocketAddr;
use std::process::Command;
use std::time::Duration;

use crate::machine;
use crate::peers;
use crate::plan::Plan;
use crate::report::{Better, DIRECT, Report, TAP};
use crate::stage::{Proxy, Stage, version};
use crate::support::Fallible;
use crate::support::certs::CIPHER;
use crate::support::client::Door;
use crate::support::process::{self, Running};
use crate::support::tap::{Setup, program};
use crate::whole::WholeMessages;

/// A path from a client to the gateway.
pub struct Target {
    pub name: &'static str,
    pub door: Door,
    /// `None` for the direct path, which has only the gateway.
    pub process: Option<Running>,
}

impl Target {
    pub fn of(name: &'static str, door: Door, process: Running) -> Self {
        Self {
            name,
            door,
            process: Some(process),
        }
    }

    /// CPU time so far of the process that terminates TLS for the client: the proxy, or the gateway
    /// itself.
    pub fn cpu(&self, stage: &Stage) -> Fallible<Duration> {
        self.process
            .as_ref()
            .unwrap_or(&stage.gateway.process)
            .cpu()
    }
}

/// A run under way.
pub struct Bench {
    pub plan: Plan,
    pub stage: Stage,
    /// Running targets, the direct path first and the tap second.
    pub targets: Vec<Target>,
    pub proxies: Vec<Box<dyn Proxy>>,
    pub report: Report,
    /// How many files a process may open.
    pub files: usize,
}

impl Bench {
    pub fn set_up(plan: Plan, with_peers: bool) -> Fallible<Self> {
        let files = process::raise_files()?;
        let stage = Stage::build()?;
        let mut report = Report::default();
        report.column(DIRECT);
        let direct = Target {
            name: DIRECT,
            door: stage.secured(stage.gateway.tls)?,
            process: None,
        };
        let mut proxies: Vec<Box<dyn Proxy>> = vec![Box::new(Setup::default())];
        if with_peers {
            for name in peers::names() {
                report.expect(name);
            }
            for found in peers::all(files) {
                match found {
                    Ok(peer) => proxies.push(peer),
                    Err(why) => _ = report.note(why),
                }
            }
        }
        proxies.push(Box::new(WholeMessages));
        let mut bench = Self {
            plan,
            stage,
            targets: vec![direct],
            proxies: Vec::new(),
            report,
            files,
        };
        for proxy in proxies {
            bench.start(proxy)?;
        }
        machine::describe(&mut bench.report);
        bench.report.fact("TLS", CIPHER);
        Ok(bench)
    }

    /// A peer that does not start is left out, with a note; without the tap there is no bench.
    fn start(&mut self, proxy: Box<dyn Proxy>) -> Fallible<()> {
        let name = proxy.name();
        match proxy.start(&self.stage, self.stage.gateway.plain) {
            Ok((process, door)) => {
                self.report.column(name);
                self.targets.push(Target::of(name, door, process));
                let version = proxy.version().unwrap_or_else(|error| error.to_string());
                self.report.fact(name, version);
                self.proxies.push(proxy);
                Ok(())
            }
            Err(error) if name == TAP => Err(error),
            Err(error) => {
                self.report.note(format!("{name} is left out: {error}"));
                Ok(())
            }
        }
    }

    /// Moves everything to one core: the time of a message is then the cost of the code, without
    /// the cost of waking another core.
    pub fn together(&self) -> Fallible<()> {
        process::pin_self(self.stage.core)?;
        self.stage.gateway.process.pin(self.stage.core)
    }

    /// Leaves each proxy alone on its core.
    pub fn apart(&self) -> Fallible<()> {
        process::pin_self(self.stage.other_core)?;
        self.stage.gateway.process.pin(self.stage.other_core)
    }

    pub fn less(&mut self, group: &'static str, label: &str, target: &str, found: Fallible<f64>) {
        let found = found.map_err(|error| error.to_string());
        self.report.put(group, label, Better::Less, target, found);
    }

    /// Ends everything.
    pub fn finish(self) -> Report {
        drop(self.targets);
        self.report
    }
}

impl Proxy for Setup {
    fn name(&self) -> &'static str {
        self.name
    }

    fn version(&self) -> Fallible<String> {
        version(Command::new(program()).arg("--version"))
    }

    fn start(&self, stage: &Stage, gateway: SocketAddr) -> Fallible<(Running, Door)> {
        let folder = stage.fresh_folder(self.name)?;
        let started = self.start(&folder, &stage.certificate, gateway, stage.core)?;
        let (process, addr) = started;
        let door = if self.tls {
            stage.secured(addr)?
        } else {
            Door { addr, tls: None }
        };
        Ok((process, door))
    }
}

/// The targets of a round: all of them, with a different one first in each round.
pub fn turns(count: usize, round: usize) -> impl Iterator<Item = usize> {
    (0..count).map(move |turn| (turn + round) % count.max(1))
}
