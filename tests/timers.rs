//! Our own timers: each is named in the record, with its limit and what was observed.

use std::time::{Duration, Instant};

use wstap::session::SessionRecord;
use wstap::session::party::{Party, Phase};
use wstap::session::record::{Class, Kind, TimerKey};
use wstap::ws::CloseCode;

use crate::peers::{
    Via, close_code, echo, half_closer, http_plain, never_answers, scripted, tunnel,
};
use crate::support::client::connect;
use crate::support::conn::Conn;
use crate::support::frame::Frame;
use crate::support::head::Head;
use crate::support::records::{class, rule};
use crate::support::tap::{Face, Setup};
use crate::support::wire::Ending;

#[tokio::test]
async fn an_idle_session_is_closed_towards_both_ends() {
    for face in Face::BOTH {
        let peer = echo::start(&Via::Plain).await;
        let tap = Setup::before(&peer)
            .set("timeouts.idle", "400ms")
            .start()
            .await;
        let mut conn = tap.connect(face).await;
        conn.open("/").await;
        let (code, reason) = conn.frame().await.unwrap().as_close().expect("a Close");
        assert_eq!(code, Some(1001));
        assert!(reason.starts_with("wstap: "), "{reason}");
        conn.send_masked(Frame::close(1001, "")).await.unwrap();
        conn.rest().await;
        drop(conn);
        let (code, reason) = peer.log.close(0).await;
        assert_eq!(code, Some(1001));
        assert!(reason.starts_with("wstap: "), "{reason}");
        let record = tap.websocket().await;
        let timer = record.close.timer.expect("a timer");
        assert_eq!((timer.key, timer.limit_ms), (TimerKey::Idle, 400));
        assert!(timer.observed_ms >= 400.0, "{}", timer.observed_ms);
        assert_eq!(record.close.first, Some(Party::Tap));
        assert_eq!(
            record.close.tap.as_ref().unwrap().code,
            Some(CloseCode::GOING_AWAY)
        );
        assert_eq!(class(&record), Class::TapTimeout);
    }
}

#[tokio::test]
async fn one_direction_is_enough_not_to_be_idle() {
    let peer = echo::start(&Via::Plain).await;
    let tap = Setup::before(&peer)
        .set("timeouts.idle", "1s")
        .start()
        .await;
    let mut conn = tap.connect(Face::Plain).await;
    conn.open("/").await;
    // For more than twice the limit, a pong (which nobody answers) every fifth of it.
    let mut tick = tokio::time::interval(Duration::from_millis(200));
    for _ in 0..12 {
        tick.tick().await;
        conn.send_masked(Frame::pong(b"")).await.unwrap();
    }
    conn.send_masked(Frame::text("alive")).await.unwrap();
    assert_eq!(conn.frame().await.unwrap().as_text(), "alive");
}

#[tokio::test]
async fn a_silent_client_is_ended() {
    let peer = echo::start(&Via::Plain).await;
    let setup = Setup::before(&peer);
    let setup = setup
        .set("timeouts.request_head", "300ms")
        .set("timeouts.tls_handshake", "300ms");
    let tap = setup.start().await;
    for (face, key) in [
        (Face::Plain, TimerKey::RequestHead),
        (Face::Tls, TimerKey::TlsHandshake),
    ] {
        let mut conn = connect(tap.addr(face)).await;
        let (_, ending) = conn.rest().await;
        assert_ne!(ending, Ending::StillOpen, "{face:?}");
        let is_it =
            |record: &SessionRecord| record.close.timer.is_some_and(|timer| timer.key == key);
        let record = tap.wait_for("the timer's record", is_it).await;
        assert_eq!(record.kind, Kind::Connection);
        assert_eq!(class(&record), Class::TapTimeout);
    }
    assert_eq!(peer.log.connections(), 0, "the gateway is not troubled");
}

