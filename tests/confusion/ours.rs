//! Endings that the tap itself causes: timers, denials, limits, the drain.

use wstap::session::SessionRecord;

use super::table::{
    Fault, NOTHING, acked, fault, first_record, open, over, refused_by, said, written,
};
use crate::peers::{Via, echo, never_answers, tunnel};
use crate::support::client::connect;
use crate::support::frame::Frame;
use crate::support::head::upgrade;
use crate::support::tap::{Face, Setup, Tap};

pub fn faults() -> Vec<Fault> {
    let mut all = timers();
    all.extend(denials());
    all.extend(caps());
    all.extend(drain());
    all
}

async fn before_echo() -> (crate::peers::Peer, Setup) {
    let peer = echo::start(&Via::Plain).await;
    let setup = Setup::before(&peer);
    (peer, setup)
}

fn timers() -> Vec<Fault> {
    vec![
        fault(
            "timer: tls_handshake, nothing came",
            "tap.timeout.tls_handshake",
            || async {
                let (_peer, setup) = before_echo().await;
                let tap = setup.set("timeouts.tls_handshake", "300ms").start().await;
                connect(tap.addr(Face::Tls)).await.rest().await;
                first_record(&tap).await
            },
        ),
        fault(
            "timer: tls_handshake, in the middle",
            "tap.timeout.tls_handshake",
            || async {
                let (_peer, setup) = before_echo().await;
                let tap = setup.set("timeouts.tls_handshake", "300ms").start().await;
                let mut conn = connect(tap.addr(Face::Tls)).await;
                conn.send(b"\x16\x03\x01\x02\x00\x01\x00").await.unwrap();
                conn.rest().await;
                first_record(&tap).await
            },
        ),
        fault(
            "timer: request_head, nothing came",
            "tap.timeout.silent_client",
            || async {
                let (_peer, setup) = before_echo().await;
                said(
                    setup.set("timeouts.request_head", "300ms"),
                    Face::Plain,
                    b"",
                )
                .await
            },
        ),
        fault(
            "timer: request_head over TLS, nothing came",
            "tap.timeout.silent_client",
            || async {
                let (_peer, setup) = before_echo().await;
                said(setup.set("timeouts.request_head", "300ms"), Face::Tls, b"").await
            },
        ),
        fault(
            "timer: request_head, half a head",
            "tap.timeout.request_head",
            || async {
                let (_peer, setup) = before_echo().await;
                let setup = setup.set("timeouts.request_head", "300ms");
                said(setup, Face::Plain, b"GET / HTTP/1.1\r\nHost: loc").await
            },
        ),
        fault("timer: idle", "tap.timeout.idle", || async {
            let (_peer, setup) = before_echo().await;
            let setup = setup.set("timeouts.idle", "300ms");
            let (tap, mut conn) = open(setup, Face::Plain).await;
            conn.frame().await.expect("our Close");
            conn.send_masked(Frame::close(1001, "")).await.unwrap();
            over(tap, conn).await
        })
        .saw(acked(1001), acked(1001)),
        fault(
            "timer: idle, and nobody answers",
            "tap.timeout.idle",
            || async {
                let (peer, _control) = tunnel::start(&Via::Plain).await;
                let setup = Setup::before(&peer).set("timeouts.idle", "300ms");
                let (tap, mut conn) = open(setup.set("timeouts.close", "300ms"), Face::Plain).await;
                conn.rest().await;
                tap.websocket().await
            },
        )
        .saw(written(1001), written(1001)),
    ]
}

