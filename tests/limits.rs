//! Limits on clients: each refusal is a record that names the key, and a place that is given back
//! is free again.

use wstap::session::SessionRecord;
use wstap::session::record::Class;

use crate::peers::{Via, echo, never_answers};
use crate::support::client::connect;
use crate::support::conn::Conn;
use crate::support::deadline::{STEP, poll};
use crate::support::head::upgrade;
use crate::support::records::class;
use crate::support::tap::{Face, Setup, Tap};

fn denied_by(key: &'static str) -> impl Fn(&SessionRecord) -> bool {
    move |record| {
        record
            .close
            .denied
            .as_ref()
            .is_some_and(|denied| denied.key.as_str() == key)
    }
}

async fn assert_denied(tap: &Tap, key: &'static str) {
    let record = tap.wait_for(key, denied_by(key)).await;
    assert_eq!(class(&record), Class::TapDenied);
    let verdict = record.verdict.unwrap();
    assert_eq!(verdict.rule, key.replace("limits.", "tap.denied."));
}

/// Tries until a session opens.
async fn opens_at_last(tap: &Tap) -> Conn {
    let deadline = tokio::time::Instant::now() + STEP;
    loop {
        let mut conn = tap.connect(Face::Plain).await;
        if conn.send(&upgrade("/", "localhost", &[])).await.is_ok()
            && conn.head().await.is_ok_and(|answer| answer.status() == 101)
        {
            return conn;
        }
        assert!(tokio::time::Instant::now() < deadline, "no session opened");
    }
}

#[tokio::test]
async fn connections_of_one_client_and_of_all() {
    for key in ["limits.per_client", "limits.connections"] {
        let peer = echo::start(&Via::Plain).await;
        let tap = Setup::before(&peer).set(key, 2).start().await;
        let mut open = Vec::new();
        for _ in 0..2 {
            let mut conn = tap.connect(Face::Plain).await;
            conn.open("/").await;
            open.push(conn);
        }
        let mut third = connect(tap.addr(Face::Plain)).await;
        assert!(third.rest().await.0.is_empty());
        assert_denied(&tap, key).await;
        assert_eq!(peer.log.connections(), 2);
        open.pop();
        opens_at_last(&tap).await;
    }
}

#[tokio::test]
async fn handshakes_in_flight() {
    let peer = never_answers::start(&Via::Plain).await;
    let tap = Setup::before(&peer)
        .set("limits.handshakes", 3)
        .set("timeouts.upgrade", "1h")
        .start()
        .await;
    // One that says nothing, one in TLS, one that waits for its upgrade's answer.
    let silent = connect(tap.addr(Face::Plain)).await;
    let in_tls = connect(tap.addr(Face::Tls)).await;
    let mut upgrading = connect(tap.addr(Face::Plain)).await;
    upgrading
        .send(&upgrade("/", "localhost", &[]))
        .await
        .unwrap();
    peer.log.head(0).await;
    let mut fourth = connect(tap.addr(Face::Plain)).await;
    assert!(fourth.rest().await.0.is_empty());
    assert_denied(&tap, "limits.handshakes").await;
    drop((silent, in_tls, upgrading));
}

/// An open session does not count as a handshake.
#[tokio::test]
async fn open_sessions_are_no_handshakes() {
    let peer = echo::start(&Via::Plain).await;
    let tap = Setup::before(&peer)
        .set("limits.handshakes", 1)
        .start()
        .await;
    let mut open = Vec::new();
    for _ in 0..4 {
        open.push(opens_at_last(&tap).await);
    }
    assert_eq!(open.len(), 4);
}

/// Out of descriptors: the tap waits, does not spin, does not flood its log, and goes on.
#[tokio::test]
async fn out_of_descriptors() {
    let peer = echo::start(&Via::Plain).await;
    let tap = Setup::before(&peer).descriptors(64).start().await;
    let mut held = Vec::new();
    for _ in 0..80 {
        held.push(connect(tap.addr(Face::Plain)).await);
    }
    let told = || tap.stderr().contains("failed to accept").then_some(());
    poll(STEP, told).await.expect("it is told");
    let before = tap.cpu_ticks();
    let lines = tap.stderr().matches("failed to accept").count();
    // For as long as ten of the pauses take at most, it does next to nothing.
    let start = std::time::Instant::now();
    poll(STEP, || (start.elapsed().as_millis() > 500).then_some(())).await;
    let spent = tap.cpu_ticks() - before;
    assert!(spent <= 10, "{spent} ticks of 10 ms in half a second");
    assert!(tap.stderr().matches("failed to accept").count() <= lines + 1);
    drop(held);
    opens_at_last(&tap).await;
}

/// Behind a proxy that is trusted, clients are counted by the address that it names.
#[tokio::test]
async fn sessions_of_one_client_behind_a_trusted_proxy() {
    let peer = echo::start(&Via::Plain).await;
    let tap = Setup::before(&peer)
        .set("limits.per_client", 2)
        .set("trusted_proxies", vec!["127.0.0.1"])
        .start()
        .await;
    let from = |client: &'static str| [("X-Forwarded-For", client)];
    let mut open = Vec::new();
    for client in ["203.0.113.9", "203.0.113.9", "203.0.113.10"] {
        let mut conn = tap.connect(Face::Plain).await;
        let answer = conn.upgrade("/", &from(client)).await.unwrap();
        assert_eq!(answer.status(), 101, "{client}");
        open.push(conn);
    }
    let mut third = tap.connect(Face::Plain).await;
    let answer = third.upgrade("/", &from("203.0.113.9")).await.unwrap();
    assert_eq!(answer.status(), 429);
    assert!(answer.says_close() && answer.value("proxy-status").is_some());
    assert_denied(&tap, "limits.per_client").await;
    assert_eq!(peer.log.connections(), 3);
    // When one of them is over, its place is free.
    drop(open.remove(0));
    tap.websocket().await;
    let over = |record: &SessionRecord| record.close.denied.is_none();
    tap.wait_for("the first session's end", over).await;
    let mut again = tap.connect(Face::Plain).await;
    let answer = again.upgrade("/", &from("203.0.113.9")).await.unwrap();
    assert_eq!(answer.status(), 101);
}
