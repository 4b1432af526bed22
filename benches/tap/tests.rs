//! Tests of the bench itself: its parts one by one, and all figures once in small. `cargo test`
//! runs this.

use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use libtest_mimic::{Arguments, Failed, Trial};

use crate::bench::{Bench, turns};
use crate::figure::Figure;
use crate::plan::{Length, Plan};
use crate::report::{Better, DIRECT, Report, TAP, WHOLE, pasted};
use crate::support::clock;
use crate::support::frames::{self, CLOSE, Counter, Ended, TEXT};
use crate::support::head::{self, Path};
use crate::support::limits::{Update, Written};
use crate::support::numbers::{Pooled, median};
use crate::support::process::of_ended_children;
use crate::support::talk::{self, Messages};
use crate::{budget, buffering, calls, cost, handshakes, idle, latency};

type Outcome = Result<(), Failed>;

pub fn run() -> ExitCode {
    let trials = vec![
        Trial::test(
            "counter_finds_the_same_frames_however_they_are_cut",
            counter,
        ),
        Trial::test("whole_frames_are_unmasked_once", whole_frames),
        Trial::test("requests_have_their_size_and_an_id_each", requests),
        Trial::test("quantiles_and_medians", quantiles),
        Trial::test("every_target_has_every_turn", every_turn),
        Trial::test("the_table_has_ratios_and_reasons", the_table),
        Trial::test("the_table_goes_between_its_marks", paste),
        Trial::test("budgets_are_met_missed_and_not_measured", budgets),
        Trial::test("what_strace_counted_is_read", strace),
        Trial::test("limits_are_not_loosened_unasked", limits),
        Trial::test("cpu_time_of_ended_threads_and_children_counts", cpu_time),
        Trial::test("the_handshake_has_the_size_of_a_real_one", handshake),
        Trial::test("a_missed_budget_is_exit_code_1", exit_codes),
        Trial::test("all_figures_in_small", smoke),
    ];
    libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
}

#[expect(clippy::needless_pass_by_value, reason = "calls read better")]
fn same<T: PartialEq + std::fmt::Debug>(found: T, expected: T) -> Outcome {
    if found == expected {
        return Ok(());
    }
    Err(format!("found {found:?}, expected {expected:?}").into())
}

fn counter() -> Outcome {
    let mut stream = Vec::new();
    for size in [0, 1, 125, 126, 65_535, 65_536] {
        stream.extend(frames::of_server(TEXT, &vec![b'x'; size]));
        stream.extend(frames::of_client(TEXT, &vec![b'x'; size]));
    }
    stream.extend(frames::of_client(CLOSE, &[3, 232]));
    for cut in [1, 7, 4096, stream.len()] {
        let mut counter = Counter::default();
        let mut all = Ended::default();
        for piece in stream.chunks(cut) {
            let ended = counter.feed(piece);
            all.messages += ended.messages;
            all.closes += ended.closes;
        }
        let expected = Ended {
            messages: 12,
            closes: 1,
        };
        same(all, expected)?;
        let unfinished = &stream[..stream.len() - 1];
        same(Counter::default().feed(unfinished).closes, 0)?;
    }
    Ok(())
}

fn whole_frames() -> Outcome {
    let mut bytes = frames::of_client(TEXT, b"Hello");
    // The example of RFC 6455 section 5.7.
    same(
        bytes.as_slice(),
        b"\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58".as_slice(),
    )?;
    let mut part = bytes[..bytes.len() - 1].to_vec();
    same(frames::first(&mut part)?.is_none(), true)?;
    let frame = frames::first(&mut bytes)?.ok_or("no frame")?;
    same((frame.opcode, frame.size), (TEXT, 11))?;
    same(&*frame.payload, b"Hello".as_slice())
}

fn requests() -> Outcome {
    for size in [32, 1024, 70_000] {
        let mut messages = Messages::new(size);
        let mut ids = Vec::new();
        for _ in 0..2 {
            let mut frame = messages.next().to_vec();
            let whole = frames::first(&mut frame)?.ok_or("no frame")?;
            same(whole.payload.len(), size)?;
            let answer = talk::answer(whole.payload);
            same(answer.len(), size)?;
            if size > 32 {
                let value: serde_json::Value = serde_json::from_slice(answer)?;
                same(value["type"].as_str(), Some("res"))?;
                ids.push(value["id"].as_str().map(str::to_owned));
            }
        }
        same(ids.first() == ids.last(), size == 32)?;
    }
    let mut connect = talk::CONNECT.as_bytes().to_vec();
    same(talk::answer(&mut connect), talk::HELLO.as_bytes())
}

