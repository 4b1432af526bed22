//! The cost of `wstap attach` compared with `wstap serve`: the same program in front of the same
//! stand-in gateway, either reached by a redirect and dialling from the client's address, or
//! reached at its own listener. `benches/README.md` explains each figure.
//!
//! `cargo bench --bench attach`, as root on Linux with `ip` and `nft`, in network namespaces of its own.
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::indexing_slicing,
    unreachable_pub,
    reason = "a bench prints what it found, a mistake in it ends it, and it has no outside"
)]

mod net;
#[path = "../../tests/support/program.rs"]
mod program;
#[path = "../support/mod.rs"]
mod support;

use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Command, ExitCode};
use std::thread::sleep;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::net::{HERE, Net, Side};
use crate::program::Program;
use crate::support::certs::Certificate;
use crate::support::client::{Client, Door};
use crate::support::crowd::Crowd;
use crate::support::gateway::Gateway;
use crate::support::numbers::{Pooled, float, median, micros};
use crate::support::process::{self, Running};
use crate::support::talk::Messages;
use crate::support::{Fallible, play, tap};

const ROUNDS: usize = 15;
/// Duration of one turn of a crowd.
const STORM: Duration = Duration::from_millis(700);
const START: Duration = Duration::from_secs(20);

fn main() -> ExitCode {
    play::play_if_asked(|_, _| None);
    // `cargo test` runs benches too, without `--bench`.
    if !std::env::args().any(|arg| arg == "--bench") {
        return ExitCode::SUCCESS;
    }
    if !rustix::process::geteuid().is_root() {
        eprintln!("attach: not measured: it needs root, for network namespaces of its own");
        return ExitCode::SUCCESS;
    }
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("attach: {error}");
            ExitCode::from(2)
        }
    }
}

/// One of the two ways to run the program.
struct Tap {
    process: Running,
    door: Door,
}

/// Each tap has its own gateway: attaching to a gateway also redirects the other tap's connections
/// to it.
struct Stage {
    serve: Tap,
    attach: Tap,
    gateways: [Gateway; 2],
    net: Net,
    _folder: TempDir,
    /// The core of the taps, and the core of everything else when the taps need one to themselves.
    cores: (usize, usize),
}

impl Stage {
    fn build() -> Fallible<Self> {
        process::raise_files()?;
        let folder = TempDir::with_prefix("wstap-bench-")?;
        let path = folder.path();
        Certificate::make(path)?;
        let cores = process::cores()?;
        let net = Net::build()?;
        net.enter(Side::Here)?;
        let gateways = [
            Gateway::start_on(path, HERE.into(), cores.0)?,
            Gateway::start_on(path, HERE.into(), cores.0)?,
        ];
        let serve = serve(path, gateways[0].plain, cores.0)?;
        let attach = attach(path, gateways[1].plain, cores.0)?;
        Ok(Self {
            serve,
            attach,
            gateways,
            net,
            _folder: folder,
            cores,
        })
    }

    /// Moves gateways and clients to this core.
    fn others_on(&self, core: usize) -> Fallible<()> {
        process::pin_self(core)?;
        let mut gateways = self.gateways.iter();
        gateways.try_for_each(|gateway| gateway.process.pin(core))
    }

    fn taps(&self) -> [&Tap; 2] {
        [&self.serve, &self.attach]
    }
}

fn serve(folder: &Path, gateway: SocketAddr, core: usize) -> Fallible<Tap> {
    let addr = TcpListener::bind((HERE, 0))?.local_addr()?;
    let config = folder.join("serve.yaml");
    let home = folder.display();
    let text = format!(
        "listeners: [{{ listen: \"{addr}\" }}]\n\
         gateway: {{ url: \"http://{gateway}\", dialect: openclaw }}\n\
         limits: {{ connections: 40000, per_client: 40000, handshakes: 20000 }}\n\
         state_dir: \"{home}\"\n\
         reload: signal\n\
         output: none\n\
         records: {{ path: \"{home}/serve.jsonl\", http: all, connections: all }}\n"
    );
    fs::write(&config, text)?;
    let mut command = Command::new(tap::program());
    command.arg("serve").arg("--config").arg(config);
    let mut process = Running::start("serve", &command, folder, core)?;
    process.wait_until_it_listens(addr)?;
    let door = Door { addr, tls: None };
    Ok(Tap { process, door })
}

fn attach(folder: &Path, gateway: SocketAddr, core: usize) -> Fallible<Tap> {
    let nft = Program::find("nft").ok_or("no nft: make fetch gets it")?;
    let mut command = Command::new(tap::program());
    command
        .args(["attach", "--for", "1h", "--grace", "1s", "--output", "none"])
        .args(["--port", &gateway.port().to_string()])
        .arg("--records")
        .arg(folder.join("attach.jsonl"));
    nft.on_path_of(&mut command);
    let process = Running::start("attach", &command, folder, core)?;
    let deadline = Instant::now() + START;
    loop {
        let said = fs::read_to_string(folder.join("attach.err"))?;
        if said.contains("attached to port") {
            break;
        }
        if Instant::now() > deadline {
            return Err(format!("it did not attach: {said}").into());
        }
        sleep(Duration::from_millis(5));
    }
    let door = Door {
        addr: gateway,
        tls: None,
    };
    Ok(Tap { process, door })
}