fn denials() -> Vec<Fault> {
    let allowing = |setup: Setup| setup.set("origins.allowed", vec!["https://claw.example.com"]);
    vec![
        fault(
            "denied: gateway.url leads back to the tap",
            "tap.denied.loop",
            crate::loops::looped,
        )
        .says("this turn's request came from"),
        fault(
            "denied: an origin",
            "tap.denied.origin",
            move || async move {
                let (_peer, setup) = before_echo().await;
                with_origin(&allowing(setup).start().await, "https://other.example.com").await
            },
        ),
        fault(
            "denied: a slash too much in the list's place",
            "tap.denied.origin",
            move || async move {
                let (_peer, setup) = before_echo().await;
                with_origin(&allowing(setup).start().await, "http://claw.example.com").await
            },
        ),
        fault(
            "denied: an origin, by Close",
            "tap.denied.origin",
            move || async move {
                let (_peer, setup) = before_echo().await;
                let tap = allowing(setup)
                    .set("origins.deny_with", "close")
                    .start()
                    .await;
                let mut conn = tap.connect(Face::Plain).await;
                let origin = [("Origin", "https://other.example.com")];
                conn.upgrade("/", &origin).await.expect("an answer");
                conn.frame().await.expect("our Close");
                conn.send_masked(Frame::close(1008, "")).await.unwrap();
                over(tap, conn).await
            },
        )
        .saw(acked(1008), NOTHING),
        fault(
            "denied: no origin",
            "tap.denied.origin_missing",
            move || async move {
                let (_peer, setup) = before_echo().await;
                let tap = allowing(setup).set("origins.missing", "deny").start().await;
                refused_by(&tap, &[]).await
            },
        ),
        fault(
            "denied: a head too large",
            "tap.denied.head_bytes",
            || async {
                let (_peer, setup) = before_echo().await;
                let tap = setup.set("limits.head_bytes", "8KiB").start().await;
                let long = "x".repeat(9000);
                refused_by(&tap, &[("X-Long", &long)]).await
            },
        ),
        fault("denied: too many headers", "tap.denied.headers", || async {
            let (_peer, setup) = before_echo().await;
            let tap = setup.set("limits.headers", 16).start().await;
            refused_by(&tap, &[("X-One", "1"); 20]).await
        }),
        fault(
            "limit: connections of one client",
            "tap.denied.per_client",
            || crowded("limits.per_client"),
        ),
        fault("limit: connections", "tap.denied.connections", || {
            crowded("limits.connections")
        }),
        fault("limit: handshakes", "tap.denied.handshakes", || {
            crowded("limits.handshakes")
        }),
    ]
}

async fn with_origin(tap: &Tap, origin: &str) -> SessionRecord {
    refused_by(tap, &[("Origin", origin)]).await
}

fn caps() -> Vec<Fault> {
    vec![
        fault(
            "cap: a message of the client",
            "tap.denied.message_bytes",
            || {
                capped(
                    "message_bytes",
                    "1KiB".into(),
                    Frame::text(&"x".repeat(1025)),
                )
            },
        )
        .saw(acked(1009), acked(1009)),
        fault(
            "cap: bytes of a session",
            "tap.denied.session_bytes",
            || capped("bytes", "1KiB".into(), Frame::text(&"x".repeat(1025))),
        )
        .saw(acked(1009), acked(1009)),
        fault("cap: messages a second", "tap.denied.session_rate", || {
            capped(
                "bytes_per_second",
                100.into(),
                Frame::text(&"x".repeat(1025)),
            )
        })
        .saw(acked(1009), acked(1009)),
        fault(
            "cap: a message, in the middle of another frame",
            "tap.denied.message_bytes",
            || async {
                let (peer, control) = tunnel::start(&Via::Plain).await;
                let setup = Setup::before(&peer)
                    .set("limits.session.message_bytes", "1KiB")
                    .set("timeouts.close", "300ms");
                let (tap, mut conn) = open(setup, Face::Plain).await;
                let bytes = Frame::binary(vec![0; 1000]).to_bytes();
                control
                    .send(tunnel::Do::Send(bytes[..500].to_vec()))
                    .unwrap();
                conn.exactly(500).await.unwrap();
                let large = Frame::text(&"x".repeat(1025));
                conn.send_masked(large).await.unwrap();
                conn.rest().await;
                tap.websocket().await
            },
        )
        .saw(written(1006), written(1009)),
    ]
}

