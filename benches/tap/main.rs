//! Compares the tap as a process with direct connections and, with `--peers`, with every other
//! installed proxy. `benches/README.md` explains each figure.
//!
//! `cargo bench --bench tap -- [short|full] [--peers] [--check] [--write FILE]`
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::indexing_slicing,
    unreachable_pub,
    reason = "a bench prints what it found, a mistake in it ends it, and it has no outside"
)]

mod bench;
mod budget;
mod buffering;
mod calls;
mod cost;
mod figure;
mod growth;
mod handshakes;
mod idle;
mod latency;
mod machine;
mod peers;
mod plan;
#[path = "../../tests/support/program.rs"]
mod program;
mod report;
mod settings;
mod stage;
#[path = "../support/mod.rs"]
mod support;
mod tests;
mod whole;

use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use clap::Parser;

use crate::bench::Bench;
use crate::figure::Figure;
use crate::plan::{Length, Plan};
use crate::support::{Fallible, play};

/// Measures the tap against direct connections, and against other proxies.
#[derive(Debug, Parser)]
#[command(name = "tap")]
struct Args {
    /// How long it may take: a few minutes, or up to an hour on a quiet machine.
    #[arg(value_enum, default_value_t)]
    length: Length,
    /// Every installed peer too: nginx, HAProxy, Envoy, Caddy.
    #[arg(long)]
    peers: bool,
    /// Checks the budgets: exit code 1 when one is missed.
    #[arg(long)]
    check: bool,
    /// Only these figures.
    #[arg(long, value_delimiter = ',')]
    only: Vec<Figure>,
    /// Writes the table into this file as well.
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Puts the table between the two marks of this page.
    #[arg(long, value_name = "PAGE", num_args = 0..=1, default_missing_value = PAGE)]
    write: Option<PathBuf>,
    /// Added by `cargo bench`.
    #[arg(long, hide = true)]
    bench: bool,
}

/// The page that shows the table of the last run.
const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/performance.md");

fn main() -> ExitCode {
    play::play_if_asked(whole::play_if_asked);
    // `cargo test` runs benches too, without `--bench`.
    if !std::env::args().any(|arg| arg == "--bench") {
        return tests::run();
    }
    match run(&Args::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("tap: {error}");
            ExitCode::from(2)
        }
    }
}

/// Returns whether all checks passed.
fn run(args: &Args) -> Fallible<bool> {
    let (began, mut took) = (Instant::now(), Vec::new());
    let mut bench = Bench::set_up(Plan::of(args.length), args.peers)?;
    for figure in Figure::ALL {
        if args.only.is_empty() || args.only.contains(&figure) {
            let began = Instant::now();
            figure.measure(&mut bench)?;
            let line = format!("{} {:.0} s", figure.name(), began.elapsed().as_secs_f64());
            eprintln!("tap: {line}");
            took.push(line);
        }
    }
    let all = began.elapsed().as_secs_f64();
    let took = format!("{all:.0} s: {}", took.join(", "));
    bench.report.fact("took", took);
    let report = bench.finish();
    let mut text = report.to_string();
    let mut met = true;
    if args.check {
        let checked = budget::check(&report);
        met = checked.iter().all(budget::Checked::is_met);
        text.push_str(&budget::table(&checked));
    }
    println!("{text}");
    if let Some(path) = &args.output {
        fs::write(path, &text).map_err(|error| format!("{}: {error}", path.display()))?;
    }
    if let Some(page) = &args.write {
        report::paste(page, &text)?;
    }
    Ok(met)
}