/// Results of each round, for `serve` and `attach`.
type Rounds = Vec<[f64; 2]>;

/// Runs rounds of both in turns; the one that goes first alternates.
fn rounds(mut turn: impl FnMut(usize) -> Fallible<f64>) -> Fallible<Rounds> {
    (0..ROUNDS)
        .map(|round| {
            let mut found = [0.0; 2];
            for index in [round % 2, (round + 1) % 2] {
                found[index] = turn(index)?;
            }
            Ok(found)
        })
        .collect()
}

fn run() -> Fallible<()> {
    let stage = Stage::build()?;
    println!("| | serve | attach | attach ÷ serve |");
    println!("|---|--:|--:|--:|");
    for (side, client) in [(Side::There, "remote client"), (Side::Here, "local client")] {
        stage.net.enter(side)?;
        stage.others_on(stage.cores.0)?;
        for (size, label) in [(32, "32 B"), (16 * 1024, "16 KiB")] {
            let found = trips(&stage, size)?;
            row(&format!("{client}: round trip of {label}, p50, µs"), &found);
        }
        let found = openings(&stage)?;
        row(
            &format!("{client}: connect, upgrade and hello, p50, µs"),
            &found,
        );
        stage.others_on(stage.cores.1)?;
        for (pace, label) in [(None, "at full speed"), (Some(2_000), "at 2,000 a second")] {
            let found = cost(&stage, pace)?;
            row(
                &format!("{client}: CPU of a message of 1 KiB {label}, µs"),
                &found,
            );
        }
    }
    row("without sessions: CPU a second, µs", &idle(&stage)?);
    println!("\n{ROUNDS} rounds in turns; the last column is the median of the rounds' ratios.");
    stage.net.enter(Side::Here)
}

fn row(label: &str, rounds: &Rounds) {
    let of = |pick: &dyn Fn(&[f64; 2]) -> f64| median(rounds.iter().map(pick).collect());
    let [serve, attach] = [0, 1].map(|index| of(&|round| round[index]).unwrap_or_default());
    let ratio = of(&|[serve, attach]| attach / serve).unwrap_or_default();
    println!("| {label} | {serve:.2} | {attach:.2} | {ratio:.2} |");
}

/// The p50 of echo round trips, one session each.
fn trips(stage: &Stage, size: usize) -> Fallible<Rounds> {
    let mut lanes = Vec::new();
    for tap in stage.taps() {
        let mut client = Client::greet(&tap.door)?;
        let mut messages = Messages::new(size);
        client.trips(&mut messages, 200)?;
        lanes.push((client, messages));
    }
    let found = rounds(|index| {
        let (client, messages) = &mut lanes[index];
        // At the first trips the caches are full of the other tap's data.
        client.trips(messages, 10)?;
        p50(client.trips(messages, 1_000)?)
    })?;
    lanes
        .into_iter()
        .try_for_each(|(client, _)| client.close())?;
    Ok(found)
}

/// The p50 of the time to open a session.
fn openings(stage: &Stage) -> Fallible<Rounds> {
    let taps = stage.taps();
    rounds(|index| {
        let mut times = Vec::new();
        for _ in 0..50 {
            let began = Instant::now();
            let client = Client::greet(&taps[index].door)?;
            times.push(began.elapsed());
            client.close()?;
        }
        p50(times)
    })
}

fn p50(times: Vec<Duration>) -> Fallible<f64> {
    let p50 = Pooled::new(times).quantile(0.5);
    p50.ok_or_else(|| "nothing was measured".into())
}

/// CPU time of the tap's processes for a message and its answer, in eight sessions.
fn cost(stage: &Stage, pace: Option<usize>) -> Fallible<Rounds> {
    let taps = stage.taps();
    let mut crowds = Vec::new();
    for tap in taps {
        crowds.push(Crowd::gather(&tap.door, 8)?);
    }
    rounds(|index| {
        let before = taps[index].process.cpu()?;
        let crowd = &mut crowds[index];
        let count = match pace {
            None => crowd.storm(1024, 8, STORM)?,
            Some(rate) => crowd.pace(1024, rate, STORM)?,
        };
        let spent = taps[index].process.cpu()?.saturating_sub(before);
        if count == 0 {
            return Err("nothing was done in time".into());
        }
        Ok(micros(spent) / float(count))
    })
}

/// CPU time of the tap's processes in a second without sessions: the cost of renewals and
/// self-checks.
fn idle(stage: &Stage) -> Fallible<Rounds> {
    let taps = stage.taps();
    let cpu =
        || -> Fallible<[Duration; 2]> { Ok([taps[0].process.cpu()?, taps[1].process.cpu()?]) };
    (0..5)
        .map(|_| {
            let before = cpu()?;
            sleep(Duration::from_secs(1));
            let after = cpu()?;
            Ok([0, 1].map(|index| micros(after[index].saturating_sub(before[index]))))
        })
        .collect()
}
