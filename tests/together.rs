//! Causes that only several sessions show: they end in one second, or each after the same time.

mod auth;
mod chance;
pub mod restart;
mod restart_kept;

use wstap::session::SessionRecord;
use wstap::session::record::Class;

use crate::peers::{Via, fin_without_close};
use crate::support::records::rule;
use crate::support::tap::{Face, Setup};

/// The records of three sessions that the gateway loses at once.
pub async fn crash() -> Vec<SessionRecord> {
    let peer = fin_without_close::start(&Via::Plain).await;
    let tap = Setup::before(&peer).start().await;
    let mut open = Vec::new();
    for _ in 0..3 {
        let mut conn = tap.connect(Face::Plain).await;
        conn.open("/").await;
        conn.frame().await.unwrap();
        open.push(conn);
    }
    for _ in 0..3 {
        peer.go();
    }
    for mut conn in open {
        conn.frames_to_end().await;
    }
    tap.websockets(3).await
}

#[tokio::test]
async fn three_sessions_lost_in_one_second_are_a_crash() {
    for record in crash().await {
        let verdict = record.verdict.as_ref().unwrap();
        assert_eq!(
            verdict.rule, "gateway.lifecycle.crash",
            "{}",
            verdict.summary
        );
        assert_eq!(verdict.class, Class::GatewayLifecycle);
        assert_eq!(record.context.as_ref().unwrap().lost_together, 2);
        // The record alone gives the same verdict again.
        assert_eq!(&wstap::verdict::decide(&record), verdict);
    }
}

#[tokio::test]
async fn one_session_alone_is_no_crash() {
    let peer = fin_without_close::start(&Via::Plain).await;
    let tap = Setup::before(&peer).start().await;
    let mut conn = tap.connect(Face::Plain).await;
    conn.open("/").await;
    peer.go();
    conn.frames_to_end().await;
    drop(conn);
    assert_eq!(rule(&tap.websocket().await), "gateway.left.open");
}

/// What waits for its siblings is not lost when the tap stops.
#[tokio::test]
async fn a_session_that_waits_for_its_siblings_is_written_by_the_drain() {
    let peer = fin_without_close::start(&Via::Plain).await;
    let mut tap = Setup::before(&peer).start().await;
    let mut conn = tap.connect(Face::Plain).await;
    conn.open("/").await;
    peer.go();
    conn.frames_to_end().await;
    drop(conn);
    assert_eq!(tap.terminate().await, Some(0));
    assert_eq!(rule(&tap.websocket().await), "gateway.left.open");
}