#[tokio::test]
async fn a_head_that_never_ends_is_ended() {
    let peer = echo::start(&Via::Plain).await;
    let tap = Setup::before(&peer)
        .set("timeouts.request_head", "300ms")
        .start()
        .await;
    let mut conn = connect(tap.addr(Face::Plain)).await;
    conn.send(b"GET / HTTP/1.1\r\nHost: loc").await.unwrap();
    assert_ne!(conn.rest().await.1, Ending::StillOpen);
    let record = tap.wait_for("a record", |_| true).await;
    assert_eq!(class(&record), Class::TapTimeout);
    assert_eq!(record.close.timer.unwrap().key, TimerKey::RequestHead);
}

#[tokio::test]
async fn a_gateway_that_never_answers_is_given_up() {
    let peer = never_answers::start(&Via::Plain).await;
    let tap = Setup::before(&peer)
        .set("timeouts.upgrade", "300ms")
        .start()
        .await;
    let mut conn = tap.connect(Face::Plain).await;
    let answer = conn.upgrade("/", &[]).await.unwrap();
    assert_eq!(answer.status(), 504, "{}", answer.text());
    assert!(answer.value("proxy-status").is_some());
    let record = tap.websocket().await;
    assert_eq!(record.close.timer.unwrap().key, TimerKey::Upgrade);
    assert_eq!(
        (record.phase, class(&record)),
        (Phase::Upgrade, Class::GatewaySilent)
    );
    assert!(peer.log.ending(0).await != Ending::StillOpen);
}

#[tokio::test]
async fn a_gateway_that_does_not_finish_connecting_is_given_up() {
    // It accepts and never answers the TLS handshake, which is a part of connecting.
    let peer = never_answers::start(&Via::Plain).await;
    let url = peer.url().replace("http://", "https://");
    let tap = Setup::before_url(&url)
        .set("timeouts.connect", "300ms")
        .start()
        .await;
    let mut conn = tap.connect(Face::Plain).await;
    let answer = conn.upgrade("/", &[]).await.unwrap();
    assert_eq!(answer.status(), 504);
    let record = tap.websocket().await;
    assert_eq!(class(&record), Class::GatewayUnreachable);
    let timer = record.close.timer.unwrap();
    assert_eq!((timer.key, timer.limit_ms), (TimerKey::Connect, 300));
    assert_eq!(record.phase, Phase::Dial);
}

#[tokio::test]
async fn a_half_closed_session_is_ended_after_its_time() {
    let peer = half_closer::start(&Via::Plain).await;
    let tap = Setup::before(&peer)
        .set("timeouts.half_close", "300ms")
        .start()
        .await;
    let mut conn = tap.connect(Face::Plain).await;
    conn.open("/").await;
    assert_eq!(conn.frames_to_end().await.1, Ending::Fin);
    // The client neither talks nor goes.
    peer.log.ending(0).await;
    let record = tap.websocket().await;
    assert_eq!(record.close.timer.unwrap().key, TimerKey::HalfClose);
    assert_eq!(class(&record), Class::GatewayLeft);
}

#[tokio::test]
async fn a_close_that_is_not_answered_is_judged_by_the_close() {
    for (face, end) in [(Face::Plain, Ending::Fin), (Face::Tls, Ending::TlsClose)] {
        let after = close_code::After::Stay;
        let peer = close_code::start(&Via::Plain, Some(1008), "not you", after).await;
        let tap = Setup::before(&peer)
            .set("timeouts.close", "300ms")
            .start()
            .await;
        let mut conn = tap.connect(face).await;
        conn.open("/").await;
        assert_eq!(conn.frame().await.unwrap(), Frame::close(1008, "not you"));
        // In order: close_notify before FIN where there is TLS.
        assert_eq!(conn.rest().await.1, end);
        let record = tap.websocket().await;
        assert_eq!(record.close.timer.unwrap().key, TimerKey::Close);
        assert_eq!(class(&record), Class::GatewayClosed);
    }
}

#[tokio::test]
async fn a_frame_that_is_under_way_is_not_cut_by_a_close_of_ours() {
    let (peer, control) = tunnel::start(&Via::Plain).await;
    let tap = Setup::before(&peer)
        .set("timeouts.idle", "400ms")
        .set("timeouts.close", "400ms")
        .start()
        .await;
    let mut conn = tap.connect(Face::Plain).await;
    conn.open("/").await;
    let bytes = Frame::binary(vec![0; 1000]).to_bytes();
    let half = bytes[..500].to_vec();
    control.send(tunnel::Do::Send(half.clone())).unwrap();
    // Not at a frame boundary: no Close can be sent, so the client is just cut off.
    let (got, ending) = conn.rest().await;
    assert_eq!(got, half);
    assert!(matches!(ending, Ending::Rst | Ending::Fin), "{ending:?}");
    let record = tap.websocket().await;
    assert_eq!(record.close.timer.unwrap().key, TimerKey::Idle);
    assert_eq!(class(&record), Class::TapTimeout);
}

