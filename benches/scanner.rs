//! The cost of following the frames: the scanner alone, and with counters and dialect on top.
//!
//! Each figure is the time for one slice of 64 KiB, as the relay shows them, filled with frames of
//! the named payload size.
#![expect(clippy::unwrap_used, reason = "a bench")]

use std::time::Instant;

use divan::Bencher;
use divan::counter::{BytesCount, ItemsCount};
use wstap::dialect::observer::{Observer, SessionReaders};
use wstap::dialect::{Choice, reader};
use wstap::session::credential::Fingerprinter;
use wstap::session::heartbeats::Heartbeats;
use wstap::session::party::Direction;
use wstap::ws::extensions::Extensions;
use wstap::ws::masking::apply_mask;
use wstap::ws::{FrameSink, Masking, Scanner};

const SIZES: [usize; 4] = [32, 1024, 16 * 1024, 64 * 1024];

fn main() {
    divan::main();
}

struct Nothing;

impl FrameSink for Nothing {}

/// Complete text frames of this payload size: 64 KiB of them, or a single larger one.
fn frames(size: usize, masked: bool) -> (Vec<u8>, usize) {
    let key = [7, 11, 13, 17];
    let mut frame = vec![0x81];
    let mask = if masked { 0x80 } else { 0 };
    match size {
        0..126 => frame.push(mask | u8::try_from(size).unwrap()),
        126..65_536 => {
            frame.push(mask | 0x7e);
            frame.extend(u16::try_from(size).unwrap().to_be_bytes());
        }
        _ => {
            frame.push(mask | 0x7f);
            frame.extend((size as u64).to_be_bytes());
        }
    }
    let mut payload = vec![b'x'; size];
    if masked {
        frame.extend(key);
        apply_mask(&mut payload, key, 0);
    }
    frame.extend(payload);
    let count = (64 * 1024 / frame.len()).max(1);
    (frame.repeat(count), count)
}

#[divan::bench(args = SIZES)]
fn scanner_unmasked(bencher: Bencher<'_, '_>, size: usize) {
    let (bytes, count) = frames(size, false);
    let mut scanner = Scanner::new(Masking::Unmasked, Extensions::default());
    bencher
        .counter(ItemsCount::new(count))
        .counter(BytesCount::new(bytes.len()))
        .bench_local(|| scanner.scan(divan::black_box(&bytes), &mut Nothing));
}

#[divan::bench(args = SIZES)]
fn scanner_masked(bencher: Bencher<'_, '_>, size: usize) {
    let (bytes, count) = frames(size, true);
    let mut scanner = Scanner::new(Masking::Masked, Extensions::default());
    bencher
        .counter(ItemsCount::new(count))
        .counter(BytesCount::new(bytes.len()))
        .bench_local(|| scanner.scan(divan::black_box(&bytes), &mut Nothing));
}

fn observe(bencher: Bencher<'_, '_>, size: usize, choice: Choice) {
    let (bytes, count) = frames(size, false);
    let mut dialect = reader(
        choice,
        &Fingerprinter::with_key(b"a key for the bench"),
        "/",
    );
    let mut heartbeats = Heartbeats::default();
    let mut observer = Observer::new(Direction::ToClient, Extensions::default());
    // An open session: from here on only the front of a message is inspected.
    let hello = br#"{"type":"res","id":"1","ok":true,"payload":{"type":"hello-ok"}}"#;
    let mut first = vec![0x81, u8::try_from(hello.len()).unwrap()];
    first.extend(hello);
    let now = Instant::now();
    let mut shared = SessionReaders {
        dialect: &mut *dialect,
        heartbeats: &mut heartbeats,
    };
    observer.observe(&first, now, &mut shared);
    bencher
        .counter(ItemsCount::new(count))
        .counter(BytesCount::new(bytes.len()))
        .bench_local(|| observer.observe(divan::black_box(&bytes), now, &mut shared));
}

#[divan::bench(args = SIZES)]
fn observer_plain(bencher: Bencher<'_, '_>, size: usize) {
    observe(bencher, size, Choice::Plain);
}

