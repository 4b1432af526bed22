//! Frames that break the protocol, and endings that do not follow from them; Closes that break the
//! protocol themselves; Closes to an end that had only sent FIN.

use std::time::Duration;

use super::table::{Fault, NOTHING, acked, fault, open_before, over, undelivered, written};
use crate::peers::tunnel::Do;
use crate::peers::{Via, tunnel};
use crate::support::frame::{CLOSE, Frame, PING, PONG};

pub fn faults() -> Vec<Fault> {
    let mut all = closes();
    all.extend(cuts());
    all.extend(tolerated());
    all.extend(gone());
    all
}

/// The client's Close is this frame, and the gateway answers with Close 1002.
fn by_the_client(name: &'static str, frame: Frame, saw: u16) -> Fault {
    fault(name, "client.fault.close_frame", move || async move {
        let (peer, control) = tunnel::start(&Via::Plain).await;
        let (tap, mut conn) = open_before(&peer).await;
        let bytes = frame.to_bytes();
        conn.send(&bytes).await.unwrap();
        peer.log.bytes(0, bytes.len()).await;
        let answer = Frame::close(1002, "").to_bytes();
        control.send(Do::Send(answer)).unwrap();
        control.send(Do::Finish).unwrap();
        over(tap, conn).await
    })
    .saw(written(1002), written(saw))
    .says("the client broke RFC 6455")
}

/// The gateway's Close is this frame, and the client echoes the code 1000.
fn by_the_gateway(name: &'static str, frame: Frame, saw: u16) -> Fault {
    fault(name, "gateway.fault.close_frame", move || async move {
        let (peer, control) = tunnel::start(&Via::Plain).await;
        let (tap, mut conn) = open_before(&peer).await;
        let bytes = frame.to_bytes();
        let count = bytes.len();
        control.send(Do::Send(bytes)).unwrap();
        conn.exactly(count).await.unwrap();
        conn.send_masked(Frame::close(1002, "")).await.unwrap();
        peer.log.bytes(0, 8).await;
        control.send(Do::Finish).unwrap();
        over(tap, conn).await
    })
    .saw(written(saw), written(1002))
    .says("the gateway broke RFC 6455")
}

fn closes() -> Vec<Fault> {
    let one_byte = || Frame::new(CLOSE, [3]);
    let not_utf8 = || Frame::new(CLOSE, [3, 0xe8, b'b', 0xff]);
    let long = || Frame::close(1000, &"x".repeat(200));
    vec![
        by_the_client(
            "client: a Close body of one byte",
            one_byte().masked(),
            1005,
        ),
        by_the_client(
            "client: a Close reason that is no UTF-8",
            not_utf8().masked(),
            1000,
        ),
        by_the_client("client: a Close of 202 bytes", long().masked(), 1000),
        by_the_client(
            "client: a Close without a mask",
            Frame::close(1000, ""),
            1000,
        ),
        by_the_gateway("gateway: a Close body of one byte", one_byte(), 1005),
        by_the_gateway("gateway: a Close reason that is no UTF-8", not_utf8(), 1000),
        by_the_gateway("gateway: a Close of 202 bytes", long(), 1000),
        by_the_gateway(
            "gateway: a Close with a mask",
            Frame::close(1000, "").masked(),
            1000,
        ),
    ]
}

