//! The peers against a plain client, without a tap: each must do what its file says, or the tests
//! that rest on it prove nothing.

use serde_json::{Value, json};

use crate::peers::openclaw::{self, Gateway, Order, Refusal, Script, TOKEN, connect_request};
use crate::peers::{Peer, Via, tls};
use crate::peers::{
    attribution, close_code, draining, early_bytes, echo, fin_mid_frame, fin_without_close,
    half_closer, http_plain, huge_declared_length, missing_accept_key, never_answers, never_reads,
    no_status_line, ok_instead_of_101, pusher, reset_before_status, reset_mid_frame, slow_frame,
    truncated_tls, tunnel, unix_socket, wrong_accept_key,
};
use crate::support::certs::{Validity, trusting_nothing};
use crate::support::client::{
    Dribble, connect, connect_narrow, connect_tls, connect_unix, try_connect_tls,
};
use crate::support::conn::Conn;
use crate::support::deadline::settled;
use crate::support::frame::{CLOSE, Frame, PING};
use crate::support::head::upgrade;
use crate::support::wire::Ending;
use std::time::Duration;

/// A connection on which the peer has answered with a correct 101.
async fn open(peer: &Peer) -> Conn {
    let mut conn = connect(peer.addr()).await;
    conn.open("/ws").await;
    conn
}

#[tokio::test]
async fn echo_returns_messages_and_takes_the_first_subprotocol() {
    let peer = echo::start(&Via::Plain).await;
    let mut conn = connect(peer.addr()).await;
    let offer = [("Sec-WebSocket-Protocol", "chat.v2, chat.v1")];
    let answer = conn.upgrade("/ws", &offer).await.unwrap();
    assert_eq!(
        answer.value("sec-websocket-protocol").as_deref(),
        Some("chat.v2")
    );
    let big = Frame::binary(vec![9; 300_000]);
    conn.send_masked(big.clone()).await.unwrap();
    assert_eq!(conn.frame().await.unwrap(), big);
    conn.send_masked(Frame::ping(b"p")).await.unwrap();
    assert_eq!(conn.frame().await.unwrap(), Frame::pong(b"p"));
    conn.send_masked(Frame::close(4321, "bye")).await.unwrap();
    assert_eq!(conn.frame().await.unwrap(), Frame::close(4321, "bye"));
    assert_eq!(conn.frame().await.unwrap_err(), Ending::Fin);
    assert_eq!(peer.log.close(0).await, (Some(4321), "bye".to_owned()));
    assert_eq!(peer.log.data(0).await, big);
    assert_eq!(peer.log.head(0).await.target(), "/ws");
}

#[tokio::test]
async fn echo_works_on_a_unix_socket_and_over_tls() {
    let peer = unix_socket::start().await;
    let path = peer.url().strip_prefix("unix:").unwrap().to_owned();
    let mut unix = connect_unix(path.as_ref()).await;
    unix.open("/").await;
    let (ca, via) = tls::via(&["localhost"], Validity::Now);
    let secure = echo::start(&via).await;
    let mut tls = connect_tls(secure.addr(), &ca.client()).await;
    tls.open("/").await;
    for conn in [&mut unix, &mut tls] {
        conn.send_masked(Frame::text("hi")).await.unwrap();
        assert_eq!(conn.frame().await.unwrap().as_text(), "hi");
    }
    tls.send_masked(Frame::empty_close()).await.unwrap();
    assert_eq!(tls.frame().await.unwrap(), Frame::empty_close());
    assert_eq!(tls.frame().await.unwrap_err(), Ending::TlsClose);
}

#[tokio::test]
async fn certificates_can_be_wrong_in_three_ways() {
    for (names, validity) in [
        (["other.example"], Validity::Now),
        (["localhost"], Validity::Expired),
        (["localhost"], Validity::NotYet),
    ] {
        let (ca, via) = tls::via(&names, validity);
        let peer = echo::start(&via).await;
        let attempt = try_connect_tls(peer.addr(), &ca.client(), "localhost").await;
        assert!(attempt.is_err(), "{names:?} {validity:?}");
    }
    let (_, via) = tls::via(&["localhost"], Validity::Now);
    let peer = echo::start(&via).await;
    assert!(
        try_connect_tls(peer.addr(), &trusting_nothing(), "localhost")
            .await
            .is_err()
    );
    assert!(matches!(peer.log.ending(0).await, Ending::Other(_)));
}

