//! Instructions of the code that looks at every byte: the scanner alone, and with the recorder
//! (counters and dialect) on top. Two counts per case, at marks around it, in one run under
//! callgrind.

use std::ffi::OsString;
use std::hint::black_box;
use std::process::Command;
use std::time::Instant;

use wstap::dialect::observer::{Observer, SessionReaders};
use wstap::dialect::{Choice, Dialect, reader};
use wstap::session::credential::Fingerprinter;
use wstap::session::heartbeats::Heartbeats;
use wstap::session::party::Direction;
use wstap::ws::extensions::Extensions;
use wstap::ws::{FrameSink, Masking, Scanner};

use super::callgrind::{Callgrind, MISSING};
use super::figures::Figure;
use super::gate::{Outcome, Place};
use super::support::frames::{TEXT, of_client, of_server};
use super::support::numbers::float;
use super::support::talk::{CHALLENGE, CONNECT, HELLO};
use super::support::{Fallible, role};

/// How often each case runs between its marks.
const ROUNDS: usize = 200;
/// Number of bytes in one read of the relay.
const SLICE: usize = 64 * 1024;
const UNIT: &str = "instructions a frame";

type Case = (&'static str, fn() -> Work);

const CASES: [Case; 6] = [
    ("scanner-masked-32B", || scan(Masking::Masked, 32)),
    ("scanner-unmasked-16KiB", || {
        scan(Masking::Unmasked, 16 << 10)
    }),
    ("recorder-plain-32B", || {
        observe(Choice::Plain, whole(32, false))
    }),
    ("recorder-openclaw-one-frame-a-read-32B", || {
        observe(Choice::OpenClaw, (of_server(TEXT, &[b'x'; 32]), 1))
    }),
    ("recorder-openclaw-event-1KiB", || {
        let front = r#"{"type":"event","event":"agent","payload":{"data":""#;
        let event = format!("{front:x<1021}\"}}}}");
        observe(Choice::OpenClaw, fill(&of_server(TEXT, event.as_bytes())))
    }),
    ("recorder-openclaw-call", calls),
];

/// A prepared case: the work of one round, and its number of frames.
struct Work {
    round: Box<dyn FnMut()>,
    frames: usize,
}

pub fn gate(place: &Place<'_>) -> Fallible<Outcome> {
    let Some(callgrind) = Callgrind::new(place.folder, "follow") else {
        return Ok(Outcome::Skipped(MISSING.to_owned()));
    };
    let this = role::custom("follow", [] as [OsString; 0]);
    // A mangled Rust function name ends in a hash.
    let words = callgrind.words(&["--dump-before=*follow*mark*"]);
    let mut command = Command::new(&words[0]);
    command
        .args(&words[1..])
        .arg(this.get_program())
        .args(this.get_args());
    let output = command.output()?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(format!("it ended with {}: {said}", output.status).into());
    }
    let figures = CASES.iter().enumerate().map(|(index, (name, make))| {
        // Every second dump covers the work between the two marks of a case.
        #[expect(clippy::cast_precision_loss, reason = "far below 2^53")]
        let instructions = callgrind.dumped(2 * index + 2)?.instructions()? as f64;
        let frames = float(ROUNDS * make().frames);
        Ok(Figure::new(name, UNIT, instructions / frames))
    });
    figures.collect::<Fallible<_>>().map(Outcome::Measured)
}

/// The role: runs every case once, under callgrind.
pub fn play() {
    for (_, make) in CASES {
        let mut work = make();
        (work.round)();
        mark();
        for _ in 0..ROUNDS {
            (work.round)();
        }
        mark();
    }
}

#[inline(never)]
fn mark() {
    black_box(0);
}

/// Repeats a frame until it fills one read; returns the bytes and the number of frames.
fn fill(frame: &[u8]) -> (Vec<u8>, usize) {
    let count = (SLICE / frame.len()).max(1);
    (frame.repeat(count), count)
}

fn whole(size: usize, masked: bool) -> (Vec<u8>, usize) {
    let text = vec![b'x'; size];
    fill(&if masked {
        of_client(TEXT, &text)
    } else {
        of_server(TEXT, &text)
    })
}

struct Nothing;

impl FrameSink for Nothing {}

fn scan(masking: Masking, size: usize) -> Work {
    let (bytes, frames) = whole(size, masking == Masking::Masked);
    let mut scanner = Scanner::new(masking, Extensions::default());
    let round = Box::new(move || scanner.scan(black_box(&bytes), &mut Nothing));
    Work { round, frames }
}

/// Both directions of an open session.
struct Watched {
    dialect: Box<dyn Dialect>,
    heartbeats: Heartbeats,
    client: Observer,
    gateway: Observer,
    now: Instant,
}

impl Watched {
    fn open(choice: Choice) -> Self {
        let fingerprinter = Fingerprinter::with_key(b"a key for the bench");
        let observer = |direction| Observer::new(direction, Extensions::default());
        let mut watched = Self {
            dialect: reader(choice, &fingerprinter, "/"),
            heartbeats: Heartbeats::default(),
            client: observer(Direction::ToGateway),
            gateway: observer(Direction::ToClient),
            now: Instant::now(),
        };
        watched.of_gateway(&of_server(TEXT, CHALLENGE.as_bytes()));
        watched.of_client(&of_client(TEXT, CONNECT.as_bytes()));
        watched.of_gateway(&of_server(TEXT, HELLO.as_bytes()));
        watched
    }

    fn of_client(&mut self, bytes: &[u8]) {
        let mut shared = SessionReaders {
            dialect: &mut *self.dialect,
            heartbeats: &mut self.heartbeats,
        };
        self.client.observe(black_box(bytes), self.now, &mut shared);
    }

    fn of_gateway(&mut self, bytes: &[u8]) {
        let mut shared = SessionReaders {
            dialect: &mut *self.dialect,
            heartbeats: &mut self.heartbeats,
        };
        self.gateway
            .observe(black_box(bytes), self.now, &mut shared);
    }
}

fn observe(choice: Choice, (bytes, frames): (Vec<u8>, usize)) -> Work {
    let mut watched = Watched::open(choice);
    let round = Box::new(move || watched.of_gateway(&bytes));
    Work { round, frames }
}

/// Requests of 200 bytes and their answers of 1 KiB, each in a separate slice.
fn calls() -> Work {
    const CALLS: usize = 64;
    let message = |kind: &str, call: usize, rest: &str, size: usize| {
        let front =
            format!(r#"{{"type":"{kind}","id":"1:2c6a3f5e-11aa-4c1b-8a45-{call:012}",{rest}"#);
        format!("{front:x<size$}\"}}")
    };
    let pairs: Vec<(Vec<u8>, Vec<u8>)> = (0..CALLS)
        .map(|call| {
            let request = message("req", call, r#""method":"health","params":""#, 198);
            let answer = message("res", call, r#""ok":true,"payload":""#, 1022);
            (
                of_client(TEXT, request.as_bytes()),
                of_server(TEXT, answer.as_bytes()),
            )
        })
        .collect();
    let mut watched = Watched::open(Choice::OpenClaw);
    let round = Box::new(move || {
        for (request, answer) in &pairs {
            watched.of_client(request);
            watched.of_gateway(answer);
        }
    });
    Work {
        round,
        frames: 2 * CALLS,
    }
}
