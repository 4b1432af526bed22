//! Repeated endings: a flood of them becomes one record with a count, and rotates no evidence away.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use serde_json::Value;
use wstap::session::SessionRecord;

use crate::admin::get;
use crate::peers::{Via, echo};
use crate::support::conn::Conn;
use crate::support::deadline::STEP;
use crate::support::head;
use crate::support::records::{self, rule};
use crate::support::tap::{Face, Setup, Tap};

/// An upgrade from this page; returns the status and the session's id.
async fn upgrade(conn: &mut Conn, origin: &str) -> (u16, String) {
    let request = head::upgrade("/", "localhost", &[("origin", origin)]);
    conn.send(&request).await.unwrap();
    let answer = conn.head().await.unwrap();
    let id = answer.value("x-wstap-session").expect("an id").clone();
    (answer.status(), id)
}

/// Records in the tap's files, including rotated ones.
fn all_records(tap: &Tap) -> Vec<SessionRecord> {
    let path = tap.folder().join("records.jsonl");
    let old = tap.folder().join("records.jsonl.1");
    let mut all = records::read(&old);
    all.extend(records::read(&path));
    all
}

/// Number of sessions that the records cover.
fn sessions(records: &[SessionRecord]) -> u64 {
    let counts = records.iter().map(|it| it.repeats.map_or(1, |it| it.count));
    counts.sum()
}

async fn metric(tap: &Tap, sample: &str) -> u64 {
    let page = get(tap, "/metrics").await.body;
    let line = page.lines().find_map(|line| line.strip_prefix(sample));
    line.map_or(0, |value| value.trim().parse().expect("a number"))
}

/// Waits until a metric has this value.
async fn metric_is(tap: &Tap, sample: &str, value: u64) {
    let until = Instant::now() + STEP;
    while metric(tap, sample).await != value {
        assert!(
            Instant::now() < until,
            "{sample}{}",
            metric(tap, sample).await
        );
    }
}

fn explain(what: &str, records: &Path) -> (Option<i32>, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_wstap"));
    command.arg("explain").arg(what).arg("--json");
    if Path::new(what) != records {
        command.arg("--records").arg(records);
    }
    let out = command.output().unwrap();
    (out.status.code(), String::from_utf8(out.stdout).unwrap())
}

#[tokio::test]
async fn a_flood_of_refused_upgrades_washes_no_evidence_out() {
    const FLOOD: u64 = 400;
    let peer = echo::start(&Via::Plain).await;
    let mut tap = Setup::before(&peer)
        .set("origins.allowed", vec!["https://good.example"])
        // As in a tap that has run for weeks: room for a few hundred records.
        .set("records.rotate_bytes", "128KiB")
        .set("records.keep", 1)
        .set("records.repeats", "join")
        .admin()
        .start()
        .await;
    let mut conn = tap.connect(Face::Plain).await;
    let (status, evidence) = upgrade(&mut conn, "https://good.example").await;
    assert_eq!(status, 101);
    conn.abort();
    tap.websockets(1).await;

    let mut ids = Vec::new();
    for _ in 0..FLOOD {
        let mut conn = tap.connect(Face::Plain).await;
        let (status, id) = upgrade(&mut conn, "https://evil.example").await;
        assert_eq!(status, 403);
        ids.push(id);
    }
    // Each is counted as it ends, and another rule is recorded at once.
    let denied = "wstap_sessions_total{kind=\"websocket\",class=\"tap.denied\"} ";
    metric_is(&tap, denied, FLOOD).await;
    let mut conn = tap.connect(Face::Plain).await;
    upgrade(&mut conn, "https://good.example").await;
    conn.abort();
    let open = |record: &SessionRecord| rule(record) != "tap.denied.origin";
    tap.wait_for("the session after the flood", |record| {
        open(record) && record.id.to_string() != evidence
    })
    .await;
    assert_eq!(tap.terminate().await, Some(0));

    let all = all_records(&tap);
    assert!(all.len() < 40, "{} records", all.len());
    assert_eq!(sessions(&all), FLOOD + 2);
    let joined: Vec<_> = all.iter().filter(|it| it.repeats.is_some()).collect();
    assert_eq!(joined.len(), 1);
    // Of connections that end at nearly the same moment, either may be the last.
    let last = joined[0].id.to_string();
    assert!(ids[390..].contains(&last), "the last in full: {last}");
    assert!(
        all.iter().any(|it| it.id.to_string() == ids[0]),
        "the first, too"
    );

    let path: PathBuf = tap.folder().join("records.jsonl");
    let (code, _) = explain(&evidence, &path);
    assert_eq!(code, Some(0), "the evidence is still there");
    // A joined session's id is in no record, but `explain` says which record may cover it.
    let (code, text) = explain(&ids[200], &path);
    assert_eq!(code, Some(1), "{text}");
    let said: Value = serde_json::from_str(&text).unwrap();
    assert!(said["error"].as_str().unwrap().contains("share the record"));
    assert!(said["perhaps"][0].as_str().unwrap().starts_with(&last));
    // A summary counts each session.
    let whole = tap.folder().join("whole.jsonl");
    let mut text = fs::read_to_string(tap.folder().join("records.jsonl.1")).unwrap_or_default();
    text.push_str(&tap.records_text());
    fs::write(&whole, text).unwrap();
    let (code, text) = explain(whole.to_str().unwrap(), &whole);
    assert_eq!(code, Some(0), "{text}");
    let said: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(said["records"], FLOOD + 2);
    assert!(tap.stdout().contains(" times since "), "{}", tap.stdout());
}

/// Connections that send nothing and leave, as health checks do, and connections that send garbage.
async fn bare(tap: &Tap) {
    for _ in 0..3 {
        let conn = tap.connect(Face::Plain).await;
        drop(conn);
    }
    let mut conn = tap.connect(Face::Plain).await;
    conn.send(b"\x00\x01\x02garbage\r\n\r\n").await.unwrap();
    conn.rest().await;
}

#[tokio::test]
async fn bare_connections_have_a_filter_of_their_own() {
    let peer = echo::start(&Via::Plain).await;
    for (filter, recorded) in [("all", 4), ("errors", 1), ("none", 0)] {
        let mut tap = Setup::before(&peer)
            .set("records.connections", filter)
            .admin()
            .start()
            .await;
        bare(&tap).await;
        let left_out = "wstap_records_left_out_total{kind=\"connection\"} ";
        metric_is(&tap, left_out, 4 - recorded).await;
        assert_eq!(tap.terminate().await, Some(0));
        assert_eq!(tap.records().len() as u64, recorded, "{filter}");
        let said = tap.stderr().contains("sessions have no record");
        assert_eq!(said, recorded < 4, "{}", tap.stderr());
    }
}
