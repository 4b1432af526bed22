//! More clients than the tap may have at once: nobody is refused, and what comes later bypasses it.

use tokio::net::TcpStream;
use tokio::task::JoinSet;

use super::{From, at, close, echoes, session};
use crate::peers::names_its_client;
use crate::support::attached::{Attached, run, status};
use crate::support::conn::Conn;
use crate::support::deadline::{STEP, poll};
use crate::support::netns::{self, HERE_V4, Net, test_name};
use crate::support::wire::Wire;

/// Opens sessions, one after the other, until one goes straight to the gateway, and this many more. Returns the tapped
/// and the direct ones.
async fn until_direct(net: &Net, port: u16, more: usize) -> (Vec<Conn>, Vec<Conn>) {
    let (mut tapped, mut direct) = (Vec::new(), Vec::new());
    while direct.len() <= more {
        let (conn, own, seen) = session(net, From::Here, at(HERE_V4, port)).await;
        if own == seen {
            direct.push(conn);
        } else {
            assert!(direct.is_empty(), "tapped after a direct one");
            tapped.push(conn);
        }
    }
    (tapped, direct)
}

async fn attached_again() {
    let attached = || status().filter(|status| status["state"] == "attached");
    assert!(poll(STEP, attached).await.is_some(), "{:?}", status());
}

#[tokio::test]
async fn a_burst_beyond_the_limit_is_served_and_ends_the_redirect_at_once() {
    let this = test_name!(a_burst_beyond_the_limit_is_served_and_ends_the_redirect_at_once);
    let Some(net) = netns::enter("attach: a burst beyond the limit", this).await else {
        return;
    };
    let gateway = names_its_client::start("::").await;
    let to = at(HERE_V4, gateway.port);
    let _attached = Attached::start(gateway.port, &["--for", "1h", "--max-sessions", "10"]).await;
    for round in 0..3 {
        let net = &net;
        let mut burst = JoinSet::new();
        for _ in 0..60 {
            let tcp = TcpStream::connect(to);
            burst.spawn(async move {
                let mut conn = Conn::bounded(Wire::Plain(tcp.await.unwrap()));
                conn.open("/").await;
                conn.frame().await.expect("the gateway names its client");
                conn
            });
        }
        let mut open = burst.join_all().await;
        // The redirect is renewed once a second: hundreds of sessions would be tapped until then.
        let (tapped, direct) = until_direct(net, gateway.port, 20).await;
        assert!(tapped.len() < 30, "round {round}: {}", tapped.len());
        assert_eq!(status().unwrap()["why"], "max_sessions");
        open.extend(tapped);
        open.extend(direct);
        for mut conn in open {
            echoes(&mut conn, "served").await;
            close(conn).await;
        }
        attached_again().await;
        let (conn, own, seen) = session(net, From::Here, to).await;
        assert_ne!(own, seen, "round {round}: tapped again");
        close(conn).await;
    }
}

#[tokio::test]
async fn few_descriptors_mean_fewer_sessions_and_no_refused_client() {
    let this = test_name!(few_descriptors_mean_fewer_sessions_and_no_refused_client);
    let Some(net) = netns::enter("attach: few descriptors", this).await else {
        return;
    };
    let gateway = names_its_client::start("::").await;
    // 256 are kept back; 344 are enough for 172 connections.
    let attached = Attached::start_with_descriptors(gateway.port, &["--for", "1h"], 600).await;
    let text = attached.stderr();
    assert!(
        text.contains("  86 sessions at the same time, fewer than --max-sessions"),
        "{text}"
    );
    let (tapped, direct) = until_direct(&net, gateway.port, 200).await;
    assert!((86..172).contains(&tapped.len()), "{}", tapped.len());
    for mut conn in tapped.into_iter().chain(direct) {
        echoes(&mut conn, "served").await;
        close(conn).await;
    }
    attached_again().await;
}

#[tokio::test]
async fn connections_that_were_redirected_beyond_every_limit_wait_for_room() {
    let this = test_name!(connections_that_were_redirected_beyond_every_limit_wait_for_room);
    let Some(_net) = netns::enter("attach: connections wait for room", this).await else {
        return;
    };
    let gateway = names_its_client::start("::").await;
    let to = at(HERE_V4, gateway.port);
    // Four connections, of which two are for bursts.
    let _attached = Attached::start_with_descriptors(gateway.port, &["--for", "1h"], 264).await;
    // More than it has descriptors for, and all of them connected before the first is served.
    let connecting: JoinSet<_> = (0..300).map(|_| TcpStream::connect(to)).collect();
    let mut burst = JoinSet::new();
    for tcp in connecting.join_all().await {
        burst.spawn(async move {
            let mut conn = Conn::bounded(Wire::Plain(tcp.unwrap()));
            conn.open("/").await;
            conn.frame().await.expect("the gateway names its client");
            close(conn).await;
        });
    }
    burst.join_all().await;
    attached_again().await;
}

#[tokio::test]
async fn without_descriptors_for_one_session_it_does_not_attach() {
    let this = test_name!(without_descriptors_for_one_session_it_does_not_attach);
    let Some(_net) = netns::enter("attach: no descriptors for a session", this).await else {
        return;
    };
    let gateway = names_its_client::start("::").await;
    let mut attached = Attached::launch_with_descriptors(gateway.port, &["--for", "1h"], 257);
    assert_eq!(attached.ended().await.0.code(), Some(1));
    let text = attached.stderr();
    assert!(
        text.contains("not attached") && text.contains("limit of open files"),
        "{text}"
    );
    assert!(!run(&["--status"]).status.success());
}
