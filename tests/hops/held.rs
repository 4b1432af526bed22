//! A proxy that holds frames back, which is what people mean by buffering: nginx and `HAProxy` do
//! not do it after a 101 (`right` shows that), so that one of our own stands in.

use std::time::Duration;

use serde_json::json;
use wstap::session::Party;

use super::Judged;
use crate::peers::holds_back::{self, Side};
use crate::peers::openclaw::{Gateway, Order, Script, TOKEN, connect_request};
use crate::peers::{Peer, Via};
use crate::support::client::connect;
use crate::support::conn::Conn;
use crate::support::frame::Frame;
use crate::support::tap::{Face, Setup, Tap};
use crate::support::wire::Ending;

/// How long clients here wait before they give up: longer than the verdicts ask for.
const PATIENCE: Duration = Duration::from_millis(2300);

async fn gateway() -> Gateway {
    Gateway::start(&Via::Plain, Script::default()).await
}

async fn behind(silenced: Side) -> (Gateway, Peer, Tap) {
    let gateway = gateway().await;
    let hop = holds_back::start(gateway.peer.addr(), silenced).await;
    let tap = Setup::before(&hop).openclaw().start().await;
    (gateway, hop, tap)
}

async fn in_front(silenced: Side) -> (Gateway, Peer, Tap) {
    let gateway = gateway().await;
    let tap = Setup::before(&gateway.peer).openclaw().start().await;
    let hop = holds_back::start(tap.addr(Face::Plain), silenced).await;
    (gateway, hop, tap)
}

/// It waits for a frame that does not come, and leaves.
async fn gives_up(conn: Conn) {
    let mut conn = conn.with_limit(PATIENCE);
    assert_eq!(conn.frame().await, Err(Ending::StillOpen));
    drop(conn);
}

fn connect_frame() -> Frame {
    connect_request(&json!({ "token": TOKEN }))
}

#[tokio::test]
async fn the_challenge_is_held_behind() {
    let (_gateway, _hop, tap) = behind(Side::Gateway).await;
    let mut conn = tap.connect(Face::Plain).await;
    conn.open("/").await;
    gives_up(conn).await;
    let judged = Judged::of("held challenge behind", &tap.websocket().await);
    judged
        .is("gateway.silent.no_challenge")
        .says("no connect.challenge of the gateway came")
        .next("without a buffering proxy in between");
    assert_eq!(judged.verdict.party, Party::Client);
}

#[tokio::test]
async fn the_connect_request_is_held_behind() {
    let (_gateway, _hop, tap) = behind(Side::Client).await;
    let mut conn = tap.connect(Face::Plain).await;
    conn.open("/").await;
    conn.frame().await.expect("a challenge");
    conn.send_masked(connect_frame()).await.expect("send");
    gives_up(conn).await;
    Judged::of("held connect behind", &tap.websocket().await)
        .is("gateway.silent.no_hello")
        .says("the client's connect request went to the gateway");
}

/// The client sees the challenge and answers; the tap sees no byte of it.
#[tokio::test]
async fn the_connect_request_is_held_in_front() {
    let (gateway, hop, tap) = in_front(Side::Client).await;
    let mut conn = connect(hop.addr()).await;
    conn.open("/").await;
    conn.frame().await.expect("a challenge");
    conn.send_masked(connect_frame()).await.expect("send");
    // What the real one does after 15 s.
    gateway.tell(Order::Send(Frame::close(1000, "")));
    let close = conn.frame().await.expect("a Close");
    assert_eq!(close.as_close(), Some((Some(1000), String::new())));
    drop(conn);
    Judged::of("held connect in front", &tap.websocket().await)
        .is("client.fault.no_first_frame")
        .says("not one message of the client reached us")
        .next("a proxy between it and the tap that buffers");
}

/// The tap wrote the challenge, and the client never saw it.
#[tokio::test]
async fn the_challenge_is_held_in_front() {
    let (_gateway, hop, tap) = in_front(Side::Gateway).await;
    let mut conn = connect(hop.addr()).await;
    conn.open("/").await;
    gives_up(conn).await;
    Judged::of("held challenge in front", &tap.websocket().await)
        .is("probe.websocket")
        .says("holds frames back");
}
