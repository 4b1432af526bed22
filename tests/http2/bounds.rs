//! Streams are bounded, timed and ended as connections of HTTP/1.1 are, each for itself.

use std::time::Duration;

use bytes::Bytes;
use wstap::session::SessionRecord;
use wstap::session::party::Party;
use wstap::session::record::{CapKey, Class, Kind, TimerKey};

use crate::peers::{Peer, Via, echo, http_plain, never_answers, tunnel};
use crate::support::deadline::within;
use crate::support::frame::Frame;
use crate::support::http2::{END_HEADERS, HEADERS, Http2, RST_STREAM, Raw, Socket, StreamEnd};
use crate::support::http2::{block, frame, whole};
use crate::support::records::{class, rule};
use crate::support::tap::{Setup, Tap};

fn before(peer: &Peer) -> Setup {
    Setup::before(peer).set("http2.websocket", true)
}

async fn echoes(socket: &mut Socket) {
    socket.send_masked(Frame::text("still here")).await;
    assert_eq!(socket.frame().await.unwrap(), Frame::text("still here"));
}

/// The tap closes it with this code, and the stream ends once that is answered.
async fn is_closed(socket: &mut Socket, wanted: u16) {
    let (code, reason) = socket.frame().await.unwrap().as_close().expect("a Close");
    assert_eq!(code, Some(wanted));
    assert!(reason.starts_with("wstap: "), "{reason}");
    socket.send_masked(Frame::close(wanted, "")).await;
    assert_eq!(socket.frame().await, Err(StreamEnd::EndStream));
    // Refused if the tap is done with the stream.
    let _ = socket.send.send_data(Bytes::new(), true);
}

#[tokio::test]
async fn a_stream_counts_like_a_connection() {
    for (key, status) in [("limits.per_client", 429), ("limits.connections", 503)] {
        let peer = echo::start(&Via::Plain).await;
        // The connection itself, and two streams.
        let tap = before(&peer).set(key, 3).start().await;
        let mut client = Http2::connect(&tap).await;
        let mut first = client.open("/", &[]).await;
        let mut second = client.open("/", &[]).await;
        let Ok(refused) = client.connect_websocket("/third", &[]).await else {
            panic!("a third WebSocket is in, above {key}");
        };
        assert_eq!(refused.status().as_u16(), status);
        let page = client.get("/page", &[]).await;
        assert_eq!(page.status.as_u16(), status);
        assert!(page.text().contains(key), "{}", page.text());
        for path in ["/third", "/page"] {
            let of_it = |record: &SessionRecord| {
                let request = record.request.as_ref();
                request.is_some_and(|request| request.path.as_str() == path)
            };
            let record = tap.wait_for(path, of_it).await;
            assert_eq!(class(&record), Class::TapDenied);
            assert_eq!(rule(&record), key.replace("limits.", "tap.denied."));
            let summary = &record.verdict.as_ref().unwrap().summary;
            assert!(!summary.contains("closed"), "{summary}");
        }
        echoes(&mut first).await;
        echoes(&mut second).await;
        assert_eq!(peer.log.connections(), 2);
        // When one of them is over, its place is free.
        first.send_masked(Frame::close(1000, "")).await;
        while first.frame().await.is_ok() {}
        first.finish();
        let over = |record: &SessionRecord| {
            record.kind == Kind::Websocket && record.close.denied.is_none()
        };
        tap.wait_for("the first session's end", over).await;
        let mut third = client.open("/", &[]).await;
        echoes(&mut third).await;
    }
}

#[tokio::test]
async fn upgrades_that_wait_in_streams_are_handshakes() {
    let peer = never_answers::start(&Via::Plain).await;
    let tap = before(&peer).set("limits.handshakes", 2).start().await;
    let mut client = Http2::connect(&tap).await;
    let mut waiting = Vec::new();
    for at in 0..2 {
        waiting.push(client.extended("/", "websocket", &[]).await);
        peer.log.head(at).await;
    }
    let Ok(refused) = client.connect_websocket("/", &[]).await else {
        panic!("a third handshake is let in");
    };
    assert_eq!(refused.status().as_u16(), 503);
    let denied = |record: &SessionRecord| record.close.denied.is_some();
    let record = tap.wait_for("the refusal", denied).await;
    assert_eq!(rule(&record), "tap.denied.handshakes");
}

