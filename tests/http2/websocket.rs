//! `WebSocket`s in streams of HTTP/2 (RFC 8441), translated to an upgrade of HTTP/1.1.

use bytes::Bytes;
use h2::Reason;
use wstap::session::record::{Class, Kind, StreamReset, TimerKey, TransportEnd};

use crate::live::installed;
use crate::peers::http_plain;
use crate::peers::tunnel::{self, Do};
use crate::peers::{Peer, Via, close_code, echo, never_reads, ok_instead_of_101, wrong_accept_key};
use crate::support::deadline::{STEP, poll, within};
use crate::support::frame::{BINARY, CONTINUATION, Frame};
use crate::support::http2::{Http2, StreamEnd, whole};
use crate::support::records::{class, rule};
use crate::support::skip::skip;
use crate::support::tap::{Face, Setup, Tap};
use crate::support::wire::Ending;

async fn tap_before(peer: &Peer) -> Tap {
    before(peer).start().await
}

fn before(peer: &Peer) -> Setup {
    Setup::before(peer).set("http2.websocket", true)
}

#[tokio::test]
async fn frames_pass_both_ways_and_the_handshake_is_translated() {
    let peer = echo::start(&Via::Plain).await;
    let tap = tap_before(&peer).await;
    let mut client = Http2::connect(&tap).await;
    let more = [
        ("sec-websocket-protocol", "one, two"),
        ("origin", "https://page.example"),
        ("user-agent", "h2-test"),
    ];
    let mut socket = client.open("/ws?x=1", &more).await;
    let answer = &socket.answer;
    assert_eq!(answer.get("sec-websocket-protocol").unwrap(), "one");
    assert!(answer.contains_key("x-wstap-session"));
    for gone in ["upgrade", "connection", "sec-websocket-accept"] {
        assert!(!answer.contains_key(gone), "{gone}");
    }
    socket.send_masked(Frame::text("hello")).await;
    assert_eq!(socket.frame().await.unwrap(), Frame::text("hello"));
    let mut front = Frame::new(BINARY, b"in ".to_vec());
    front.fin = false;
    socket.send_masked(front).await;
    socket
        .send_masked(Frame::new(CONTINUATION, b"two".to_vec()))
        .await;
    assert_eq!(socket.frame().await.unwrap(), Frame::binary(*b"in two"));
    socket.send_masked(Frame::ping(b"?")).await;
    assert_eq!(socket.frame().await.unwrap(), Frame::pong(b"?"));
    let large = vec![7; 400_000];
    socket.send_masked(Frame::binary(large.clone())).await;
    assert!(socket.frame().await.unwrap() == Frame::binary(large));
    socket.send_masked(Frame::close(1000, "done")).await;
    assert_eq!(socket.frame().await.unwrap(), Frame::close(1000, "done"));
    assert_eq!(socket.frame().await, Err(StreamEnd::EndStream));
    socket.finish();

    let seen = peer.log.head(0).await;
    assert_eq!(seen.first_line(), "GET /ws?x=1 HTTP/1.1");
    assert_eq!(seen.values("host"), [client.authority()]);
    assert_eq!(seen.values("origin"), ["https://page.example"]);
    assert_eq!(seen.values("upgrade"), ["websocket"]);
    assert_eq!(seen.values("connection"), ["Upgrade"]);
    assert_eq!(seen.values("sec-websocket-version"), ["13"]);
    assert_eq!(seen.values("sec-websocket-protocol"), ["one, two"]);
    assert_eq!(seen.values("sec-websocket-key").len(), 1);

    let record = tap.websocket().await;
    assert_eq!(class(&record), Class::Ok, "{}", rule(&record));
    let request = record.request.as_ref().unwrap();
    assert_eq!(
        (request.method.as_str(), request.http_version.as_str()),
        ("CONNECT", "HTTP/2.0")
    );
    assert!(request.wants_upgrade);
    let frames = record.frames.as_ref().unwrap();
    assert_eq!(frames.to_gateway.messages, 3);
    assert_eq!(frames.to_gateway.fragmented_messages, 1);
    assert_eq!(frames.to_client.opcodes.pong, 1);
    assert!(frames.to_gateway.violations.is_empty());
    assert_eq!(
        record.close.client.as_ref().unwrap().code,
        Some(wstap::ws::CloseCode::NORMAL)
    );
}