fn quantiles() -> Outcome {
    let times = (1..=100).rev().map(Duration::from_micros).collect();
    let pooled = Pooled::new(times);
    for (share, expected) in [(0.5, 50.0), (0.99, 99.0), (1.0, 100.0), (0.0, 1.0)] {
        same(pooled.quantile(share).map(f64::round), Some(expected))?;
    }
    same(Pooled::new(Vec::new()).quantile(0.5), None)?;
    same(median(vec![9.0, 1.0, 5.0]), Some(5.0))?;
    same(median(Vec::new()), None)
}

fn every_turn() -> Outcome {
    same(turns(3, 0).collect(), vec![0, 1, 2])?;
    same(turns(3, 4).collect(), vec![1, 2, 0])?;
    same(turns(0, 1).count(), 0)
}

/// A report in which the tap has this figure everywhere, direct has 1 and two peers have 10 and 20.
fn report_of(tap: f64) -> Report {
    let mut report = Report::default();
    for column in [DIRECT, TAP, "fast", "slow", WHOLE] {
        report.column(column);
    }
    let rows = [
        (latency::GROUP, latency::label(32, "added p50")),
        (latency::GROUP, latency::label(16 << 10, "added p50")),
        (latency::GROUP, latency::label(1 << 20, "added p50")),
        (cost::GROUP, cost::FULL_SPEED.to_owned()),
        (cost::GROUP, cost::BULK.to_owned()),
        (idle::GROUP, idle::fresh(2_000)),
        (buffering::GROUP, buffering::TO_GATEWAY.to_owned()),
        (buffering::GROUP, buffering::TO_CLIENT.to_owned()),
        (handshakes::GROUP, handshakes::FULL.to_owned()),
        (handshakes::GROUP, handshakes::RESUMED.to_owned()),
    ];
    for (group, label) in rows {
        for (target, value) in [(DIRECT, 1.0), (TAP, tap), ("slow", 20.0), ("fast", 10.0)] {
            report.put(group, &label, Better::Less, target, Ok(value));
        }
        report.put(group, &label, Better::Less, WHOLE, Ok(0.1));
    }
    report
}

fn the_table() -> Outcome {
    let mut report = report_of(5.0);
    report.put("more", "a second", Better::More, TAP, Ok(30.0));
    report.put("more", "a second", Better::More, "fast", Ok(60.0));
    report.put(
        "more",
        "a second",
        Better::More,
        "slow",
        Err("it fell over".into()),
    );
    report.fact("kernel", "6.1");
    let text = report.to_string();
    for expected in [
        "| | direct | wstap | fast | slow | whole messages | wstap ÷ direct | wstap ÷ best peer |",
        "| **cost** | | | | | | | |",
        "| 1.00 | 5.00 | 10.0 | 20.0 | 0.10 | 5.00 | 0.50 (fast) |",
        "| a second | – | 30.0 | 60.0 | failed (1) | – | – | 0.50 (fast) |",
        "1. slow, more: it fell over",
        "- kernel: 6.1",
    ] {
        if !text.contains(expected) {
            return Err(format!("no {expected:?} in\n{text}").into());
        }
    }
    Ok(())
}

fn paste() -> Outcome {
    let page =
        "before\n<!-- bench: the table begins -->\nold\n<!-- bench: the table ends -->\nafter\n";
    let new = pasted(page, "| new |\n").ok_or("no marks")?;
    same(new.as_str(), page.replace("old", "| new |").as_str())?;
    same(pasted("no marks", "text"), None)
}

fn budgets() -> Outcome {
    let met = |report: &Report| {
        let checked = budget::check(report);
        same(checked.len(), 10)?;
        let met = checked.iter().filter(|one| one.is_met()).count();
        let words = budget::table(&checked).matches("**missed**").count();
        same(words, 10 - met)?;
        Ok::<usize, Failed>(met)
    };
    same(met(&report_of(8.0))?, 10)?;
    // 8.2 is over 0.8 × the best peer of 10 only.
    same(met(&report_of(8.2))?, 9)?;
    // Over everything but a millisecond above direct; the whole-message relay is no peer.
    same(met(&report_of(1000.0))?, 2)?;
    same(met(&report_of(1001.5))?, 0)?;
    // If an expected peer were missing, any other could count as the best.
    let mut without = report_of(8.0);
    without.expect("fast");
    same(met(&without)?, 10)?;
    without.expect("gone");
    same(met(&without)?, 3)?;
    same(met(&Report::default())?, 0)
}