#[tokio::test]
async fn openclaw_accepts_answers_and_announces_its_shutdown() {
    let gateway = Gateway::start(&Via::Plain, Script::default()).await;
    let mut conn = open(&gateway.peer).await;
    let challenge: Value = serde_json::from_slice(&conn.frame().await.unwrap().payload).unwrap();
    assert_eq!(challenge["event"], "connect.challenge");
    conn.send_masked(connect_request(&json!({ "token": TOKEN })))
        .await
        .unwrap();
    let hello: Value = serde_json::from_slice(&conn.frame().await.unwrap().payload).unwrap();
    assert_eq!(hello["payload"]["server"]["connId"], openclaw::CONN_ID);
    let request = r#"{"type":"req","id":"2","method":"health","params":{"deep":true}}"#;
    conn.send_masked(Frame::text(request)).await.unwrap();
    let answer: Value = serde_json::from_slice(&conn.frame().await.unwrap().payload).unwrap();
    assert_eq!(answer["payload"]["deep"], true);
    gateway.tell(Order::Ping);
    assert_eq!(conn.frame().await.unwrap().opcode, PING);
    gateway.tell(Order::Send(Frame::text("extra")));
    assert_eq!(conn.frame().await.unwrap().as_text(), "extra");
    gateway.tell(Order::Shutdown {
        reason: "gateway stopping".to_owned(),
    });
    assert!(
        conn.frame()
            .await
            .unwrap()
            .as_text()
            .contains("gateway stopping")
    );
    assert_eq!(
        conn.frame().await.unwrap(),
        Frame::close(1012, "service restart")
    );
    assert_eq!(conn.frame().await.unwrap_err(), Ending::Fin);
}

