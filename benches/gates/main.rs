//! Gates against unnoticed regressions: figures that repeat to a few percent on any machine
//! (instructions, system calls, bytes), and many sessions on one machine. No time is measured.
//!
//! `limits.yaml` has the measured value and the limit of each figure; `make gates` compares, `make
//! gates-update` rewrites it. README.md in `benches/` explains each figure.
#![allow(
    missing_docs,
    unreachable_pub,
    reason = "a program of its own: nothing of it is offered to others"
)]
#![expect(
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a bench: a mistake in here ends it, and its table is what it is for"
)]

mod callgrind;
mod calls;
mod distinct;
mod figures;
mod flood;
mod follow;
mod gate;
mod idle;
#[path = "../../tests/support/program.rs"]
mod program;
mod relay;
mod scale;
mod streams;
#[path = "../support/mod.rs"]
mod support;

use std::process::ExitCode;
use std::time::Instant;

use figures::{Limits, Table};
use gate::{Outcome, Place};
use support::certs::Certificate;
use support::{Fallible, play, process};

type Gate = fn(&Place<'_>) -> Fallible<Outcome>;

const GATES: [(&str, Gate); 6] = [
    ("follow", follow::gate),
    ("relay", relay::gate),
    ("calls", calls::gate),
    ("idle", idle::gate),
    ("flood", flood::gate),
    ("scale", scale::gate),
];

fn main() -> ExitCode {
    play::play_if_asked(|name, _| match name {
        "follow" => {
            follow::play();
            Some(Ok(()))
        }
        _ => None,
    });
    // `cargo bench` adds `--bench`.
    let args: Vec<String> = std::env::args()
        .skip(1)
        .filter(|arg| arg != "--bench")
        .collect();
    let has = |flag| args.iter().any(|arg| arg == flag);
    let update = match (has("--update"), has("--loosen")) {
        (true, true) => Some(Raise::Allowed),
        (true, false) => Some(Raise::Refused),
        (false, _) => None,
    };
    let wanted: Vec<&String> = args.iter().filter(|arg| !arg.starts_with("--")).collect();
    match run(update, |name| {
        wanted.is_empty() || wanted.iter().any(|one| *one == name)
    }) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            println!("gates: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Whether rewritten limits may be higher than before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Raise {
    Allowed,
    Refused,
}

/// Returns whether everything is within its limits.
fn run(update: Option<Raise>, wanted: impl Fn(&str) -> bool) -> Fallible<bool> {
    let folder = tempfile::tempdir()?;
    let certificate = Certificate::make(folder.path())?;
    let (core, around) = process::cores()?;
    process::pin_self(around)?;
    let place = Place {
        folder: folder.path(),
        certificate: &certificate,
        core,
        around,
    };
    let (mut table, mut words, mut skipped, mut broken) =
        (Table::new(Limits::read()?), Vec::new(), 0, 0);
    for (name, gate) in GATES.into_iter().filter(|(name, _)| wanted(name)) {
        let began = Instant::now();
        match gate(&place) {
            Ok(Outcome::Measured(figures)) => table.extend(figures),
            Ok(Outcome::Held(told)) => words.extend(told),
            Ok(Outcome::Both(figures, told)) => {
                table.extend(figures);
                words.extend(told);
            }
            Ok(Outcome::Skipped(why)) => {
                skipped += 1;
                // With `CI=true` no gate may be skipped.
                broken += usize::from(std::env::var("CI").as_deref() == Ok("true"));
                println!("SKIPPED: gates: {name}: {why}");
            }
            Err(error) => {
                broken += 1;
                println!("gates: {name}: failed: {error}");
            }
        }
        eprintln!("gates: {name} took {:.0} s", began.elapsed().as_secs_f64());
    }
    println!("{table}");
    for line in &words {
        println!("{line}");
    }
    if let Some(raise) = update {
        table.write(raise == Raise::Allowed)?;
    }
    println!("{}", table.closing(words.len(), skipped, broken));
    Ok(broken == 0 && (update.is_some() || table.all_within()))
}