#[divan::bench(args = SIZES)]
fn observer_openclaw(bencher: Bencher<'_, '_>, size: usize) {
    observe(bencher, size, Choice::OpenClaw);
}

/// 64 calls as slices: each is a masked request of 200 bytes and its answer of 1 KiB.
fn calls(bencher: Bencher<'_, '_>, choice: Choice) {
    let (mut requests, mut answers) = (Vec::new(), Vec::new());
    for call in 0..64 {
        let front = |kind: &str, rest: &str| {
            format!(r#"{{"type":"{kind}","id":"1:2c6a3f5e-11aa-4c1b-8a45-{call:012}",{rest}"#)
        };
        let request = format!(
            "{:x<198}\"}}",
            front("req", r#""method":"health","params":""#)
        );
        let answer = format!("{:x<1022}\"}}", front("res", r#""ok":true,"payload":""#));
        requests.extend(text_frame(&request, Some([7, 11, 13, 17])));
        answers.extend(text_frame(&answer, None));
    }
    let mut dialect = reader(
        choice,
        &Fingerprinter::with_key(b"a key for the bench"),
        "/",
    );
    let mut heartbeats = Heartbeats::default();
    let mut asking = Observer::new(Direction::ToGateway, Extensions::default());
    let mut answering = Observer::new(Direction::ToClient, Extensions::default());
    let now = Instant::now();
    let mut shared = SessionReaders {
        dialect: &mut *dialect,
        heartbeats: &mut heartbeats,
    };
    let connect = r#"{"type":"req","id":"c","method":"connect","params":{}}"#;
    let hello = r#"{"type":"res","id":"c","ok":true,"payload":{"type":"hello-ok"}}"#;
    asking.observe(&text_frame(connect, Some([1, 2, 3, 4])), now, &mut shared);
    answering.observe(&text_frame(hello, None), now, &mut shared);
    bencher.counter(ItemsCount::new(64usize)).bench_local(|| {
        asking.observe(divan::black_box(&requests), now, &mut shared);
        answering.observe(divan::black_box(&answers), now, &mut shared);
    });
}

fn text_frame(text: &str, key: Option<[u8; 4]>) -> Vec<u8> {
    let mask = if key.is_some() { 0x80 } else { 0 };
    let mut frame = vec![0x81, mask | 0x7e];
    frame.extend(u16::try_from(text.len()).unwrap().to_be_bytes());
    let mut payload = text.as_bytes().to_vec();
    if let Some(key) = key {
        frame.extend(key);
        apply_mask(&mut payload, key, 0);
    }
    frame.extend(payload);
    frame
}

/// 64 events of 1 KiB, the most frequent message of the gateway.
fn events(bencher: Bencher<'_, '_>, choice: Choice) {
    let event = format!(
        "{:x<1021}\"}}}}",
        r#"{"type":"event","event":"agent","payload":{"data":""#
    );
    let bytes = text_frame(&event, None).repeat(64);
    let mut dialect = reader(
        choice,
        &Fingerprinter::with_key(b"a key for the bench"),
        "/",
    );
    let mut heartbeats = Heartbeats::default();
    let mut observer = Observer::new(Direction::ToClient, Extensions::default());
    let now = Instant::now();
    let mut shared = SessionReaders {
        dialect: &mut *dialect,
        heartbeats: &mut heartbeats,
    };
    let hello = r#"{"type":"res","id":"c","ok":true,"payload":{"type":"hello-ok"}}"#;
    observer.observe(&text_frame(hello, None), now, &mut shared);
    bencher
        .counter(ItemsCount::new(64usize))
        .bench_local(|| observer.observe(divan::black_box(&bytes), now, &mut shared));
}

#[divan::bench]
fn calls_plain(bencher: Bencher<'_, '_>) {
    calls(bencher, Choice::Plain);
}

#[divan::bench]
fn calls_openclaw(bencher: Bencher<'_, '_>) {
    calls(bencher, Choice::OpenClaw);
}

#[divan::bench]
fn events_plain(bencher: Bencher<'_, '_>) {
    events(bencher, Choice::Plain);
}

#[divan::bench]
fn events_openclaw(bencher: Bencher<'_, '_>) {
    events(bencher, Choice::OpenClaw);
}