#[tokio::test]
async fn openclaw_refuses_and_dies() {
    let refusal = Refusal::new(
        1008,
        "pairing required: no",
        json!({ "code": "NOT_PAIRED" }),
    );
    let scripted = Script {
        refusal: Some(refusal),
        ..Script::default()
    };
    for (script, token, reason) in [
        (
            Script::default(),
            json!({}),
            "unauthorized: gateway token missing",
        ),
        (
            Script::default(),
            json!({ "token": "no" }),
            "unauthorized: gateway token mismatch",
        ),
        (scripted, json!({ "token": TOKEN }), "pairing required: no"),
    ] {
        let gateway = Gateway::start(&Via::Plain, script).await;
        let mut conn = open(&gateway.peer).await;
        conn.frame().await.unwrap();
        conn.send_masked(connect_request(&token)).await.unwrap();
        assert!(
            conn.frame()
                .await
                .unwrap()
                .as_text()
                .contains(r#""ok":false"#)
        );
        let (code, found) = conn.frame().await.unwrap().as_close().unwrap();
        assert_eq!(code, Some(1008));
        assert!(found.starts_with(reason), "{found}");
        assert_eq!(conn.frame().await.unwrap_err(), Ending::Fin);
    }
    for (order, ending) in [(Order::Die, Ending::Rst), (Order::Fin, Ending::Fin)] {
        let gateway = Gateway::start(&Via::Plain, Script::default()).await;
        let mut conn = open(&gateway.peer).await;
        conn.frame().await.unwrap();
        gateway.tell(order);
        assert_eq!(conn.frame().await.unwrap_err(), ending);
    }
    let gateway = Gateway::start(&Via::Plain, Script::default()).await;
    let mut conn = open(&gateway.peer).await;
    conn.frame().await.unwrap();
    conn.send_masked(Frame::empty_close()).await.unwrap();
    assert_eq!(conn.frame().await.unwrap(), Frame::empty_close());
}

#[tokio::test]
async fn peers_that_break_off_in_the_stream() {
    let peer = reset_mid_frame::start(&Via::Plain).await;
    let mut conn = open(&peer).await;
    conn.exactly(4 + reset_mid_frame::SENT).await.unwrap();
    peer.go();
    assert_eq!(conn.rest().await.1, Ending::Rst);

    let peer = fin_mid_frame::start(&Via::Plain).await;
    let mut conn = open(&peer).await;
    peer.go();
    let (part, ending) = conn.rest().await;
    assert_eq!(
        (part.len(), ending),
        (10 + fin_mid_frame::SENT, Ending::Fin)
    );

    let peer = fin_without_close::start(&Via::Plain).await;
    let mut conn = open(&peer).await;
    peer.go();
    let (frames, ending) = conn.frames_to_end().await;
    assert_eq!((frames.len(), ending), (1, Ending::Fin));

    let (ca, via) = tls::via(&["localhost"], Validity::Now);
    for (peer, wanted) in [
        (truncated_tls::start(&via).await, Ending::TlsTruncated),
        (fin_without_close::start(&via).await, Ending::TlsClose),
    ] {
        let mut conn = connect_tls(peer.addr(), &ca.client()).await;
        conn.open("/").await;
        peer.go();
        assert_eq!(conn.frames_to_end().await.1, wanted);
    }

    let peer = half_closer::start(&Via::Plain).await;
    let mut conn = open(&peer).await;
    assert_eq!(conn.frames_to_end().await.1, Ending::Fin);
    conn.send_masked(Frame::text("but I go on")).await.unwrap();
    assert_eq!(peer.log.data(0).await.as_text(), "but I go on");
}

#[tokio::test]
async fn peers_that_do_not_answer_the_upgrade() {
    for (peer, wanted) in [
        (no_status_line::start(&Via::Plain).await, Ending::Fin),
        (reset_before_status::start(&Via::Plain).await, Ending::Rst),
        (never_answers::start(&Via::Plain).await, Ending::StillOpen),
    ] {
        let conn = connect(peer.addr()).await;
        let mut conn = conn.with_limit(Duration::from_millis(300));
        assert_eq!(conn.upgrade("/", &[]).await.unwrap_err(), wanted);
        assert_eq!(peer.log.head(0).await.first_line(), "GET / HTTP/1.1");
    }
}

#[tokio::test]
async fn peers_that_answer_the_upgrade_otherwise() {
    let nginx = [("Server", "nginx"), ("Content-Type", "text/html")];
    for (peer, status, body) in [
        (
            ok_instead_of_101::start(&Via::Plain, &nginx, "<p>hi</p>").await,
            200,
            "<p>hi</p>",
        ),
        (draining::start(&Via::Plain).await, 503, draining::BODY),
        (
            attribution::start(&Via::Plain).await,
            403,
            attribution::BODY,
        ),
    ] {
        let mut conn = connect(peer.addr()).await;
        let head = conn.upgrade("/", &[]).await.unwrap();
        assert_eq!(head.status(), status);
        assert!(head.says_close());
        assert_eq!(conn.body(&head).await.unwrap(), body.as_bytes());
        assert_eq!(conn.rest().await.1, Ending::Fin);
    }
    assert_eq!(attribution::BODY.len(), 212, "as long as the gateway's own");
    for (peer, accept) in [
        (missing_accept_key::start(&Via::Plain).await, None),
        (
            wrong_accept_key::start(&Via::Plain).await,
            Some("AAAAAAAAAAAAAAAAAAAAAAAAAAA="),
        ),
    ] {
        let mut conn = connect(peer.addr()).await;
        let head = conn.upgrade("/", &[]).await.unwrap();
        assert_eq!(head.status(), 101);
        assert_eq!(head.value("sec-websocket-accept").as_deref(), accept);
    }
}

#[tokio::test]
async fn close_code_sends_any_close_and_then_any_ending() {
    use close_code::After;
    let peer = close_code::start(&Via::Plain, Some(1008), "no", After::Fin).await;
    let (frames, ending) = open(&peer).await.frames_to_end().await;
    assert_eq!(
        (frames, ending),
        (vec![Frame::close(1008, "no")], Ending::Fin)
    );

    let peer = close_code::start(&Via::Plain, None, "", After::Echo).await;
    let mut conn = open(&peer).await;
    assert_eq!(
        conn.frame().await.unwrap().as_close(),
        Some((None, String::new()))
    );
    conn.send_masked(Frame::empty_close()).await.unwrap();
    assert_eq!(conn.frame().await.unwrap_err(), Ending::Fin);
    assert_eq!(peer.log.close(0).await, (None, String::new()));

    let peer = close_code::start(&Via::Plain, Some(1011), "", After::Rst).await;
    let mut conn = open(&peer).await;
    assert_eq!(conn.frame().await.unwrap().opcode, CLOSE);
    peer.go();
    assert_eq!(conn.frame().await.unwrap_err(), Ending::Rst);

    let peer = close_code::start(&Via::Plain, Some(1000), "", After::Stay).await;
    let mut conn = open(&peer).await.with_limit(Duration::from_millis(300));
    assert_eq!(conn.frames_to_end().await.1, Ending::StillOpen);
}

#[tokio::test]
async fn slow_frame_goes_piece_by_piece() {
    let frame = Frame::binary(vec![3; 10_000]);
    let peer = slow_frame::start(&Via::Plain, &frame, 4).await;
    let mut conn = open(&peer).await;
    let mut got = Vec::new();
    for piece in frame.to_bytes().chunks(2501) {
        assert!(conn.buf.is_empty(), "nothing came before it was told");
        peer.go();
        got.extend(conn.exactly(piece.len()).await.unwrap());
    }
    conn.buf = got;
    assert_eq!(conn.frame().await.unwrap(), frame);
}

#[tokio::test]
async fn absurd_lengths_and_early_frames() {
    for declared in [huge_declared_length::LARGEST, huge_declared_length::TOP_BIT] {
        let peer = huge_declared_length::start(&Via::Plain, declared).await;
        let mut conn = open(&peer).await;
        let header = conn.exactly(10).await.unwrap();
        assert_eq!(header[2..], declared.to_be_bytes());
        let payload = conn
            .exactly(huge_declared_length::PAYLOAD.len())
            .await
            .unwrap();
        assert_eq!(payload, huge_declared_length::PAYLOAD);
    }
    let frames = [Frame::text("one"), Frame::ping(b"")];
    let peer = early_bytes::start(&Via::Plain, &frames).await;
    let mut conn = open(&peer).await;
    for frame in frames {
        assert_eq!(conn.frame().await.unwrap(), frame);
    }
}

#[tokio::test]
async fn pusher_stops_when_the_kernel_is_full_and_never_reads_never_reads() {
    let (peer, pushed) = pusher::start(&Via::Plain, 32_768).await;
    let mut conn = connect_narrow(peer.addr(), 64 * 1024).await;
    conn.open("/").await;
    let stuck = settled(Duration::from_millis(300), || pushed.bytes()).await;
    assert!(stuck > 0 && stuck < 8 << 20, "{stuck} bytes");

    let peer = never_reads::start(&Via::Plain).await;
    let mut conn = open(&peer).await.with_limit(Duration::from_millis(300));
    let blocked = conn.send_masked(Frame::binary(vec![0; 64 << 20])).await;
    assert_eq!(blocked.unwrap_err().kind(), std::io::ErrorKind::TimedOut);
}

#[tokio::test]
async fn http_plain_keeps_connections_and_streams_both_ways() {
    let peer = http_plain::start(&Via::Plain).await;
    let mut conn = connect(peer.addr()).await;
    assert_eq!(conn.get("/").await.unwrap().1, http_plain::PAGE.as_bytes());
    assert_eq!(
        conn.get("/healthz").await.unwrap().1,
        http_plain::LIVE.as_bytes()
    );
    assert_eq!(conn.get("/chunked").await.unwrap().1, b"one, two, three");
    assert_eq!(conn.get("/missing").await.unwrap().0.status(), 404);
    conn.send(b"HEAD / HTTP/1.1\r\nHost: x\r\n\r\n")
        .await
        .unwrap();
    let head = conn.head().await.unwrap();
    assert_eq!(
        head.value("content-length"),
        Some(http_plain::PAGE.len().to_string())
    );
    conn.send(b"POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
        .await
        .unwrap();
    assert_eq!(conn.head().await.unwrap().status(), 200);
    for piece in [b"first".as_slice(), b"second", b""] {
        conn.send(&http_plain::as_chunk(piece)).await.unwrap();
        assert_eq!(conn.chunk().await.unwrap(), piece);
    }
    assert_eq!((peer.log.connections(), peer.log.requests()), (1, 6));
}

#[tokio::test]
async fn clients_end_in_every_way() {
    let (ca, via) = tls::via(&["localhost"], Validity::Now);
    let peer = tunnel::start(&via).await.0;
    for (at, wanted) in [
        Ending::TlsTruncated,
        Ending::TlsClose,
        Ending::TlsClose,
        Ending::Rst,
    ]
    .into_iter()
    .enumerate()
    {
        let mut conn = connect_tls(peer.addr(), &ca.client()).await;
        peer.log.accepted(at).await;
        match at {
            0 => conn.fin(),
            1 => conn.finish().await,
            2 => conn.wire.close_notify().await,
            _ => conn.abort(),
        }
        assert_eq!(peer.log.ending(at).await, wanted, "client {at}");
    }
}

#[tokio::test]
async fn tunnel_obeys_and_a_dribbled_head_is_a_head() {
    let (peer, control) = tunnel::start(&Via::Plain).await;
    let mut conn = connect(peer.addr()).await;
    let mut dribble = Dribble::new(upgrade("/slow", "localhost", &[]));
    for _ in 0..10 {
        assert!(dribble.drip(&mut conn).await);
    }
    assert_eq!(peer.log.requests(), 0);
    dribble.pour(&mut conn).await;
    assert_eq!(conn.head().await.unwrap().status(), 101);
    control.send(tunnel::Do::Send(b"abc".to_vec())).unwrap();
    assert_eq!(conn.exactly(3).await.unwrap(), b"abc");
    conn.send(b"xyz").await.unwrap();
    assert_eq!(peer.log.bytes(0, 3).await, b"xyz");
    control.send(tunnel::Do::Finish).unwrap();
    assert_eq!(conn.rest().await.1, Ending::Fin);
    for (order, wanted) in [
        (tunnel::Do::Abort, Ending::Rst),
        (tunnel::Do::Fin, Ending::Fin),
    ] {
        let (peer, control) = tunnel::start(&Via::Plain).await;
        let mut conn = open(&peer).await;
        control.send(order).unwrap();
        assert_eq!(conn.rest().await.1, wanted);
    }
}