#[tokio::test]
async fn a_cap_ends_its_stream_and_no_other() {
    let peer = echo::start(&Via::Plain).await;
    let tap = before(&peer)
        .set("limits.session.message_bytes", "100B")
        .start()
        .await;
    let mut client = Http2::connect(&tap).await;
    let mut capped = client.open("/", &[]).await;
    let mut other = client.open("/", &[]).await;
    echoes(&mut capped).await;
    capped.send_masked(Frame::binary(vec![7; 101])).await;
    is_closed(&mut capped, 1009).await;
    echoes(&mut other).await;
    let record = tap.websocket().await;
    let cap = record.close.cap.expect("a cap");
    assert_eq!((cap.key, cap.observed), (CapKey::MessageBytes, 101));
    assert_eq!(record.close.first, Some(Party::Tap));
    assert_eq!(record.close.client_saw.unwrap().code.0, 1009);
}

#[tokio::test]
async fn an_idle_stream_is_closed_and_its_connection_goes_on() {
    let peer = echo::start(&Via::Plain).await;
    let tap = before(&peer).set("timeouts.idle", "400ms").start().await;
    let mut client = Http2::connect(&tap).await;
    let mut idle = client.open("/", &[]).await;
    is_closed(&mut idle, 1001).await;
    let record = tap.websocket().await;
    assert_eq!(record.close.timer.expect("a timer").key, TimerKey::Idle);
    assert_eq!(class(&record), Class::TapTimeout);
    echoes(&mut client.open("/", &[]).await).await;
}

#[tokio::test]
async fn the_drain_closes_every_stream() {
    let peer = echo::start(&Via::Plain).await;
    let mut tap = before(&peer).start().await;
    let mut client = Http2::connect(&tap).await;
    let mut sockets = Vec::new();
    for _ in 0..3 {
        sockets.push(client.open("/", &[]).await);
    }
    tap.signal_term();
    for socket in &mut sockets {
        is_closed(socket, 1001).await;
    }
    client.ended().await.expect("GOAWAY without an error");
    assert_eq!(tap.exited(Duration::from_secs(12)).await.code(), Some(0));
    for record in tap.websockets(3).await {
        assert_eq!(class(&record), Class::TapDrain);
        assert_eq!(record.close.client_saw.unwrap().code.0, 1001);
    }
}

/// A Close right before the reset is read and passed on: it says more than the reset.
#[tokio::test]
async fn what_came_before_a_reset_counts() {
    let (peer, _control) = tunnel::start(&Via::Plain).await;
    let tap: Tap = before(&peer).start().await;
    let mut raw = Raw::connect(&tap).await;
    let fields: [(&[u8], &[u8]); 6] = [
        (b":method", b"CONNECT"),
        (b":scheme", b"https"),
        (b":authority", b"localhost"),
        (b":path", b"/"),
        (b":protocol", b"websocket"),
        (b"sec-websocket-version", b"13"),
    ];
    let opens = frame(HEADERS, END_HEADERS, 1, &block(&fields));
    raw.conn.send(&opens).await.unwrap();
    assert_eq!(raw.verdict(1).await.kind, HEADERS);
    let close = Frame::close(1001, "").masked().to_bytes();
    let mut bytes = frame(0, 0, 1, &close);
    bytes.extend(frame(RST_STREAM, 0, 1, &8_u32.to_be_bytes()));
    raw.conn.send(&bytes).await.unwrap();
    assert_eq!(peer.log.bytes(0, close.len()).await, close);
    let record = tap.websocket().await;
    assert_eq!(record.close.client.unwrap().code.unwrap().0, 1001);
}