fn cuts() -> Vec<Fault> {
    vec![
        fault(
            "client: unmasked, and the gateway drops it",
            "client.fault.violation",
            || async {
                let (peer, control) = tunnel::start(&Via::Plain).await;
                let (tap, mut conn) = open_before(&peer).await;
                let bytes = Frame::text("hello").to_bytes();
                conn.send(&bytes).await.unwrap();
                peer.log.bytes(0, bytes.len()).await;
                control.send(Do::Finish).unwrap();
                over(tap, conn).await
            },
        )
        .saw(written(1006), NOTHING)
        .says("a client's frame without a mask"),
        fault(
            "client: a reserved opcode, and the gateway resets",
            "client.fault.violation",
            || async {
                let (peer, control) = tunnel::start(&Via::Plain).await;
                let (tap, mut conn) = open_before(&peer).await;
                let bytes = Frame::new(3, "x").masked().to_bytes();
                conn.send(&bytes).await.unwrap();
                peer.log.bytes(0, bytes.len()).await;
                control.send(Do::Abort).unwrap();
                over(tap, conn).await
            },
        )
        .saw(written(1006), NOTHING),
        fault(
            "client: a long ping that the gateway echoes, and the client goes",
            "client.fault.violation",
            || async {
                let (peer, control) = tunnel::start(&Via::Plain).await;
                let (tap, mut conn) = open_before(&peer).await;
                let ping = Frame::new(PING, vec![b'x'; 126]).masked().to_bytes();
                conn.send(&ping).await.unwrap();
                peer.log.bytes(0, ping.len()).await;
                let answer = Frame::new(PONG, vec![b'x'; 126]).to_bytes();
                let count = answer.len();
                control.send(Do::Send(answer)).unwrap();
                conn.exactly(count).await.unwrap();
                conn.finish().await;
                peer.log.ending(0).await;
                control.send(Do::Finish).unwrap();
                over(tap, conn).await
            },
        )
        .saw(NOTHING, written(1006))
        .says("the gateway broke RFC 6455"),
    ]
}

/// A breach that the other end tolerated explains nothing.
fn tolerated() -> Vec<Fault> {
    vec![
        fault(
            "gateway: a long pong, and the client goes much later",
            "client.left.open",
            || async {
                let (peer, control) = tunnel::start(&Via::Plain).await;
                let (tap, mut conn) = open_before(&peer).await;
                let pong = Frame::new(PONG, vec![b'x'; 126]).to_bytes();
                let count = pong.len();
                control.send(Do::Send(pong)).unwrap();
                conn.exactly(count).await.unwrap();
                // The time between the two is what this tests.
                tokio::time::sleep(Duration::from_millis(1300)).await;
                conn.finish().await;
                peer.log.ending(0).await;
                control.send(Do::Finish).unwrap();
                over(tap, conn).await
            },
        )
        .saw(NOTHING, written(1006))
        .says("the gateway broke RFC 6455"),
        fault(
            "client: unmasked, and the client goes",
            "client.left.open",
            || async {
                let (peer, control) = tunnel::start(&Via::Plain).await;
                let (tap, mut conn) = open_before(&peer).await;
                let bytes = Frame::text("hello").to_bytes();
                conn.send(&bytes).await.unwrap();
                peer.log.bytes(0, bytes.len()).await;
                conn.finish().await;
                peer.log.ending(0).await;
                control.send(Do::Finish).unwrap();
                over(tap, conn).await
            },
        )
        .saw(NOTHING, written(1006)),
        fault(
            "gateway: a broken Close as the answer to a good one",
            "ok.client_closed",
            || async {
                let (peer, control) = tunnel::start(&Via::Plain).await;
                let (tap, mut conn) = open_before(&peer).await;
                conn.send_masked(Frame::close(1000, "")).await.unwrap();
                peer.log.bytes(0, 8).await;
                control
                    .send(Do::Send(Frame::new(CLOSE, [3]).to_bytes()))
                    .unwrap();
                control.send(Do::Finish).unwrap();
                over(tap, conn).await
            },
        )
        .saw(written(1005), acked(1000))
        .says("the gateway broke RFC 6455"),
    ]
}

/// The client has fully closed, not only sent FIN, when the gateway closes.
fn gone() -> Vec<Fault> {
    vec![
        fault(
            "client: gone, and the gateway's Close comes back as a reset",
            "client.left.open",
            || async {
                let (peer, control) = tunnel::start(&Via::Plain).await;
                let (tap, conn) = open_before(&peer).await;
                drop(conn);
                peer.log.ending(0).await;
                control
                    .send(Do::Send(Frame::close(1008, "no").to_bytes()))
                    .unwrap();
                control.send(Do::Finish).unwrap();
                tap.websocket().await
            },
        )
        .saw(undelivered(), written(1006)),
    ]
}
