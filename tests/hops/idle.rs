//! Proxies that cut connections after 2 s of silence: the verdict names a timer once that is far
//! more likely than chance.

use std::time::{Duration, Instant};

use tokio::task::JoinSet;
use wstap::session::record::Confidence;

use super::proxy::{Software, Way};
use super::{Cell, Judged, Place, health};
use crate::peers::openclaw::TOKEN;
use crate::support::conn::Conn;

/// Number of cuts that suffices on a busy machine: the more their times scatter, the more cuts it
/// takes.
const CUTS: usize = 16;

/// Sessions that begin more than a second apart and are each cut.
async fn cut_again_and_again(software: Software, place: Place, at_first: &str) -> Option<Judged> {
    const APART: Duration = Duration::from_millis(1200);
    let cell = Cell::new(software, place, Way::Impatient).await?;
    let mut cut = JoinSet::new();
    let mut every = tokio::time::interval(APART);
    for _ in 0..CUTS {
        every.tick().await;
        let mut conn = cell.open(TOKEN).await;
        cut.spawn(async move {
            talk(&mut conn).await;
            conn.frames_to_end().await;
        });
    }
    cut.join_all().await;
    for nth in 1..=2 {
        cell.judged(nth)
            .await
            .is(at_first)
            .says("nothing had moved for");
    }
    let judged = cell.judged(CUTS).await;
    judged
        .is("hop.fault.idle_cadence")
        .says("of silence")
        .says("by chance so many would be so much alike");
    Some(judged)
}

/// nginx leaves a running timer alone for 300 ms (`NGX_TIMER_LAZY_DELAY`). What is said after that
/// sets it again, so that the silence until the cut does not depend on how long the handshake took.
async fn talk(conn: &mut Conn) {
    const LAZY: Duration = Duration::from_millis(310);
    let since = Instant::now();
    while since.elapsed() < LAZY {
        health(conn).await;
    }
}

#[tokio::test]
async fn nginx_in_front() {
    // A request through nginx has nothing of nginx's.
    if let Some(judged) =
        cut_again_and_again(Software::Nginx, Place::Front, "client.left.open").await
    {
        judged
            .says("a timer between client and tap")
            .next("(nginx: proxy_read_timeout 1h; HAProxy: timeout tunnel 1h)");
    }
}

#[tokio::test]
async fn haproxy_in_front() {
    // It resets what it cuts on the side of the server.
    let judged = cut_again_and_again(Software::Haproxy, Place::Front, "client.left.reset").await;
    if let Some(judged) = judged {
        judged
            .says("a timer between client and tap")
            .next("(nginx: proxy_read_timeout 1h; HAProxy: timeout tunnel 1h)");
    }
}

#[tokio::test]
async fn nginx_behind() {
    let judged = cut_again_and_again(Software::Nginx, Place::Behind, "gateway.left.open").await;
    if let Some(judged) = judged {
        judged
            .says("most likely a timer of nginx/1.")
            .says("stands between us and the gateway")
            .next("proxy_read_timeout 1h; proxy_send_timeout 1h;");
    }
}

#[tokio::test]
async fn haproxy_behind() {
    // It leaves no mark on what it passes on.
    let judged = cut_again_and_again(Software::Haproxy, Place::Behind, "gateway.left.open").await;
    if let Some(judged) = judged {
        judged
            .says("a timer between tap and gateway")
            .next("HAProxy: timeout tunnel 1h");
    }
}

/// Sessions that are opened together are cut together, which looks like a crash of the gateway.
/// The first time looks the same as a crash; the second time the same process answers, so it was
/// none.
#[tokio::test]
async fn sessions_that_are_cut_together() {
    const SESSIONS: usize = 3;
    let Some(cell) = Cell::new(Software::Haproxy, Place::Behind, Way::Impatient).await else {
        return;
    };
    // On a busy machine the ends of one round can be too far apart to be a wave.
    let rounds = 6;
    let is_known = |judged: &Judged| judged.verdict.rule != "gateway.lifecycle.crash";
    let mut judged = Vec::new();
    for round in 1..=rounds {
        let mut open = Vec::new();
        for _ in 0..SESSIONS {
            open.push(cell.open(TOKEN).await);
        }
        for mut conn in open {
            conn.frames_to_end().await;
        }
        let records = cell.tap.websockets(round * SESSIONS).await;
        judged.clear();
        judged.extend(records.iter().map(|record| cell.told(record)));
        if judged.iter().any(is_known) {
            break;
        }
    }
    assert!(judged.iter().any(is_known), "no wave was recognised");
    let before = judged.len() - SESSIONS;
    for (nth, judged) in judged.iter().enumerate() {
        // On a busy machine one of a wave may come too late to be counted among it.
        let late = !is_known(judged);
        if nth < before || late {
            judged
                .is("gateway.lifecycle.crash")
                .says("the idle timer of a proxy would look the same")
                .next("if it did not, raise the idle timeout");
            assert_eq!(judged.verdict.confidence, Confidence::Possible);
        } else {
            judged
                .is("hop.fault.idle_cadence")
                .says("times all sessions that ended within one second")
                .says("the gateway's process was the same before and after");
        }
    }
}
