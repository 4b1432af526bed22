//! The gateway's answer decides, and reaches the client, whatever breaks afterwards.

use std::collections::BTreeSet;

use wstap::session::SessionRecord;
use wstap::session::record::{Class, Kind, TransportEnd};

use crate::peers::node_recorder::{NodeRecorder, Upgrades};
use crate::peers::{Via, answers_early};
use crate::support::http2;
use crate::support::records::class;
use crate::support::tap::{Face, Setup, Tap};

/// Number of repetitions of each case: a race shows within a few.
const RUNS: usize = 5;

/// Refusals in the forms that servers send.
const REFUSALS: [&str; 3] = [
    // Node's own refusal: its body ends with the connection.
    "HTTP/1.1 431 Request Header Fields Too Large\r\nConnection: close\r\n\r\n",
    "HTTP/1.1 431 Too Large\r\nContent-Length: 9\r\nConnection: close\r\n\r\ntoo large",
    "HTTP/1.1 431 Too Large\r\nTransfer-Encoding: chunked\r\n\r\n9\r\ntoo large\r\n0\r\n\r\n",
];

fn cookies(bytes: usize) -> String {
    format!("a={}", "x".repeat(bytes))
}

/// The single rule that all these records have.
fn rule(records: &[SessionRecord]) -> String {
    let rules: BTreeSet<&str> = records
        .iter()
        .map(|record| record.verdict.as_ref().expect("a verdict").rule.as_str())
        .collect();
    assert_eq!(rules.len(), 1, "{rules:?}");
    rules.into_iter().collect()
}

/// An upgrade with a head of this size, a few times; each gets this status.
async fn upgrades(tap: &Tap, face: Face, cookie: &str, status: u16, runs: usize) -> String {
    for _ in 0..runs {
        let mut conn = tap.connect(face).await;
        let answer = conn.upgrade("/", &[("Cookie", cookie)]).await;
        assert_eq!(answer.expect("an answer").status(), status);
        conn.rest().await;
        conn.finish().await;
    }
    let records = tap.websockets(runs).await;
    for record in &records {
        let end = record.close.transport.client;
        assert_ne!(end, TransportEnd::None, "how the client's leg ended");
        assert_eq!(record.gateway.as_ref().unwrap().status, Some(status));
    }
    rule(&records)
}

#[tokio::test]
async fn an_upgrade_that_is_refused_while_its_head_is_sent() {
    for answer in REFUSALS {
        for face in [Face::Plain, Face::Tls] {
            let peer = answers_early::start(&Via::Plain, 1000, answer).await;
            let tap = Setup::before(&peer).start().await;
            let rule = upgrades(&tap, face, &cookies(50_000), 431, RUNS).await;
            assert_eq!(rule, "gateway.limit.head", "{answer:?}");
        }
    }
}

#[tokio::test]
async fn a_head_that_is_too_long_for_node() {
    let Some(node) = NodeRecorder::start("decided: 431", Upgrades::Accepted).await else {
        return;
    };
    let tap = Setup::before_url(&node.url()).start().await;
    let rule = upgrades(&tap, Face::Plain, &cookies(20_000), 431, 10).await;
    assert_eq!(rule, "gateway.limit.head");
}

/// Uploads of which the gateway reads only the beginning.
async fn uploads(tap: &Tap, chunked: bool) {
    let body = vec![b'x'; 1 << 20];
    for _ in 0..RUNS {
        let mut conn = tap.connect(Face::Plain).await;
        let (length, front) = if chunked {
            ("Transfer-Encoding: chunked".to_owned(), "100000\r\n")
        } else {
            (format!("Content-Length: {}", body.len()), "")
        };
        let head = format!("POST /upload HTTP/1.1\r\nHost: gateway\r\n{length}\r\n\r\n{front}");
        conn.send(head.as_bytes()).await.unwrap();
        // The answer may end the connection while this is being sent.
        let _ = conn.send(&body).await;
        assert_eq!(conn.head().await.expect("an answer").status(), 431);
        conn.rest().await;
    }
}

fn requests(tap: &Tap) -> Vec<SessionRecord> {
    let mut records = tap.records();
    records.retain(|record| record.kind == Kind::Http);
    records
}

#[tokio::test]
async fn an_upload_that_is_refused_while_it_is_sent() {
    for answer in REFUSALS {
        for chunked in [false, true] {
            let peer = answers_early::start(&Via::Plain, 1000, answer).await;
            let tap = Setup::before(&peer).start().await;
            uploads(&tap, chunked).await;
            tap.wait_for_count(RUNS).await;
            assert_eq!(rule(&requests(&tap)), "http.error.client", "{answer:?}");
        }
    }
}

#[tokio::test]
async fn a_stream_that_is_refused_while_it_is_sent() {
    for answer in REFUSALS {
        let peer = answers_early::start(&Via::Plain, 1000, answer).await;
        let tap = Setup::before(&peer).start().await;
        let mut client = http2::Http2::connect(&tap).await;
        for _ in 0..RUNS {
            let answer = client.post("/upload", &[], &vec![b'x'; 200_000]).await;
            assert_eq!(answer.status.as_u16(), 431);
        }
        tap.wait_for_count(RUNS).await;
        assert_eq!(rule(&requests(&tap)), "http.error.client", "{answer:?}");
    }
}

#[tokio::test]
async fn no_answer_stays_none() {
    for partial in ["", "HTTP/1.1 431 Too"] {
        let peer = answers_early::start(&Via::Plain, 1000, partial).await;
        let tap = Setup::before(&peer).start().await;
        let mut conn = tap.connect(Face::Plain).await;
        let answer = conn.upgrade("/", &[("Cookie", &cookies(50_000))]).await;
        assert_eq!(answer.expect("an answer").status(), 502);
        let record = tap.websocket().await;
        assert_eq!(class(&record), Class::GatewaySilent, "{partial:?}");
        assert_eq!(record.gateway.unwrap().status, None);
    }
}

#[tokio::test]
async fn a_good_answer_that_is_cut_off_is_still_the_gateways() {
    let cut = "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nabc";
    let peer = answers_early::start(&Via::Plain, 1000, cut).await;
    let tap = Setup::before(&peer).start().await;
    let mut conn = tap.connect(Face::Plain).await;
    let head = "POST / HTTP/1.1\r\nHost: gateway\r\nContent-Length: 2000\r\n\r\n";
    conn.send(head.as_bytes()).await.unwrap();
    conn.send(&[b'x'; 2000]).await.unwrap();
    assert_eq!(conn.head().await.expect("an answer").status(), 200);
    conn.rest().await;
    let record = tap
        .wait_for("the request", |record| record.kind == Kind::Http)
        .await;
    assert_eq!(rule(&[record]), "gateway.left.answer");
}