/// RFC 8441 has no key, but some clients send one and expect an answer.
#[tokio::test]
async fn a_key_that_a_client_brings_is_answered() {
    const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
    let peer = echo::start(&Via::Plain).await;
    let tap = tap_before(&peer).await;
    let mut client = Http2::connect(&tap).await;
    let mut socket = client.open("/", &[("sec-websocket-key", KEY)]).await;
    // RFC 6455 section 1.3.
    let accept = socket.answer.get("sec-websocket-accept").unwrap();
    assert_eq!(accept, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    assert_eq!(peer.log.head(0).await.values("sec-websocket-key"), [KEY]);
    socket.send_masked(Frame::text("hello")).await;
    assert_eq!(socket.frame().await.unwrap(), Frame::text("hello"));
    drop(socket);
    for wrong in [vec!["sample"], vec![KEY, KEY]] {
        let keys: Vec<_> = wrong
            .iter()
            .map(|key| ("sec-websocket-key", *key))
            .collect();
        let answer = client.connect_websocket("/", &keys).await;
        assert_eq!(answer.expect("a refusal").status().as_u16(), 400);
    }
}

/// Node's own `WebSocket` sends a key over HTTP/2 and checks the accept key. Its HTTP/2 connection
/// does not keep the process alive.
const NODE: &str = "const alive = setInterval(() => {}, 1000);
const over = (text) => { console.log(text); process.exit(); };
const socket = new WebSocket(process.argv[1]);
socket.onopen = () => socket.send('hello');
socket.onmessage = (event) => over(event.data);
socket.onerror = (event) => over('error: ' + event.message);";

/// The same, which closes after the first message and prints how that ended.
const CLOSING_NODE: &str = "const alive = setInterval(() => {}, 1000);
const over = (text) => { console.log(text); process.exit(); };
const socket = new WebSocket(process.argv[1]);
socket.onopen = () => socket.send('hello');
socket.onmessage = () => socket.close(1000, 'bye');
socket.onclose = (event) => over(event.code + ' ' + event.reason + ' ' + event.wasClean);
socket.onerror = (event) => over('error: ' + event.message);";

/// Node 26 neither ends nor resets its side of the stream after both Close frames and our `END_STREAM`, so
/// that `timeouts.close` ends the session. Its Close handshake was complete all the same.
#[tokio::test]
async fn nodes_own_websocket_is_closed_in_order() {
    let Some(install) = installed() else {
        return skip(
            "http2: a Close of Node's own WebSocket",
            "Node is not installed: run make fetch",
        );
    };
    let peer = echo::start(&Via::Plain).await;
    let tap = before(&peer).set("timeouts.close", "500ms").start().await;
    let url = format!("wss://localhost:{}/ws", tap.addr(Face::Tls).port());
    let mut node = tokio::process::Command::new(&install.node);
    node.env("NODE_EXTRA_CA_CERTS", tap.dev_ca())
        .args(["-e", CLOSING_NODE, &url])
        .kill_on_drop(true);
    let output = within("Node", node.output()).await.expect("run Node");
    let said = String::from_utf8_lossy(&output.stdout);
    let record = tap.websocket().await;
    assert_eq!(rule(&record), "ok.client_closed");
    let ends = &record.close.transport;
    assert_eq!(ends.gateway, TransportEnd::Fin);
    // The gateway ended its side at once: nothing of the tap's held that up.
    let closed = record.close.gateway.as_ref().expect("a Close").at;
    let ended = ends.gateway_at.expect("a time");
    assert!(ended.millis_since(closed) < 400, "{:?}", record.close);
    match record.close.timer {
        Some(timer) => {
            assert_eq!((timer.key, timer.limit_ms), (TimerKey::Close, 500));
            assert_eq!(ends.client, TransportEnd::Local);
        }
        // A Node that ends its side.
        None => assert_eq!(ends.client, TransportEnd::Fin),
    }
    assert_eq!(said, "1000 bye true\n");
}

#[tokio::test]
async fn nodes_own_websocket_comes_in_a_stream() {
    let Some(install) = installed() else {
        skip(
            "http2: Node's own WebSocket",
            "Node is not installed: run make fetch",
        );
        return;
    };
    let peer = echo::start(&Via::Plain).await;
    let tap = tap_before(&peer).await;
    let url = format!("wss://localhost:{}/ws", tap.addr(Face::Tls).port());
    let mut node = tokio::process::Command::new(&install.node);
    node.env("NODE_EXTRA_CA_CERTS", tap.dev_ca())
        .args(["-e", NODE, &url])
        .kill_on_drop(true);
    let output = within("Node", node.output()).await.expect("run Node");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "hello\n");
    let record = tap.websocket().await;
    let request = record.request.as_ref().unwrap();
    assert_eq!(request.http_version, "HTTP/2.0");
    assert_eq!(record.frames.as_ref().unwrap().to_client.messages, 1);
}

