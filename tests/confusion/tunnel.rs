//! A tunnel whose legs end without a Close: who went first, how, and in the middle of what.

use std::time::Duration;

use wstap::session::SessionRecord;

use super::table::{Fault, NOTHING, accepted, fault, gateway, open, open_before, over, written};
use crate::peers::openclaw::Order;
use crate::peers::tunnel::{Control, Do};
use crate::peers::{
    Peer, Via, fin_mid_frame, fin_without_close, half_closer, reset_mid_frame, tls, truncated_tls,
    tunnel,
};
use crate::support::certs::Validity;
use crate::support::conn::Conn;
use crate::support::frame::{Frame, TEXT, header};
use crate::support::tap::{Face, Setup, Tap};
use crate::together;
use crate::together::restart::{Then, caller_after};

pub fn faults() -> Vec<Fault> {
    let mut all = gateway_first();
    all.extend(client_first());
    all.extend(inside());
    all
}

/// A plain session before a peer that does as it is told.
async fn told(face: Face) -> (Peer, Control, Tap, Conn) {
    let (peer, control) = tunnel::start(&Via::Plain).await;
    let (tap, conn) = open(Setup::before(&peer), face).await;
    (peer, control, tap, conn)
}

/// The peer ends too, once it has seen the client's end; then as [`over`].
async fn followed(peer: &Peer, control: &Control, tap: Tap, conn: Conn) -> SessionRecord {
    peer.log.ending(0).await;
    control.send(Do::Finish).unwrap();
    over(tap, conn).await
}

fn gateway_first() -> Vec<Fault> {
    vec![
        fault(
            "gateway: FIN without a Close",
            "gateway.left.open",
            || async {
                let peer = fin_without_close::start(&Via::Plain).await;
                let (tap, conn) = open_before(&peer).await;
                peer.go();
                over(tap, conn).await
            },
        )
        .saw(written(1006), NOTHING),
        fault("gateway: RST", "gateway.left.reset", || async {
            let (_peer, control, tap, conn) = told(Face::Tls).await;
            control.send(Do::Abort).unwrap();
            over(tap, conn).await
        })
        .saw(written(1006), NOTHING),
        fault(
            "gateway: FIN in a frame",
            "gateway.left.mid_frame",
            || async {
                let peer = fin_mid_frame::start(&Via::Plain).await;
                let (tap, conn) = open_before(&peer).await;
                peer.go();
                over(tap, conn).await
            },
        )
        .saw(written(1006), NOTHING),
        fault(
            "gateway: RST in a frame",
            "gateway.left.mid_frame",
            || async {
                let peer = reset_mid_frame::start(&Via::Plain).await;
                let (tap, mut conn) = open_before(&peer).await;
                conn.exactly(4 + reset_mid_frame::SENT).await.unwrap();
                peer.go();
                over(tap, conn).await
            },
        )
        .saw(written(1006), NOTHING),
        fault("gateway: TLS truncated", "gateway.left.open", || async {
            let (ca, via) = tls::via(&["localhost"], Validity::Now);
            let peer = truncated_tls::start(&via).await;
            let setup = Setup::before(&peer).gateway_ca(&ca, "localhost");
            let (tap, conn) = open(setup, Face::Plain).await;
            peer.go();
            over(tap, conn).await
        })
        .saw(written(1006), NOTHING)
        .says("without close_notify"),
        fault(
            "gateway: close_notify without a Close",
            "gateway.left.open",
            || async {
                let (ca, via) = tls::via(&["localhost"], Validity::Now);
                let peer = fin_without_close::start(&via).await;
                let setup = Setup::before(&peer).gateway_ca(&ca, "localhost");
                let (tap, conn) = open(setup, Face::Tls).await;
                peer.go();
                over(tap, conn).await
            },
        )
        .saw(written(1006), NOTHING),
        fault(
            "gateway: FIN on a unix socket",
            "gateway.left.open",
            || async {
                let peer = fin_without_close::start(&Via::Unix).await;
                let (tap, conn) = open_before(&peer).await;
                peer.go();
                over(tap, conn).await
            },
        )
        .saw(written(1006), NOTHING),
        fault(
            "gateway: FIN, and the client talks on",
            "gateway.left.open",
            || async {
                let peer = half_closer::start(&Via::Plain).await;
                let (tap, mut conn) = open_before(&peer).await;
                conn.frames_to_end().await;
                conn.send_masked(Frame::text("not for me")).await.unwrap();
                peer.log.data(0).await;
                over(tap, conn).await
            },
        )
        .saw(written(1006), NOTHING),
        fault(
            "gateway: FIN, and the client never goes",
            "gateway.left.open",
            || async {
                let peer = half_closer::start(&Via::Plain).await;
                let setup = Setup::before(&peer).set("timeouts.half_close", "300ms");
                let (tap, mut conn) = open(setup, Face::Plain).await;
                conn.frames_to_end().await;
                tap.websocket().await
            },
        )
        .saw(written(1006), NOTHING)
        .says("timeouts.half_close fired"),
        fault(
            "gateway: three sessions lost at once",
            "gateway.lifecycle.crash",
            || async { together::crash().await.remove(1) },
        )
        .saw(written(1006), NOTHING),
        fault(
            "gateway: its announced restart cuts a handshake",
            "gateway.lifecycle.lost_in_restart",
            || caller_after("gateway restarting", Then::EndsInHandshake),
        )
        .saw(written(1006), NOTHING),
        fault(
            "gateway: its announced stop cuts a handshake",
            "gateway.lifecycle.lost_in_stop",
            || caller_after("gateway stopping", Then::EndsInHandshake),
        )
        .saw(written(1006), NOTHING),
        fault(
            "gateway: it cuts a client that reads too slowly",
            "gateway.limit.slow_consumer",
            slow,
        )
        .saw(written(1006), NOTHING),
    ]
}

