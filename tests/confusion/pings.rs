//! Unanswered pings, and subprotocols that are not agreed.

use std::time::Duration;

use tokio::time::sleep;
use wstap::session::SessionRecord;

use super::table::{Fault, NOTHING, acked, fault, open, open_before, over, written};
use crate::peers::openclaw::{Gateway, Script};
use crate::peers::tunnel::Do;
use crate::peers::{Via, tunnel};
use crate::support::conn::Conn;
use crate::support::frame::Frame;
use crate::support::tap::{Face, Setup, Tap};

/// Longer than a ping may be in flight before it counts as missed.
const WAITED: Duration = Duration::from_millis(5300);

const REASON: &str = "keepalive ping timeout";

pub fn faults() -> Vec<Fault> {
    vec![
        fault(
            "pings: the client's are not answered, Close 1011",
            "gateway.silent.pings",
            || async {
                let (peer, _control) = tunnel::start(&Via::Plain).await;
                let (tap, mut conn) = open_before(&peer).await;
                conn.send_masked(Frame::ping(b"1")).await.unwrap();
                // The wait itself is the fault.
                sleep(WAITED).await;
                conn.send_masked(Frame::close(1011, REASON)).await.unwrap();
                conn.finish().await;
                drop(conn);
                tap.websocket().await
            },
        )
        .saw(written(1006), written(1011))
        .says("had no answer from the gateway"),
        fault(
            "pings: the gateway's are not answered, Close 1011",
            "gateway.lifecycle.ping_timeout",
            || gateways(Do::Send(Frame::close(1011, REASON).to_bytes())),
        )
        .saw(acked(1011), written(1011))
        .says("had no answer from the client"),
        fault(
            "pings: the gateway's are not answered, FIN",
            "gateway.lifecycle.missed_pongs",
            || gateways(Do::Finish),
        )
        .saw(written(1006), NOTHING)
        .says("had no answer from the client"),
        fault("pings: answered, then FIN", "gateway.left.open", || async {
            let (peer, control) = tunnel::start(&Via::Plain).await;
            let (tap, mut conn) = open_before(&peer).await;
            control
                .send(Do::Send(Frame::ping(b"1").to_bytes()))
                .unwrap();
            conn.frame().await.expect("the ping");
            conn.send_masked(Frame::pong(b"1")).await.unwrap();
            peer.log.bytes(0, 1).await;
            control.send(Do::Finish).unwrap();
            over(tap, conn).await
        })
        .saw(written(1006), NOTHING),
        fault(
            "subprotocol: offered and none agreed",
            "client.left.subprotocol",
            || async {
                let (peer, control) = tunnel::start(&Via::Plain).await;
                let (tap, conn) = left_without_subprotocol(Setup::before(&peer), false).await;
                peer.log.ending(0).await;
                control.send(Do::Finish).unwrap();
                over(tap, conn).await
            },
        )
        .saw(NOTHING, written(1006))
        .says("the client offered chat.v2"),
        fault(
            "subprotocol: taken away behind us",
            "hop.fault.subprotocol_stripped",
            || async {
                let gateway = Gateway::start(&Via::Plain, Script::default()).await;
                let setup = Setup::before(&gateway.peer).openclaw();
                let (tap, conn) = left_without_subprotocol(setup, true).await;
                over(tap, conn).await
            },
        )
        .saw(NOTHING, written(1006))
        .says("the client offered chat.v2"),
    ]
}

/// A ping of the gateway that the client leaves unanswered, followed by this end.
async fn gateways(end: Do) -> SessionRecord {
    let (peer, control) = tunnel::start(&Via::Plain).await;
    let (tap, mut conn) = open(Setup::before(&peer), Face::Plain).await;
    control
        .send(Do::Send(Frame::ping(b"1").to_bytes()))
        .unwrap();
    conn.frame().await.expect("the ping");
    // The wait itself is the fault.
    sleep(WAITED).await;
    let closes = matches!(end, Do::Send(_));
    control.send(end).unwrap();
    if closes {
        conn.frame().await.expect("the Close");
        conn.send_masked(Frame::close(1011, REASON)).await.unwrap();
        peer.log.bytes(0, 1).await;
        control.send(Do::Finish).unwrap();
    }
    over(tap, conn).await
}

/// Like a browser: it reads the 101 and leaves. A gateway's challenge comes with the 101.
async fn left_without_subprotocol(setup: Setup, challenged: bool) -> (Tap, Conn) {
    let tap = setup.start().await;
    let mut conn = tap.connect(Face::Plain).await;
    let headers = [
        ("Sec-WebSocket-Protocol", "chat.v2"),
        ("Origin", "https://app.example.com"),
    ];
    let answer = conn.upgrade("/", &headers).await.expect("an answer");
    assert_eq!(answer.status(), 101);
    if challenged {
        conn.frame().await.expect("the challenge");
    }
    conn.finish().await;
    (tap, conn)
}
