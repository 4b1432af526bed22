//! What passes the tap is what was sent: byte for byte, at once, in both directions.

use wstap::session::party::Phase;
use wstap::session::record::Class;

use crate::peers::tunnel::Do;
use crate::peers::{
    Via, early_bytes, echo, huge_declared_length, slow_frame, tls, tunnel, unix_socket,
};
use crate::support::certs::Validity;
use crate::support::deadline::within;
use crate::support::dice::Dice;
use crate::support::frame::{BINARY, CONTINUATION, Frame, PING, PONG, TEXT};
use crate::support::head;
use crate::support::records::class;
use crate::support::tap::{Face, Setup};

/// Frames of every kind but Close, well-formed, about `volume` bytes of them.
fn random_frames(dice: &mut Dice, volume: usize, client: bool) -> Vec<Frame> {
    let mut frames = Vec::new();
    let mut size = 0;
    while size < volume {
        let parts = if dice.one_in(4) { 2 + dice.below(3) } else { 1 };
        let first = if dice.one_in(2) { TEXT } else { BINARY };
        for part in 0..parts {
            if dice.one_in(6) {
                let opcode = if dice.one_in(2) { PING } else { PONG };
                let len = dice.below(126);
                frames.push(Frame::new(opcode, dice.bytes(len)));
            }
            let longest = [1, 126, 300, 5_000, 70_000][dice.below(5)];
            let len = dice.below(longest);
            // Printable, so that a text frame is valid UTF-8 wherever it is cut.
            let payload = dice
                .bytes(len)
                .iter()
                .map(|byte| b' ' + byte % 90)
                .collect::<Vec<u8>>();
            let mut data = Frame::new(if part == 0 { first } else { CONTINUATION }, payload);
            data.fin = part + 1 == parts;
            size += len + 14;
            frames.push(data);
        }
    }
    if client {
        let keys = frames.into_iter().map(|frame| {
            let key = u32::try_from(dice.next() >> 32)
                .expect("32 bits")
                .to_be_bytes();
            frame.masked_with(key)
        });
        return keys.collect();
    }
    frames
}

fn wire(frames: &[Frame]) -> Vec<u8> {
    frames.iter().flat_map(Frame::to_bytes).collect()
}

async fn bytes_are_identical(face: Face, via: &Via, setup: impl FnOnce(Setup) -> Setup) {
    let mut dice = Dice::seeded("bytes_are_identical");
    let (peer, control) = tunnel::start(via).await;
    let tap = setup(Setup::before(&peer)).start().await;
    let mut conn = tap.connect(face).await;
    conn.open("/ws?x=1").await;

    let up = random_frames(&mut dice, 2 << 20, true);
    let down = random_frames(&mut dice, 2 << 20, false);
    let (up_bytes, down_bytes) = (wire(&up), wire(&down));
    for piece in dice.split(&down_bytes, 40_000) {
        control.send(Do::Send(piece)).expect("the peer lives");
    }
    // The client reads and writes in turns, a piece at a time: both directions are busy.
    let mut got = Vec::new();
    for piece in dice.split(&up_bytes, 40_000) {
        conn.send(&piece).await.expect("the tap takes it");
        if got.len() < down_bytes.len() {
            got.extend(conn.exactly(1).await.expect("a byte"));
            got.append(&mut conn.buf);
        }
    }
    let rest = down_bytes.len() - got.len();
    got.extend(conn.exactly(rest).await.expect("the rest"));
    assert!(
        got == down_bytes,
        "to the client: {} bytes differ",
        got.len()
    );
    let seen = peer.log.bytes(0, up_bytes.len()).await;
    assert!(
        seen == up_bytes,
        "to the gateway: {} of {} bytes",
        seen.len(),
        up_bytes.len()
    );

    conn.send_masked(Frame::close(1000, "done"))
        .await
        .expect("send Close");
    control
        .send(Do::Send(Frame::close(1000, "done").to_bytes()))
        .expect("the peer lives");
    control.send(Do::Finish).expect("the peer lives");
    assert_eq!(
        conn.frame().await.expect("Close"),
        Frame::close(1000, "done")
    );
    conn.finish().await;
    drop(conn);

    let record = tap.websocket().await;
    let frames = record.frames.as_ref().expect("a tunnel");
    let close = 2 + 4;
    assert_eq!(
        frames.to_gateway.wire_bytes,
        (up_bytes.len() + 4 + 2 + close) as u64
    );
    assert_eq!(
        frames.to_client.wire_bytes,
        (down_bytes.len() + 2 + close) as u64
    );
    for (facts, sent) in [(&frames.to_gateway, &up), (&frames.to_client, &down)] {
        assert!(
            facts.violations.is_empty() && !facts.lost_sync,
            "{:?}",
            facts.violations
        );
        let count = |opcode| sent.iter().filter(|frame| frame.opcode == opcode).count() as u64;
        assert_eq!(facts.opcodes.text, count(TEXT));
        assert_eq!(facts.opcodes.binary, count(BINARY));
        assert_eq!(facts.opcodes.continuation, count(CONTINUATION));
        assert_eq!(facts.opcodes.ping, count(PING));
        assert_eq!(facts.opcodes.pong, count(PONG));
        assert_eq!(facts.opcodes.close, 1);
        let payload: usize = sent.iter().map(|frame| frame.payload.len()).sum();
        assert_eq!(facts.payload_bytes, (payload + close) as u64);
    }
    assert_eq!((record.phase, class(&record)), (Phase::Closing, Class::Ok));
}