#[tokio::test]
async fn a_close_of_the_gateway_passes() {
    let peer = close_code::start(&Via::Plain, Some(4008), "slow", close_code::After::Echo).await;
    let tap = tap_before(&peer).await;
    let mut client = Http2::connect(&tap).await;
    let mut socket = client.open("/", &[]).await;
    assert_eq!(socket.frame().await.unwrap(), Frame::close(4008, "slow"));
    socket.send_masked(Frame::close(4008, "")).await;
    assert_eq!(socket.frame().await, Err(StreamEnd::EndStream));
    socket.finish();
    let record = tap.websocket().await;
    assert_eq!(class(&record), Class::GatewayClosed, "{}", rule(&record));
}

#[tokio::test]
async fn end_stream_is_fin_and_a_reset_is_a_reset() {
    for (orderly, end, seen) in [
        (true, TransportEnd::Fin, "client.left.open"),
        (false, TransportEnd::Rst, "client.left.stream"),
    ] {
        let (peer, control) = tunnel::start(&Via::Plain).await;
        let tap = tap_before(&peer).await;
        let mut client = Http2::connect(&tap).await;
        let mut socket = client.open("/", &[]).await;
        socket.send_masked(Frame::text("here")).await;
        peer.log.bytes(0, 1).await;
        if orderly {
            socket.finish();
        } else {
            socket.reset(Reason::CANCEL);
        }
        let wanted = if orderly { Ending::Fin } else { Ending::Rst };
        assert_eq!(peer.log.ending(0).await, wanted);
        if orderly {
            control.send(Do::Finish).unwrap();
            assert_eq!(socket.frame().await, Err(StreamEnd::EndStream));
        }
        let record = tap.websocket().await;
        assert_eq!(record.close.transport.client, end);
        let reset = record.close.transport.client_reset;
        assert_eq!(reset, (!orderly).then_some(StreamReset::Cancel));
        assert_eq!(rule(&record), seen);
    }
}

#[tokio::test]
async fn a_gateway_that_vanishes_is_told_by_a_reset_or_by_the_streams_end() {
    for order in [Do::Abort, Do::Finish] {
        let aborts = matches!(order, Do::Abort);
        let (peer, control) = tunnel::start(&Via::Plain).await;
        let tap = tap_before(&peer).await;
        let mut client = Http2::connect(&tap).await;
        let mut socket = client.open("/", &[]).await;
        socket.send_masked(Frame::text("here")).await;
        peer.log.bytes(0, 1).await;
        control.send(order).unwrap();
        let ended = socket.frame().await;
        if aborts {
            assert_eq!(ended, Err(StreamEnd::Reset(Reason::CANCEL)));
        } else {
            assert_eq!(ended, Err(StreamEnd::EndStream));
            socket.finish();
        }
        let record = tap.websocket().await;
        assert_eq!(class(&record), Class::GatewayLeft, "{}", rule(&record));
    }
}

#[tokio::test]
async fn the_connections_end_is_the_end_of_its_tunnels() {
    let peer = echo::start(&Via::Plain).await;
    let tap = tap_before(&peer).await;
    let mut client = Http2::connect(&tap).await;
    let mut socket = client.open("/", &[]).await;
    socket.send_masked(Frame::text("here")).await;
    socket.frame().await.unwrap();
    client.vanish();
    let record = tap.websocket().await;
    assert_eq!(class(&record), Class::ClientLeft, "{}", rule(&record));
}

#[tokio::test]
async fn refusals_of_the_gateway_pass_with_status_and_body() {
    let headers = [("Content-Type", "text/plain")];
    let peer = ok_instead_of_101::answer(&Via::Plain, "403 Forbidden", &headers, "not you").await;
    let tap = tap_before(&peer).await;
    let mut client = Http2::connect(&tap).await;
    let answer = client.connect_websocket("/", &[]).await;
    let answer = whole(answer.expect("a refusal")).await;
    assert_eq!(
        (answer.status.as_u16(), answer.text().as_str()),
        (403, "not you")
    );
    let record = tap.websocket().await;
    assert_eq!(record.answer.as_ref().unwrap().status, 403);
    let peer = wrong_accept_key::start(&Via::Plain).await;
    let tap = tap_before(&peer).await;
    let mut client = Http2::connect(&tap).await;
    let answer = client.connect_websocket("/", &[]).await;
    assert_eq!(answer.expect("a refusal").status().as_u16(), 502);
    tap.websocket().await;
}