fn client_first() -> Vec<Fault> {
    vec![
        fault(
            "client: FIN without a Close",
            "client.left.open",
            || async {
                let (peer, control, tap, mut conn) = told(Face::Plain).await;
                conn.fin();
                followed(&peer, &control, tap, conn).await
            },
        )
        .saw(NOTHING, written(1006)),
        fault("client: RST", "client.left.reset", || async {
            let (_peer, _control, tap, conn) = told(Face::Plain).await;
            conn.abort();
            tap.websocket().await
        })
        .saw(NOTHING, written(1006)),
        fault("client: RST below TLS", "client.left.reset", || async {
            let (_peer, _control, tap, conn) = told(Face::Tls).await;
            conn.abort();
            tap.websocket().await
        })
        .saw(NOTHING, written(1006)),
        fault("client: TLS truncated", "client.left.open", || async {
            let (peer, control, tap, mut conn) = told(Face::Tls).await;
            conn.fin();
            followed(&peer, &control, tap, conn).await
        })
        .saw(NOTHING, written(1006))
        .says("without close_notify"),
        fault("client: FIN in a frame", "client.left.open", || async {
            let (peer, control, tap, mut conn) = told(Face::Plain).await;
            let mut cut = header(true, 0, TEXT, Some([1, 2, 3, 4]), 1000);
            cut.resize(cut.len() + 10, 0);
            conn.send(&cut).await.unwrap();
            conn.finish().await;
            followed(&peer, &control, tap, conn).await
        })
        .saw(NOTHING, written(1006))
        .says("cut off after 10 B of 1000 B"),
        fault(
            "client: FIN, and the gateway talks on",
            "client.left.open",
            || async {
                let (peer, control, tap, mut conn) = told(Face::Plain).await;
                conn.finish().await;
                peer.log.ending(0).await;
                let more = Frame::text("one more thing").to_bytes();
                control.send(Do::Send(more)).unwrap();
                conn.frame().await.unwrap();
                control.send(Do::Finish).unwrap();
                over(tap, conn).await
            },
        )
        .saw(NOTHING, written(1006)),
        fault(
            "client: FIN, and then the gateway's Close",
            "client.left.open",
            || async {
                let (peer, control, tap, mut conn) = told(Face::Plain).await;
                conn.finish().await;
                peer.log.ending(0).await;
                let close = Frame::close(1008, "too late").to_bytes();
                control.send(Do::Send(close)).unwrap();
                control.send(Do::Finish).unwrap();
                over(tap, conn).await
            },
        )
        .saw(written(1008), written(1006)),
        fault(
            "client: garbage instead of TLS",
            "client.fault.tls_broken",
            || async {
                let (_peer, _control, tap, conn) = told(Face::Tls).await;
                broken_tls(&conn).await;
                let record = tap.websocket().await;
                drop(conn);
                record
            },
        )
        .saw(written(1006), written(1006)),
    ]
}