/// An answer that stops in the middle holds nobody forever.
#[tokio::test]
async fn an_answer_that_stands_still_is_ended() {
    let head = "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nthe front";
    let peer = scripted::start(&Via::Plain, head).await;
    let tap = Setup::before(&peer)
        .set("timeouts.idle", "400ms")
        .start()
        .await;
    let mut conn = tap.connect(Face::Plain).await;
    conn.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        .await
        .unwrap();
    assert_eq!(conn.head().await.unwrap().status(), 200);
    let (body, ending) = conn.rest().await;
    assert_eq!(body, b"the front");
    assert_ne!(ending, Ending::StillOpen);
    let record = tap.wait_for("a record", |_| true).await;
    let timer = record.close.timer.unwrap();
    assert_eq!((timer.key, timer.limit_ms), (TimerKey::Idle, 400));
    assert!(!record.answer.as_ref().unwrap().complete);
    let verdict = record.verdict.unwrap();
    assert_eq!(verdict.rule, "tap.timeout.answer", "{}", verdict.summary);
    assert_ne!(peer.log.ending(0).await, Ending::StillOpen);
}

/// An answer in pieces with pauses that are shorter goes on, however long it takes in all.
#[tokio::test]
async fn a_body_that_moves_is_not_idle() {
    let peer = http_plain::start(&Via::Plain).await;
    let tap = Setup::before(&peer)
        .set("timeouts.idle", "1s")
        .start()
        .await;
    let mut conn = tap.connect(Face::Plain).await;
    let head = "POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n";
    conn.send(head.as_bytes()).await.unwrap();
    assert_eq!(conn.head().await.unwrap().status(), 200);
    let mut tick = tokio::time::interval(Duration::from_millis(200));
    for _ in 0..12 {
        tick.tick().await;
        conn.send(&http_plain::as_chunk(b"on")).await.unwrap();
        assert_eq!(conn.chunk().await.unwrap(), b"on");
    }
    // And then it stops.
    assert_ne!(conn.rest().await.1, Ending::StillOpen);
    let record = tap.wait_for("a record", |_| true).await;
    assert_eq!(record.close.timer.unwrap().key, TimerKey::Idle);
    assert_eq!(class(&record), Class::TapTimeout);
}

/// The client stops in the middle of its request's body: that is not the gateway's silence.
#[tokio::test]
async fn a_request_that_stands_still_is_answered() {
    let peer = never_answers::start(&Via::Plain).await;
    let tap = Setup::before(&peer)
        .set("timeouts.idle", "400ms")
        .start()
        .await;
    let mut conn = tap.connect(Face::Plain).await;
    let head = "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nthe front";
    conn.send(head.as_bytes()).await.unwrap();
    let answer = conn.head().await.unwrap();
    assert_eq!(answer.status(), 408, "{}", answer.text());
    assert!(answer.value("proxy-status").is_some());
    let record = tap.wait_for("a record", |_| true).await;
    assert_eq!(record.close.timer.unwrap().key, TimerKey::Idle);
    let verdict = record.verdict.unwrap();
    assert_eq!(
        verdict.rule, "tap.timeout.request_body",
        "{}",
        verdict.summary
    );
}

