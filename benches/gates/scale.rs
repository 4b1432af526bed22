//! Ten thousand sessions in one tap, two thousand of them busy, while others come and go and
//! records are written: all open, all answer at the end, each has a record with a verdict, and
//! memory is bounded.
//!
//! A session takes two open files of the tap; a WebSocket in an HTTP/2 stream takes one. If the
//! limit on open files does not allow ten thousand sessions, as many run as fit, and the output
//! says so.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::thread::sleep;
use std::time::{Duration, Instant};

use rustls::client::Resumption;
use serde_json::Value;

use super::figures::Figure;
use super::gate::{Outcome, Place};
use super::streams::Streams;
use super::support::client::Door;
use super::support::crowd::{Crowd, come_and_go, doors};
use super::support::gateway::Gateway;
use super::support::head;
use super::support::numbers::float;
use super::support::tap::Setup;
use super::support::{Fallible, process};

const WANTED: usize = 10_000;
const BUSY: usize = 2000;
/// Sessions in streams of one connection.
const STREAMS: usize = 200;
/// Further open files of the tap: listener, records, sessions that come and go.
const RESERVE: usize = 100;
/// Number of sessions at a time that come and go meanwhile.
const LANES: usize = 4;
const TIME: Duration = Duration::from_secs(5);
/// Time limit for the last record to be in the file.
const PATIENCE: Duration = Duration::from_secs(30);

pub fn gate(place: &Place<'_>) -> Fallible<Outcome> {
    let files = process::raise_files()?;
    let fit = files.saturating_sub(RESERVE + STREAMS) / 2;
    let connections = fit.min(WANTED - STREAMS + RESERVE / 2);
    let busy = BUSY.min(connections / 2);
    let gateway = Gateway::start(place.folder, place.around)?;
    let setup = Setup {
        name: "scale",
        more: "http2: { websocket: true, max_concurrent_streams: 256 }\n",
        ..Setup::default()
    };
    let (tap, addr) = setup.start(place.folder, place.certificate, gateway.plain, place.core)?;
    let tls = place.certificate.client(Resumption::disabled())?;
    let door = Door {
        addr,
        tls: Some(Arc::clone(&tls)),
    };
    let empty = tap.pss()?;
    let mut busy_ones = Crowd::gather(&door, busy)?;
    let mut idle_ones = Crowd::gather(&door, connections - busy)?;
    let mut streams = Streams::open(addr, &tls, STREAMS)?;
    let all = connections + STREAMS;
    let open = tap.pss()?;

    let lanes = doors(&door, LANES, || Ok(Arc::clone(&tls)))?;
    let (messages, passing) = std::thread::scope(|scope| {
        let passing = scope.spawn(|| come_and_go(lanes, head::Path::Session, TIME));
        let messages = busy_ones.storm(1024, 1, TIME)?;
        let passing = passing.join().map_err(|_| "those that pass panicked")??;
        Fallible::Ok((messages, passing.sessions))
    })?;
    let worked = tap.pss()?;

    for (who, answered, wanted) in [
        ("busy", busy_ones.once(32)?, busy),
        ("idle", idle_ones.once(32)?, connections - busy),
        ("streams", streams.once(32)?, STREAMS),
    ] {
        if answered != wanted {
            return Err(
                format!("{answered} of {wanted} {who} sessions answered at the end").into(),
            );
        }
    }
    busy_ones.close()?;
    idle_ones.close()?;
    streams.close()?;
    let classes = records(&place.folder.join("scale.jsonl"), all + passing)?;

    let mut words = vec![format!(
        "{all} sessions in one tap ({connections} connections, {STREAMS} streams of one more), {busy} of \
         them busy with {messages} messages while {passing} others came and went: {} MiB open, {} MiB \
         after that; {} records, each with a verdict: {}",
        open / 1024,
        worked / 1024,
        all + passing,
        classes.join(", "),
    )];
    if all < WANTED {
        words.push(format!(
            "only {all} sessions instead of {WANTED}: this process may open {files} files, and so may the tap"
        ));
    }
    Ok(Outcome::Both(
        vec![
            Figure::new(
                "scale-busy",
                "KiB a session",
                float(worked.saturating_sub(empty)) / float(all),
            )
            .margin(0.08),
        ],
        words,
    ))
}

/// Waits until `wanted` sessions have a record, and returns the classes of their verdicts.
fn records(file: &Path, wanted: usize) -> Fallible<Vec<String>> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let classes = classes(file)?;
        let count: usize = classes.values().sum();
        if count == wanted {
            let all = classes.iter();
            return Ok(all
                .map(|(class, count)| format!("{count} {class}"))
                .collect());
        }
        if count > wanted || Instant::now() > deadline {
            return Err(format!("{count} records of {wanted} sessions: {classes:?}").into());
        }
        sleep(Duration::from_millis(100));
    }
}

fn classes(file: &Path) -> Fallible<BTreeMap<String, usize>> {
    let text = fs::read_to_string(file)?;
    let mut classes = BTreeMap::new();
    // The last line may be half written.
    let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
    for line in whole.lines() {
        let record: Value = serde_json::from_str(line)?;
        if record["kind"] != "websocket" {
            continue;
        }
        let class = record["verdict"]["class"].as_str();
        let class = class.filter(|class| *class != "unknown");
        let class = class.ok_or_else(|| format!("no verdict on {}", record["id"]))?;
        *classes.entry(class.to_owned()).or_default() += 1;
    }
    Ok(classes)
}