fn strace() -> Outcome {
    let summary = "\
% time     seconds  usecs/call     calls    errors syscall
------ ----------- ----------- --------- --------- ----------------
 60.00    0.000120           1       100        20 recvfrom
 40.00    0.000080           1        80           sendto
------ ----------- ----------- --------- --------- ----------------
100.00    0.000200           1       180        20 total
";
    same(calls::total(summary)?, 180)?;
    same(calls::total("").is_err(), true)
}

fn limits() -> Outcome {
    let written = |measured, limit| Written { measured, limit };
    let old = written(100.0, 104.0);
    for (new, may_loosen, expected) in [
        (
            written(90.0, 93.6),
            false,
            Update::Write(written(90.0, 93.6)),
        ),
        (written(102.0, 106.1), false, Update::Keep),
        (
            written(105.0, 109.2),
            false,
            Update::Loosen(written(105.0, 109.2)),
        ),
        (
            written(105.0, 109.2),
            true,
            Update::Write(written(105.0, 109.2)),
        ),
    ] {
        same(Update::of(Some(old), new, may_loosen), expected)?;
    }
    let first = written(1.0, 1.04);
    same(Update::of(None, first, false), Update::Write(first))
}

/// A thread that has worked and ended, and a child that has.
fn cpu_time() -> Outcome {
    let this = std::process::id();
    let before = clock::of_process(this)?;
    let work = || {
        let until = Instant::now() + Duration::from_millis(50);
        while Instant::now() < until {
            std::hint::black_box(0);
        }
    };
    std::thread::spawn(work).join().map_err(|_| "it panicked")?;
    let spent = clock::of_process(this)?.saturating_sub(before);
    // However busy the machine, the thread had the core for some of that time.
    same(spent > Duration::from_micros(100), true)?;
    let stat = "4711 (a name) with) S 1 2 3 4 5 6 7 8 9 10 11 12 150 50 16 17 18 19";
    same(of_ended_children(stat)?, Duration::from_secs(2))?;
    same(of_ended_children("4711 (short) S 1").is_err(), true)
}

fn handshake() -> Outcome {
    let (request, answer) = (
        head::request(Path::Session),
        head::response(head::request(Path::Bare).as_bytes())?,
    );
    same((480..520).contains(&request.len()), true)?;
    same(answer.len(), 129)?;
    same(head::asks_for(request.as_bytes(), Path::Session), true)?;
    same(head::asks_for(request.as_bytes(), Path::Bare), false)?;
    same(talk::CHALLENGE.len(), 164)?;
    for (text, size) in [
        (talk::CHALLENGE, 164..165),
        (talk::CONNECT, 1_300..1_400),
        (talk::HELLO.as_str(), 15_000..16_500),
    ] {
        same((size.contains(&text.len()), text.len()), (true, text.len()))?;
        serde_json::from_str::<serde_json::Value>(text)?;
    }
    Ok(())
}

/// The smoke run has no peers, so the budgets that refer to them are missed.
fn exit_codes() -> Outcome {
    let this = std::env::current_exe()?;
    for (check, code) in [(None, 0), (Some("--check"), 1)] {
        let out = Command::new(&this)
            .args(["--bench", "smoke", "--only", "buffering"])
            .args(check)
            .output()?;
        let text = String::from_utf8_lossy(&out.stdout);
        same((check, out.status.code()), (check, Some(code)))?;
        same(text.contains("**missed**"), check.is_some())?;
        same(text.contains("| met |"), check.is_some())?;
    }
    Ok(())
}

fn smoke() -> Outcome {
    let mut bench = Bench::set_up(Plan::of(Length::Smoke), false)?;
    for figure in Figure::ALL {
        figure.measure(&mut bench)?;
    }
    let report = bench.finish();
    let text = report.to_string();
    if text.contains("failed (") {
        return Err(text.into());
    }
    let row = |label: &str| {
        let row = report.row(buffering::GROUP, label);
        row.ok_or_else(|| format!("no {label} in\n{text}"))
    };
    // At least two pauses, however slow the machine: this relay waits for the whole frame.
    for label in [buffering::TO_GATEWAY, buffering::TO_CLIENT] {
        let whole = row(label)?.value(WHOLE);
        if !whole.is_some_and(|micros| micros > 10_000.0) {
            return Err(format!("a relay of whole messages is not seen to buffer:\n{text}").into());
        }
    }
    Ok(())
}