#[tokio::test]
async fn bytes_are_identical_plain_to_plain() {
    bytes_are_identical(Face::Plain, &Via::Plain, |setup| setup).await;
}

#[tokio::test]
async fn bytes_are_identical_tls_to_plain() {
    bytes_are_identical(Face::Tls, &Via::Plain, |setup| setup).await;
}

#[tokio::test]
async fn bytes_are_identical_tls_to_tls() {
    let (ca, via) = tls::via(&["gateway.test"], Validity::Now);
    let setup = |setup: Setup| setup.gateway_ca(&ca, "gateway.test");
    bytes_are_identical(Face::Tls, &via, setup).await;
}

#[tokio::test]
async fn bytes_are_identical_to_a_unix_socket() {
    bytes_are_identical(Face::Plain, &Via::Unix, |setup| setup).await;
}

#[tokio::test]
async fn the_upgrade_reaches_the_gateway_as_it_was_sent() {
    let peer = echo::start(&Via::Plain).await;
    let tap = Setup::before(&peer).start().await;
    let mut conn = tap.connect(Face::Plain).await;
    let more = [
        ("Origin", "https://claw.example.com"),
        ("Sec-WebSocket-Protocol", "chat.v2, chat.v1"),
        (
            "Sec-WebSocket-Extensions",
            "permessage-deflate; client_max_window_bits",
        ),
        ("Cookie", "a=1; b=2"),
        ("X-Custom", "one"),
        ("X-Custom", "two"),
    ];
    conn.send(&head::upgrade(
        "/some/path?q=1&q=2",
        "claw.example.com:8443",
        &more,
    ))
    .await
    .unwrap();
    let answer = conn.head().await.unwrap();
    assert_eq!(answer.status(), 101, "{}", answer.text());
    assert_eq!(
        answer.value("sec-websocket-protocol").as_deref(),
        Some("chat.v2")
    );
    assert_eq!(answer.value("sec-websocket-extensions"), None);
    let session = answer.value("x-wstap-session").expect("the session's id");

    let seen = peer.log.head(0).await;
    assert_eq!(seen.first_line(), "GET /some/path?q=1&q=2 HTTP/1.1");
    assert_eq!(seen.values("host"), ["claw.example.com:8443"]);
    for (name, value) in more.iter().filter(|(name, _)| *name != "X-Custom") {
        assert_eq!(seen.values(name), [*value], "{name}");
    }
    assert_eq!(seen.values("x-custom"), ["one", "two"]);
    assert_eq!(seen.values("sec-websocket-version"), ["13"]);
    assert_eq!(
        seen.values("upgrade").join(",").to_ascii_lowercase(),
        "websocket"
    );
    assert_eq!(
        seen.values("connection").join(",").to_ascii_lowercase(),
        "upgrade"
    );
    // A loopback client of a loopback gateway stays one: nothing is added.
    for name in [
        "forwarded",
        "x-forwarded-for",
        "x-forwarded-proto",
        "x-real-ip",
    ] {
        assert!(seen.values(name).is_empty(), "{name} was added");
    }
    drop(conn);
    let record = tap.websocket().await;
    assert_eq!(record.id.to_string(), session);
    let request = record.request.as_ref().expect("a request");
    assert_eq!(
        request.host.as_ref().expect("Host").as_str(),
        "claw.example.com:8443"
    );
}

#[tokio::test]
async fn early_bytes_of_both_sides_belong_to_the_stream() {
    for face in Face::BOTH {
        let hello = [Frame::text("early one"), Frame::text("early two")];
        let peer = early_bytes::start(&Via::Plain, &hello).await;
        let tap = Setup::before(&peer).start().await;
        let mut conn = tap.connect(face).await;
        // The client, too, sends its first frame in the same segment as the head.
        let mut glued = head::upgrade("/", "localhost", &[]);
        glued.extend(Frame::text("too early").masked().to_bytes());
        conn.send(&glued).await.unwrap();
        assert_eq!(conn.head().await.unwrap().status(), 101);
        for frame in &hello {
            assert_eq!(conn.frame().await.unwrap(), *frame);
        }
        assert_eq!(peer.log.data(0).await.as_text(), "too early");
        drop(conn);
        let record = tap.websocket().await;
        let frames = record.frames.expect("a tunnel");
        assert_eq!(
            (frames.to_client.messages, frames.to_gateway.messages),
            (2, 1)
        );
    }
}

