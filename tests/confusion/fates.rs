//! The fate of a Close frame: it is answered, lost behind a backlog, or crosses another one; and
//! Closes that a breach of the protocol brought about.

use wstap::session::SessionRecord;

use super::table::{Fault, NOTHING, acked, fault, open, open_before, over, undelivered, written};
use crate::peers::close_code::After;
use crate::peers::tunnel::Do;
use crate::peers::{Via, buried_close, close_code, tunnel};
use crate::support::client::connect_thin;
use crate::support::frame::{Frame, TEXT};
use crate::support::tap::{Face, Setup};

pub fn faults() -> Vec<Fault> {
    let mut all = what_became_of_it();
    all.extend(after_a_breach());
    all
}

fn what_became_of_it() -> Vec<Fault> {
    vec![
        fault(
            "Close 1008 buried behind a backlog, client RST",
            "gateway.closed.code",
            || async {
                let peer = buried_close::start(&Via::Plain, 1008, "pairing required").await;
                let tap = Setup::before(&peer).start().await;
                let mut conn = connect_thin(tap.addr(Face::Plain)).await;
                conn.open("/").await;
                peer.log.bytes(0, 1).await;
                conn.abort();
                tap.websocket().await
            },
        )
        .saw(undelivered(), written(1006))
        .says("could not be delivered"),
        fault(
            "gateway: Close and FIN, the client only FIN",
            "gateway.fault.internal",
            || async {
                let peer = close_code::start(&Via::Plain, Some(1011), "broken", After::Fin).await;
                let (tap, conn) = open_before(&peer).await;
                over(tap, conn).await
            },
        )
        .saw(written(1011), written(1006)),
        fault(
            "gateway: Close, then RST",
            "gateway.fault.internal",
            || async {
                let peer = close_code::start(&Via::Plain, Some(1011), "broken", After::Rst).await;
                let (tap, mut conn) = open_before(&peer).await;
                conn.frame().await.expect("the Close");
                peer.go();
                over(tap, conn).await
            },
        )
        .saw(written(1011), NOTHING),
        fault(
            "gateway: a Close that the client never answers",
            "gateway.closed.code",
            || async {
                let peer = close_code::start(&Via::Plain, Some(1008), "no", After::Stay).await;
                let setup = Setup::before(&peer).set("timeouts.close", "300ms");
                let (tap, mut conn) = open(setup, Face::Plain).await;
                conn.rest().await;
                tap.websocket().await
            },
        )
        .saw(written(1008), written(1006))
        .says("timeouts.close fired"),
        fault(
            "gateway: a Close that the client answers by RST",
            "gateway.closed.code",
            || async {
                let peer = close_code::start(&Via::Plain, Some(1008), "no", After::Stay).await;
                let (tap, mut conn) = open_before(&peer).await;
                conn.frame().await.expect("the Close");
                conn.abort();
                tap.websocket().await
            },
        )
        .saw(written(1008), written(1006)),
        fault(
            "client: a Close that the gateway never echoes",
            "ok.client_closed",
            || async {
                let (peer, _control) = tunnel::start(&Via::Plain).await;
                let setup = Setup::before(&peer).set("timeouts.close", "300ms");
                let (tap, mut conn) = open(setup, Face::Plain).await;
                conn.send_masked(Frame::close(1000, "")).await.unwrap();
                conn.rest().await;
                tap.websocket().await
            },
        )
        .saw(written(1006), written(1000)),
        fault("client: a Close, then RST", "ok.client_closed", || async {
            let (peer, _control) = tunnel::start(&Via::Plain).await;
            let (tap, mut conn) = open_before(&peer).await;
            conn.send_masked(Frame::close(1000, "")).await.unwrap();
            peer.log.bytes(0, 8).await;
            conn.abort();
            tap.websocket().await
        })
        .saw(NOTHING, written(1000)),
        fault(
            "both close at once",
            "gateway.lifecycle.restart_or_stop",
            || async {
                let (peer, control) = tunnel::start(&Via::Plain).await;
                let (tap, mut conn) = open_before(&peer).await;
                let close = Frame::close(1012, "service restart").to_bytes();
                control.send(Do::Send(close)).unwrap();
                conn.frame().await.expect("the Close");
                // Not an answer: it had been on its way.
                conn.send_masked(Frame::close(4000, "bye")).await.unwrap();
                peer.log.bytes(0, 11).await;
                control.send(Do::Finish).unwrap();
                over(tap, conn).await
            },
        )
        .saw(written(1012), written(4000)),
        fault(
            "a Close after a FIN of its own side",
            "ok.client_closed",
            half_close,
        )
        .saw(written(1000), acked(1000)),
    ]
}