/// The gateway loses a session that it had accepted.
fn lost(name: &'static str, rule: &'static str, order: Order) -> Fault {
    fault(name, rule, || async {
        let gateway = gateway().await;
        let (tap, conn) = accepted(&gateway).await;
        gateway.tell(order);
        over(tap, conn).await
    })
    .saw(written(1006), NOTHING)
}

/// Endings whose phase only the `OpenClaw` dialect knows.
fn inside() -> Vec<Fault> {
    vec![
        fault(
            "openclaw: FIN before hello",
            "gateway.left.before_hello",
            || async {
                let gateway = gateway().await;
                let setup = Setup::before(&gateway.peer).openclaw();
                let (tap, mut conn) = open(setup, Face::Plain).await;
                conn.frame().await.expect("the challenge");
                gateway.tell(Order::Fin);
                over(tap, conn).await
            },
        )
        .saw(written(1006), NOTHING),
        lost(
            "openclaw: FIN of an open session",
            "gateway.left.open",
            Order::Fin,
        ),
        lost(
            "openclaw: RST of an open session",
            "gateway.left.reset",
            Order::Die,
        ),
        fault(
            "openclaw: the client leaves before hello",
            "client.left.before_hello",
            || async {
                let (peer, control, tap, mut conn) = told_openclaw().await;
                conn.send_masked(Frame::ping(b"")).await.unwrap();
                conn.finish().await;
                followed(&peer, &control, tap, conn).await
            },
        )
        .saw(NOTHING, written(1006)),
        fault(
            "openclaw: the client opens and leaves",
            "probe.websocket",
            || async {
                let (peer, control, tap, mut conn) = told_openclaw().await;
                conn.finish().await;
                followed(&peer, &control, tap, conn).await
            },
        )
        .saw(NOTHING, written(1006)),
        fault(
            "openclaw: a first frame that is no challenge",
            "gateway.silent.not_openclaw",
            || async {
                let (peer, control, tap, mut conn) = told_openclaw().await;
                let welcome = Frame::text("welcome to the chat").to_bytes();
                control.send(Do::Send(welcome)).unwrap();
                conn.frame().await.expect("what it says");
                conn.send_masked(Frame::close(1008, "connect challenge timeout"))
                    .await
                    .unwrap();
                conn.finish().await;
                followed(&peer, &control, tap, conn).await
            },
        )
        .saw(written(1006), written(1008)),
        fault(
            "openclaw: no challenge",
            "gateway.silent.no_challenge",
            || async {
                let (peer, control, tap, mut conn) = told_openclaw().await;
                conn.send_masked(Frame::ping(b"")).await.unwrap();
                patience(1100).await;
                conn.send_masked(Frame::close(1000, "")).await.unwrap();
                conn.finish().await;
                followed(&peer, &control, tap, conn).await
            },
        )
        .saw(written(1006), written(1000)),
    ]
}

/// The same under `dialect: openclaw`.
async fn told_openclaw() -> (Peer, Control, Tap, Conn) {
    let (peer, control) = tunnel::start(&Via::Plain).await;
    let (tap, conn) = open(Setup::before(&peer).openclaw(), Face::Plain).await;
    (peer, control, tap, conn)
}

/// The wait before the fault, whose duration is a part of it.
pub async fn patience(ms: u64) {
    tokio::time::sleep(Duration::from_millis(ms)).await;
}

/// Writes below TLS.
async fn broken_tls(conn: &Conn) {
    let tcp = conn.wire.tcp().expect("TCP");
    tcp.writable().await.unwrap();
    tcp.try_write(b"\x17\x03\x03\x00\x20this cannot be decrypted at all.")
        .unwrap();
}

async fn slow() -> SessionRecord {
    let (_peer, control, tap, conn) = told(Face::Plain).await;
    let frame = Frame::binary(vec![0; 1 << 20]).to_bytes();
    let mut bytes = frame.repeat(24);
    bytes.extend_from_slice(&frame[..1000]);
    control.send(Do::Send(bytes)).unwrap();
    control.send(Do::Finish).unwrap();
    patience(4000).await;
    over(tap, conn).await
}