#[tokio::test]
async fn an_answer_that_nobody_reads_frees_the_gateway_in_the_end() {
    let peer = http_plain::start(&Via::Plain).await;
    let tap = before(&peer).set("timeouts.idle", "600ms").start().await;
    let mut builder = h2::client::Builder::new();
    // Room for a part of the page.
    builder.initial_window_size(10);
    let mut client = Http2::with(&tap, builder).await;
    let request = client.request("GET", "/", &[]);
    let mut body = client.ask(request).await.unwrap().into_body();
    let first = body.data().await.unwrap().unwrap();
    assert_eq!(first, http_plain::PAGE.as_bytes()[..10]);
    // Pings are answered all the time, and the window stays as it is.
    let reset = body.data().await.unwrap().unwrap_err();
    assert_eq!(reset.reason(), Some(h2::Reason::CANCEL));
    let unread = |record: &SessionRecord| rule(record) == "tap.timeout.unread";
    let record = tap.wait_for("an answer that was not read", unread).await;
    assert!(record.client.http2.unwrap().unread);
    let timer = record.close.timer.unwrap();
    assert_eq!((timer.key, timer.limit_ms), (TimerKey::Idle, 600));
    // Its connection goes on.
    let head = client.request("HEAD", "/", &[]);
    assert_eq!(client.ask(head).await.unwrap().status(), 200);
}

/// One byte of a request's body after the other, until the stream is answered or reset. The gateway answers
/// at once, or never.
async fn trickles(peer: &Peer, target: &str) -> (Option<u16>, SessionRecord) {
    let tap = before(peer)
        .set("timeouts.request_body", "1s")
        .set("timeouts.idle", "30s")
        .start()
        .await;
    let mut client = Http2::connect(&tap).await;
    let request = client.request("POST", target, &[]);
    let (answer, mut send) = client.begin(request, false).await;
    let trickling = async {
        let mut tick = tokio::time::interval(Duration::from_millis(100));
        for _ in 0..300 {
            tick.tick().await;
            if send.send_data(Bytes::from_static(b"x"), false).is_err() {
                return;
            }
        }
        panic!("the tap takes a body that trickles for 30 s");
    };
    let answered = async {
        let head = within("an answer", answer).await.ok()?;
        let status = head.status().as_u16();
        let mut body = head.into_body();
        while let Some(Ok(piece)) = body.data().await {
            let _ = body.flow_control().release_capacity(piece.len());
        }
        Some(status)
    };
    let (status, ()) = tokio::join!(answered, trickling);
    let slow = |record: &SessionRecord| record.kind == Kind::Http;
    let record = tap.wait_for("the request", slow).await;
    // Its connection goes on.
    drop(
        client
            .begin(client.request("HEAD", "/other", &[]), true)
            .await,
    );
    (status, record)
}

#[tokio::test]
async fn a_body_that_trickles_has_the_bound_that_it_has_over_http1() {
    let silent = never_answers::start(&Via::Plain).await;
    let (status, record) = trickles(&silent, "/").await;
    assert_eq!(status, Some(408));
    is_too_slow(&record);
    // Also after an answer has begun, which then breaks off.
    let echo = http_plain::start(&Via::Plain).await;
    let (status, record) = trickles(&echo, "/echo").await;
    assert_eq!(status, Some(200));
    is_too_slow(&record);
    assert!(!record.answer.as_ref().unwrap().complete);
}

fn is_too_slow(record: &SessionRecord) {
    assert_eq!(rule(record), "tap.timeout.slow_body");
    let timer = record.close.timer.expect("a timer");
    assert_eq!((timer.key, timer.limit_ms), (TimerKey::RequestBody, 1000));
    // Far less than the 30 s of `idle`.
    assert!((1000.0..15_000.0).contains(&timer.observed_ms), "{timer:?}");
    assert!(record.client.http2.as_ref().unwrap().stream.is_some());
}

/// What moves is not cut: each KiB buys a second.
#[tokio::test]
async fn an_upload_that_moves_is_not_cut_by_that_bound() {
    let peer = http_plain::start(&Via::Plain).await;
    let tap = before(&peer)
        .set("timeouts.request_body", "1s")
        .start()
        .await;
    let mut client = Http2::connect(&tap).await;
    let request = client.request("POST", "/echo", &[]);
    let (answer, mut send) = client.begin(request, false).await;
    let mut tick = tokio::time::interval(Duration::from_millis(300));
    for _ in 0..6 {
        tick.tick().await;
        let piece = Bytes::from_static(&[b'x'; 1024]);
        send.send_data(piece, false).expect("send a piece");
    }
    send.send_data(Bytes::new(), true).expect("send the end");
    let answer = within("an answer", answer).await.expect("an answer");
    assert_eq!(whole(answer).await.body.len(), 6 * 1024);
    let record = tap
        .wait_for("the request", |it| it.kind == Kind::Http)
        .await;
    assert_eq!(class(&record), Class::Ok, "{}", rule(&record));
}
