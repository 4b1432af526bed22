//! What all figures have in common: the gateway, the proxies in front of it, and the report.

use std::cell::Cell;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use rustls::client::Resumption;
use tempfile::TempDir;

use crate::machine;
use crate::peers;
use crate::plan::Plan;
use crate::report::{Better, DIRECT, Report, TAP};
use crate::support::certs::{CIPHER, Certificate};
use crate::support::client::Door;
use crate::support::gateway::Gateway;
use crate::support::process::{self, Running};
use crate::support::tap::{Setup, program};
use crate::support::{Fallible, role};
use crate::whole::WholeMessages;

/// A proxy that can be started.
pub trait Proxy {
    fn name(&self) -> &'static str;

    fn version(&self) -> Fallible<String>;

    /// Starts it on the core of proxies, in front of this gateway, and waits until it listens.
    fn start(&self, stage: &Stage, gateway: SocketAddr) -> Fallible<(Running, Door)>;
}

/// What a proxy is put in front of.
pub struct Stage {
    folder: TempDir,
    pub certificate: Certificate,
    pub gateway: Gateway,
    /// Where proxies run, always.
    pub core: usize,
    /// Where the gateway and the clients run when the proxy is to have its core alone.
    pub other_core: usize,
    started: Cell<usize>,
}

impl Stage {
    fn build() -> Fallible<Self> {
        let folder = TempDir::with_prefix("wstap-bench-")?;
        let certificate = Certificate::make(folder.path())?;
        let (core, other_core) = process::cores()?;
        let gateway = Gateway::start(folder.path(), core)?;
        Ok(Self {
            folder,
            certificate,
            gateway,
            core,
            other_core,
            started: Cell::new(0),
        })
    }

    /// The certificate's.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// A new one, for the files of one process.
    pub fn fresh_folder(&self, name: &str) -> Fallible<PathBuf> {
        let number = self.started.get() + 1;
        self.started.set(number);
        let folder = self.folder().join(format!("{number}-{name}"));
        fs::create_dir(&folder)?;
        Ok(folder)
    }

    /// A door with TLS, for a client that resumes nothing.
    pub fn secured(&self, addr: SocketAddr) -> Fallible<Door> {
        let tls = Some(self.certificate.client(Resumption::disabled())?);
        Ok(Door { addr, tls })
    }
}

/// A way from a client to the gateway.
pub struct Target {
    pub name: &'static str,
    pub door: Door,
    /// `None` of the direct way: there is the gateway alone.
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

    /// CPU time so far of what terminates TLS for the client: the proxy, or the gateway itself.
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
    /// At work, the direct way first and the tap second.
    pub targets: Vec<Target>,
    pub proxies: Vec<Box<dyn Proxy>>,
    pub report: Report,
    /// How many files a process may open.
    pub files: usize,
}

impl Bench {
    pub fn set_up(plan: Plan, with_peers: bool) -> Fallible<Self> {
        let files = role::raise_files()?;
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

    /// A peer that does not start is told of and left out; without the tap there is no bench.
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

    /// Everything on one core: a message's way is then what the code costs, and not what it costs to wake
    /// another core.
    pub fn together(&self) -> Fallible<()> {
        process::pin_self(self.stage.core)?;
        self.stage.gateway.process.pin(self.stage.core)
    }

    /// The proxy alone on its core.
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

/// The first line of what a program says of its version.
pub fn version(command: &mut Command) -> Fallible<String> {
    let out = command.output()?;
    // nginx says it on the other one.
    let text = [out.stdout, out.stderr].concat();
    let text = String::from_utf8_lossy(&text);
    let line = text.lines().find(|line| !line.trim().is_empty());
    let line = line.ok_or("it does not say its version")?.trim();
    // Envoy says where it stands.
    let program = command.get_program().to_string_lossy();
    Ok(line.trim_start_matches(&*program).trim().to_owned())
}

/// The targets of a round: all of them, each round another one first.
pub fn turns(count: usize, round: usize) -> impl Iterator<Item = usize> {
    (0..count).map(move |turn| (turn + round) % count.max(1))
}