/// The client closes and ends its side at once, as the protocol lets it; the answer still comes.
async fn half_close() -> SessionRecord {
    let (peer, control) = tunnel::start(&Via::Plain).await;
    let (tap, mut conn) = open_before(&peer).await;
    conn.send_masked(Frame::close(1000, "")).await.unwrap();
    conn.finish().await;
    peer.log.ending(0).await;
    control
        .send(Do::Send(Frame::close(1000, "").to_bytes()))
        .unwrap();
    control.send(Do::Finish).unwrap();
    conn.frame().await.expect("the answer");
    over(tap, conn).await
}

/// The client breaks the protocol with these bytes, and the gateway closes.
fn breach(name: &'static str, code: u16, bytes: Vec<u8>) -> Fault {
    fault(name, "client.fault.violation", move || async move {
        let (peer, control) = tunnel::start(&Via::Plain).await;
        let (tap, mut conn) = open_before(&peer).await;
        conn.send(&bytes).await.unwrap();
        peer.log.bytes(0, bytes.len()).await;
        let close = Frame::close(code, "").to_bytes();
        control.send(Do::Send(close)).unwrap();
        control.send(Do::Finish).unwrap();
        over(tap, conn).await
    })
    .saw(written(code), written(1006))
}

/// The gateway does, and the client objects.
fn gateways_breach(name: &'static str, bytes: Vec<u8>) -> Fault {
    fault(name, "gateway.fault.frames", move || async move {
        let (peer, control) = tunnel::start(&Via::Plain).await;
        let (tap, mut conn) = open_before(&peer).await;
        let count = bytes.len();
        control.send(Do::Send(bytes)).unwrap();
        conn.exactly(count).await.unwrap();
        conn.send_masked(Frame::close(1002, "")).await.unwrap();
        peer.log.bytes(0, 8).await;
        control.send(Do::Finish).unwrap();
        over(tap, conn).await
    })
    .saw(written(1006), written(1002))
}

fn after_a_breach() -> Vec<Fault> {
    let masked = |frame: Frame| frame.masked().to_bytes();
    let rsv = Frame {
        rsv: 2,
        ..Frame::text("x")
    };
    vec![
        breach("client: unmasked", 1002, Frame::text("hello").to_bytes()),
        breach(
            "client: a reserved opcode",
            1002,
            masked(Frame::new(3, "x")),
        ),
        breach("client: RSV bits", 1002, masked(rsv.clone())),
        breach(
            "client: a continuation of nothing",
            1002,
            masked(Frame::new(0, "x")),
        ),
        breach(
            "client: no UTF-8",
            1007,
            masked(Frame::new(TEXT, vec![0xff, 0xfe])),
        ),
        breach(
            "client: a ping of 126 bytes",
            1002,
            masked(Frame::ping(&[0; 126])),
        ),
        gateways_breach("gateway: masked", Frame::text("x").masked().to_bytes()),
        gateways_breach("gateway: a reserved opcode", Frame::new(11, "x").to_bytes()),
        gateways_breach("gateway: RSV bits", rsv.to_bytes()),
        gateways_breach("gateway: no UTF-8", Frame::new(TEXT, vec![0xff]).to_bytes()),
        fault(
            "gateway: a breach, and the client goes",
            "gateway.fault.frames",
            || async {
                let (peer, control) = tunnel::start(&Via::Plain).await;
                let (tap, mut conn) = open_before(&peer).await;
                control
                    .send(Do::Send(Frame::new(3, "x").to_bytes()))
                    .unwrap();
                conn.exactly(3).await.unwrap();
                conn.finish().await;
                peer.log.ending(0).await;
                control.send(Do::Finish).unwrap();
                over(tap, conn).await
            },
        )
        .saw(NOTHING, written(1006)),
    ]
}