/// The client sends its request's body byte by byte, and would go on forever.
#[tokio::test]
async fn a_request_that_trickles_ends() {
    let peer = never_answers::start(&Via::Plain).await;
    let tap = Setup::before(&peer)
        .set("timeouts.request_body", "1s")
        .set("timeouts.idle", "30s")
        .start()
        .await;
    let mut conn = tap.connect(Face::Plain).await;
    let head = "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n";
    conn.send(head.as_bytes()).await.unwrap();
    let answer = trickle(&mut conn, b"x").await;
    assert_eq!(answer.status(), 408, "{}", answer.text());
    assert_ne!(conn.rest().await.1, Ending::StillOpen);
    let record = tap.wait_for("a record", |_| true).await;
    let timer = record.close.timer.unwrap();
    assert_eq!((timer.key, timer.limit_ms), (TimerKey::RequestBody, 1000));
    assert!(timer.observed_ms >= 1000.0, "{timer:?}");
    assert_eq!(rule(&record), "tap.timeout.slow_body");
    assert_ne!(peer.log.ending(0).await, Ending::StillOpen);
}

/// Also when the gateway answers meanwhile.
#[tokio::test]
async fn a_request_that_trickles_behind_its_answer_ends() {
    let peer = http_plain::start(&Via::Plain).await;
    let tap = Setup::before(&peer)
        .set("timeouts.request_body", "1s")
        .set("timeouts.idle", "30s")
        .start()
        .await;
    let mut conn = tap.connect(Face::Plain).await;
    let head = "POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n";
    conn.send(head.as_bytes()).await.unwrap();
    let answer = trickle(&mut conn, &http_plain::as_chunk(b"x")).await;
    assert_eq!(answer.status(), 200);
    let mut tick = tokio::time::interval(PAUSE);
    while conn.send(&http_plain::as_chunk(b"x")).await.is_ok() {
        tick.tick().await;
    }
    let record = tap.wait_for("a record", |_| true).await;
    assert_eq!(record.close.timer.unwrap().key, TimerKey::RequestBody);
    assert_eq!(rule(&record), "tap.timeout.slow_body");
    assert!(!record.answer.as_ref().unwrap().complete);
}

const PAUSE: Duration = Duration::from_millis(100);

/// Sends the same piece at intervals until an answer's head is there.
async fn trickle(conn: &mut Conn, piece: &[u8]) -> Head {
    for _ in 0..100 {
        conn.send(piece).await.unwrap();
        if let Ok(head) = tokio::time::timeout(PAUSE, conn.head()).await {
            return head.unwrap();
        }
    }
    panic!("no answer");
}

/// A kept connection on which no further request comes ends cleanly after the time for a head,
/// without a record.
#[tokio::test]
async fn an_idle_kept_connection_ends() {
    let peer = http_plain::start(&Via::Plain).await;
    let tap = Setup::before(&peer)
        .set("timeouts.request_head", "1s")
        .start()
        .await;
    let mut conn = tap.connect(Face::Plain).await;
    for _ in 0..2 {
        assert_eq!(conn.get("/").await.unwrap().0.status(), 200);
    }
    let idle = Instant::now();
    let (rest, ending) = conn.rest().await;
    assert!(rest.is_empty());
    assert_eq!(ending, Ending::Fin);
    assert!(
        idle.elapsed() > Duration::from_millis(900),
        "{:?}",
        idle.elapsed()
    );
    // What comes later has a record, so that one of before it would be there.
    let mut conn = tap.connect(Face::Plain).await;
    conn.get("/later").await.unwrap();
    let later = |record: &SessionRecord| {
        let request = record.request.as_ref();
        request.is_some_and(|request| request.path.as_str() == "/later")
    };
    tap.wait_for("the later record", later).await;
    let kinds: Vec<_> = tap.records().iter().map(|record| record.kind).collect();
    assert_eq!(kinds, [Kind::Http; 3]);
}

/// An upload may take longer in all than a pause may, also before there is any answer.
#[tokio::test]
async fn a_long_upload_that_moves_is_not_idle() {
    let answer = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
    let peer = scripted::start(&Via::Plain, answer).await;
    let tap = Setup::before(&peer)
        .set("timeouts.idle", "1s")
        .start()
        .await;
    let mut conn = tap.connect(Face::Plain).await;
    let head = "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 24\r\n\r\n";
    conn.send(head.as_bytes()).await.unwrap();
    let mut tick = tokio::time::interval(Duration::from_millis(200));
    for _ in 0..12 {
        tick.tick().await;
        conn.send(b"on").await.unwrap();
    }
    assert_eq!(conn.head().await.unwrap().status(), 200);
}
