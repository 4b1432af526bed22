//! First frames that the gateway answers with a Close alone.

use serde_json::json;

use super::table::{Fault, acked, fault, open, over, written};
use crate::peers::openclaw::{TOKEN, connect_request};
use crate::peers::tunnel::{self, Do};
use crate::peers::{Peer, Via};
use crate::support::conn::Conn;
use crate::support::frame::Frame;
use crate::support::tap::{Face, Setup, Tap};

/// A first message, and a Close without an answer to it.
fn first(
    name: &'static str,
    rule: &'static str,
    message: Option<Frame>,
    close: Option<(u16, &'static str)>,
) -> Fault {
    let code = close.map_or(1005, |(code, _)| code);
    fault(name, rule, move || async move {
        let (peer, control) = tunnel::start(&Via::Plain).await;
        let (tap, mut conn) = challenged(&peer, &control).await;
        if let Some(message) = message {
            let bytes = message.masked().to_bytes();
            conn.send(&bytes).await.unwrap();
            peer.log.bytes(0, bytes.len()).await;
        }
        let close = close.map_or_else(Frame::empty_close, |(code, why)| Frame::close(code, why));
        control.send(Do::Send(close.to_bytes())).unwrap();
        conn.frame().await.expect("the Close");
        conn.send_masked(close).await.unwrap();
        control.send(Do::Finish).unwrap();
        over(tap, conn).await
    })
    .saw(acked(code), written(code))
}

async fn challenged(peer: &Peer, control: &tunnel::Control) -> (Tap, Conn) {
    let (tap, mut conn) = open(Setup::before(peer).openclaw(), Face::Plain).await;
    let payload = json!({ "nonce": "6f0f5c3e", "ts": 1_795_000_000_000_u64 });
    let event = json!({ "type": "event", "event": "connect.challenge", "payload": payload });
    let challenge = Frame::text(&event.to_string()).to_bytes();
    control.send(Do::Send(challenge)).unwrap();
    conn.frame().await.expect("the challenge");
    (tap, conn)
}

pub fn faults() -> Vec<Fault> {
    let connect = || Some(connect_request(&json!({ "token": TOKEN })));
    let request = r#"{"type":"req","id":"1","method":"health","params":{}}"#;
    vec![
        first(
            "no connect frame: nothing at all",
            "client.fault.no_first_frame",
            None,
            Some((1000, "")),
        ),
        first(
            "no connect frame: binary",
            "gateway.protocol.not_json",
            Some(Frame::binary(vec![1, 2, 3])),
            Some((1000, "")),
        ),
        first(
            "no connect frame: no JSON",
            "gateway.protocol.not_json",
            Some(Frame::text("hello")),
            Some((1000, "")),
        ),
        first(
            "no connect frame: another request",
            "gateway.protocol.not_connect",
            Some(Frame::text(request)),
            Some((1008, "invalid handshake: first request must be connect")),
        ),
        first(
            "no connect frame: JSON and no request",
            "gateway.protocol.not_connect",
            Some(Frame::text("{}")),
            Some((1008, "invalid request frame")),
        ),
        first(
            "a first frame too large",
            "gateway.limit.first_frame",
            Some(Frame::text(&"x".repeat(70_000))),
            Some((1009, "")),
        ),
        first(
            "connect, and Close 1000 without a word",
            "gateway.closed.before_hello",
            connect(),
            Some((1000, "")),
        ),
        first(
            "connect, and an empty Close",
            "gateway.closed.before_hello",
            connect(),
            None,
        ),
        first(
            "connect, and Close 1012",
            "gateway.lifecycle.restart_or_stop",
            connect(),
            Some((1012, "service restart")),
        ),
        first(
            "connect, and Close 1011",
            "gateway.fault.internal",
            connect(),
            Some((1011, "gateway message handler unavailable")),
        ),
        first(
            "a worker without admission",
            "gateway.protocol.worker",
            Some(Frame::text("{}")),
            Some((1008, "invalid-handshake")),
        ),
    ]
}