#[tokio::test]
async fn a_wrong_origin_is_refused_in_both_ways() {
    let peer = echo::start(&Via::Plain).await;
    let origin = [("origin", "https://evil.example")];
    for with in ["http", "close"] {
        let tap = before(&peer)
            .set("origins.allowed", vec!["https://good.example"])
            .set("origins.deny_with", with)
            .start()
            .await;
        let mut client = Http2::connect(&tap).await;
        if with == "http" {
            let answer = client.connect_websocket("/", &origin).await;
            let answer = whole(answer.expect("a refusal")).await;
            assert_eq!(answer.status.as_u16(), 403);
            assert!(answer.text().contains("https://evil.example"));
            assert!(answer.text().contains("origins: { allowed:"));
        } else {
            let mut socket = client.open("/", &origin).await;
            let (code, reason) = socket.frame().await.unwrap().as_close().unwrap();
            assert_eq!(code, Some(1008));
            assert!(reason.starts_with("wstap: origin"), "{reason}");
            socket.send_masked(Frame::close(1008, "")).await;
            assert_eq!(socket.frame().await, Err(StreamEnd::EndStream));
        }
        let record = tap.websocket().await;
        assert_eq!(class(&record), Class::TapDenied, "{}", rule(&record));
    }
    assert_eq!(peer.log.requests(), 0);
}

#[tokio::test]
async fn off_it_is_not_offered_and_other_protocols_are_refused() {
    let peer = http_plain::start(&Via::Plain).await;
    let tap = tap_before(&peer).await;
    let mut client = Http2::connect(&tap).await;
    let (answer, _send) = client.extended("/", "connect-udp", &[]).await;
    let answer = within("an answer", answer).await.unwrap();
    assert_eq!(answer.status().as_u16(), 501);
    let refused = |kind| {
        move |record: &wstap::session::SessionRecord| {
            let refused = record.close.refused.as_ref();
            refused.is_some_and(|it| it.kind == kind)
        }
    };
    let kind = wstap::session::record::HeadFault::ConnectProtocol;
    tap.wait_for("the refusal", refused(kind)).await;
    assert_eq!(peer.log.requests(), 0);
}

#[tokio::test]
async fn a_client_that_does_not_read_slows_its_gateway_and_nobody_else() {
    let (peer, control) = tunnel::start(&Via::Plain).await;
    let tap = tap_before(&peer).await;
    // A connection whose window is larger than that of one stream, as browsers have it.
    let mut builder = h2::client::Builder::new();
    builder.initial_connection_window_size(1 << 20);
    let mut client = Http2::with(&tap, builder).await;
    let _slow = client.open("/", &[]).await;
    let before = tap.resident_kib();
    let piece = Frame::binary(vec![1; 1 << 20]).to_bytes();
    for _ in 0..64 {
        control.send(Do::Send(piece.clone())).unwrap();
    }
    // The other stream is served, although 64 MiB wait for the first one.
    let answer = client.get("/other", &[("host", "else.example")]).await;
    assert_eq!(answer.status.as_u16(), 400);
    let grown = tap.resident_kib().saturating_sub(before);
    assert!(grown < 16 * 1024, "{grown} KiB");
}

#[tokio::test]
async fn a_gateway_that_does_not_read_slows_its_client() {
    let peer = never_reads::start(&Via::Plain).await;
    let tap = tap_before(&peer).await;
    let mut client = Http2::connect(&tap).await;
    let mut socket = client.open("/", &[]).await;
    let before = tap.resident_kib();
    let frame = Frame::binary(vec![1; 64 << 20]).masked().to_bytes();
    let mut sent = 0;
    let stuck = poll(STEP / 5, || {
        socket.send.reserve_capacity(1 << 20);
        let room = socket.send.capacity().min(frame.len() - sent);
        if room > 0 {
            let now = Bytes::copy_from_slice(&frame[sent..sent + room]);
            socket.send.send_data(now, false).unwrap();
            sent += room;
        }
        (sent == frame.len()).then_some(())
    })
    .await;
    assert!(stuck.is_none(), "all of it went out");
    let grown = tap.resident_kib().saturating_sub(before);
    assert!(grown < 16 * 1024, "{grown} KiB");
    // The others are not stuck with it.
    let other = client.get("/other", &[("host", "else.example")]).await;
    assert_eq!(other.status.as_u16(), 400);
    socket.reset(Reason::CANCEL);
    let record = tap.websocket().await;
    assert_eq!(record.kind, Kind::Websocket);
    assert_eq!(record.close.transport.client, TransportEnd::Rst);
}

#[tokio::test]
async fn a_hundred_tunnels_share_a_connection() {
    let peer = echo::start(&Via::Plain).await;
    let tap = tap_before(&peer).await;
    let mut client = Http2::connect(&tap).await;
    let mut sockets = Vec::new();
    for _ in 0..100 {
        sockets.push(client.open("/", &[]).await);
    }
    for (number, socket) in sockets.iter_mut().enumerate() {
        socket.send_masked(Frame::text(&number.to_string())).await;
    }
    for (number, socket) in sockets.iter_mut().enumerate() {
        let wanted = Frame::text(&number.to_string());
        assert_eq!(socket.frame().await.unwrap(), wanted);
        socket.send_masked(Frame::close(1000, "")).await;
    }
    let records = tap.websockets(100).await;
    assert!(records.iter().all(|record| class(record) == Class::Ok));
}