/// The client sends bytes that exceed a cap, and then answers our Close.
async fn capped(key: &str, value: serde_json::Value, frame: Frame) -> SessionRecord {
    let (_peer, setup) = before_echo().await;
    let setup = setup.set(&format!("limits.session.{key}"), value);
    let (tap, mut conn) = open(setup, Face::Plain).await;
    conn.send_masked(frame).await.unwrap();
    conn.frame().await.expect("our Close");
    conn.send_masked(Frame::close(1009, "")).await.unwrap();
    over(tap, conn).await
}

/// One place, and it is taken.
async fn crowded(key: &str) -> SessionRecord {
    let (_peer, setup) = before_echo().await;
    let tap = setup.set(key, 1).start().await;
    let first = connect(tap.addr(Face::Plain)).await;
    let mut second = connect(tap.addr(Face::Plain)).await;
    second.rest().await;
    let record = first_record(&tap).await;
    drop(first);
    record
}

fn drain() -> Vec<Fault> {
    vec![
        fault("drain: an open session", "tap.drain.session", || async {
            let (_peer, setup) = before_echo().await;
            let (tap, mut conn) = open(setup, Face::Plain).await;
            tap.signal_term();
            conn.frame().await.expect("our Close");
            conn.send_masked(Frame::close(1001, "")).await.unwrap();
            over(tap, conn).await
        })
        .saw(acked(1001), acked(1001)),
        fault(
            "drain: a session in the middle of a frame",
            "tap.drain.session",
            || async {
                let (peer, control) = tunnel::start(&Via::Plain).await;
                let (tap, mut conn) = open(
                    Setup::before(&peer).set("timeouts.drain", "1s"),
                    Face::Plain,
                )
                .await;
                let bytes = Frame::binary(vec![0; 1000]).to_bytes();
                control
                    .send(tunnel::Do::Send(bytes[..500].to_vec()))
                    .unwrap();
                conn.exactly(500).await.unwrap();
                tap.signal_term();
                conn.rest().await;
                tap.websocket().await
            },
        )
        .saw(written(1006), written(1001)),
        fault(
            "drain: an upgrade under way",
            "tap.drain.request",
            || async {
                let peer = never_answers::start(&Via::Plain).await;
                let tap = Setup::before(&peer)
                    .set("timeouts.drain", "500ms")
                    .start()
                    .await;
                let mut conn = tap.connect(Face::Plain).await;
                conn.send(&upgrade("/", "localhost", &[])).await.unwrap();
                peer.log.head(0).await;
                tap.signal_term();
                conn.rest().await;
                tap.websocket().await
            },
        ),
        fault(
            "drain: a connection that said nothing",
            "tap.drain.request",
            || async {
                let (_peer, setup) = before_echo().await;
                let tap = setup.start().await;
                let mut silent = connect(tap.addr(Face::Plain)).await;
                // Accepted in order: once the second is open, the first has been.
                let mut second = tap.connect(Face::Plain).await;
                second.open("/").await;
                tap.signal_term();
                silent.rest().await;
                let is_it = |record: &SessionRecord| record.request.is_none();
                tap.wait_for("the silent one's record", is_it).await
            },
        ),
        fault(
            "drain: a Close was awaited",
            "gateway.closed.code",
            || async {
                let after = crate::peers::close_code::After::Stay;
                let peer =
                    crate::peers::close_code::start(&Via::Plain, Some(1008), "no", after).await;
                let setup = Setup::before(&peer).set("timeouts.drain", "300ms");
                let (tap, mut conn) = open(setup, Face::Plain).await;
                conn.frame().await.expect("the Close");
                tap.signal_term();
                conn.rest().await;
                tap.websocket().await
            },
        )
        .saw(written(1008), written(1006)),
        fault("drain: the client had left", "client.left.open", || async {
            let (peer, control) = tunnel::start(&Via::Plain).await;
            let setup = Setup::before(&peer).set("timeouts.drain", "300ms");
            let (tap, mut conn) = open(setup, Face::Plain).await;
            conn.finish().await;
            peer.log.ending(0).await;
            tap.signal_term();
            conn.rest().await;
            drop(control);
            tap.websocket().await
        })
        .saw(written(1001), written(1006)),
    ]
}