#[tokio::test]
async fn no_frame_is_waited_for() {
    let frame = Frame::binary(vec![7; 1 << 20]);
    let pieces = 64;
    let peer = slow_frame::start(&Via::Plain, &frame, pieces).await;
    let tap = Setup::before(&peer)
        .set("timeouts.idle", "2s")
        .start()
        .await;
    let mut conn = tap.connect(Face::Tls).await;
    conn.open("/").await;
    let bytes = frame.to_bytes();
    let mut got = Vec::new();
    for piece in bytes.chunks(bytes.len().div_ceil(pieces)) {
        peer.go();
        got.extend(
            conn.exactly(piece.len())
                .await
                .expect("the piece, before the next is sent"),
        );
        assert!(conn.buf.is_empty());
    }
    assert!(got == bytes);
}

#[tokio::test]
async fn absurd_lengths_pass_and_are_noted() {
    for declared in [huge_declared_length::LARGEST, huge_declared_length::TOP_BIT] {
        let peer = huge_declared_length::start(&Via::Plain, declared).await;
        let tap = Setup::before(&peer).start().await;
        let before = tap.resident_kib();
        let mut conn = tap.connect(Face::Plain).await;
        conn.open("/").await;
        let bytes = conn
            .exactly(10 + huge_declared_length::PAYLOAD.len())
            .await
            .unwrap();
        assert_eq!(bytes[2..10], declared.to_be_bytes());
        assert_eq!(&bytes[10..], huge_declared_length::PAYLOAD);
        assert!(tap.resident_kib() < before + 16 * 1024);
        drop(conn);
        let record = tap.websocket().await;
        let facts = record.frames.expect("a tunnel").to_client;
        let noted = serde_json::to_value(&facts.violations).unwrap();
        if declared == huge_declared_length::TOP_BIT {
            assert!(noted.to_string().contains("length_msb"), "{noted}");
        } else {
            let open = facts.in_progress.expect("an unfinished frame");
            assert_eq!((open.declared, open.seen), (declared, 13));
        }
    }
}

#[tokio::test]
async fn a_unix_socket_gateway_works() {
    let peer = unix_socket::start().await;
    let tap = Setup::before(&peer).start().await;
    let mut conn = tap.connect(Face::Tls).await;
    conn.open("/").await;
    conn.send_masked(Frame::text("over the socket"))
        .await
        .unwrap();
    assert_eq!(conn.frame().await.unwrap().as_text(), "over the socket");
}

#[tokio::test]
async fn a_dribbled_upgrade_is_an_upgrade() {
    let peer = echo::start(&Via::Plain).await;
    let tap = Setup::before(&peer).start().await;
    let mut conn = tap.connect(Face::Plain).await;
    let mut bytes = head::upgrade("/", "localhost", &[]);
    bytes.extend(Frame::text("drop by drop").masked().to_bytes());
    let mut dribble = crate::support::client::Dribble::new(bytes);
    within("the dribble", dribble.pour(&mut conn)).await;
    assert_eq!(conn.head().await.unwrap().status(), 101);
    assert_eq!(conn.frame().await.unwrap().as_text(), "drop by drop");
    assert_eq!(peer.log.requests(), 1);
}

#[tokio::test]
async fn a_busy_session_does_not_starve_another() {
    let peer = echo::start(&Via::Plain).await;
    let tap = Setup::before(&peer).start().await;
    let mut busy = tap.connect(Face::Plain).await;
    busy.open("/").await;
    let mut quiet = tap.connect(Face::Tls).await;
    quiet.open("/").await;
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let flood = tokio::spawn(async move {
        let mut stopped = stopped;
        let mut rounds = 0u32;
        while stopped.try_recv() == Err(tokio::sync::oneshot::error::TryRecvError::Empty) {
            busy.send_masked(Frame::binary(vec![7; 1 << 20]))
                .await
                .unwrap();
            busy.frame().await.unwrap();
            rounds += 1;
        }
        rounds
    });
    for turn in 0..50u8 {
        quiet.send_masked(Frame::binary(vec![turn])).await.unwrap();
        assert_eq!(quiet.frame().await.unwrap().payload, [turn]);
    }
    stop.send(()).unwrap();
    assert!(flood.await.unwrap() > 0);
}
