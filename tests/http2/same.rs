//! The same session over HTTP/1.1 and over HTTP/2 has the same verdict and the same statistics.

use serde_json::Value;
use wstap::session::SessionRecord;

use crate::peers::{Peer, Via, close_code, echo, fin_without_close, openclaw};
use crate::support::frame::Frame;
use crate::support::http2::Http2;
use crate::support::records::rule;
use crate::support::tap::{Face, Setup, Tap};

/// The client's part: frames that it sends, each once this many frames have come.
struct Part {
    name: &'static str,
    sends: Vec<(usize, Frame)>,
}

async fn over_http1(tap: &Tap, part: &Part) {
    let mut conn = tap.connect(Face::Tls).await;
    conn.open("/").await;
    let mut came = 0;
    for (after, frame) in &part.sends {
        while came < *after {
            conn.frame().await.unwrap();
            came += 1;
        }
        conn.send_masked(frame.clone()).await.unwrap();
    }
    conn.frames_to_end().await;
    conn.finish().await;
}

async fn over_http2(tap: &Tap, part: &Part) {
    let mut client = Http2::connect(tap).await;
    let mut socket = client.open("/", &[]).await;
    let mut came = 0;
    for (after, frame) in &part.sends {
        while came < *after {
            socket.frame().await.unwrap();
            came += 1;
        }
        socket.send_masked(frame.clone()).await;
    }
    while socket.frame().await.is_ok() {}
    // Refused where the gateway has reset it.
    let _ = socket.send.send_data(bytes::Bytes::new(), true);
}

/// What must not depend on how the client came. A TLS connection ends with `close_notify` where
/// a stream ends with `END_STREAM`.
fn essence(record: &SessionRecord) -> Value {
    let mut value = serde_json::to_value(record).unwrap();
    let verdict = &record.verdict.as_ref().unwrap();
    let frames = value["frames"].take();
    let mut of = Vec::new();
    for direction in ["to_gateway", "to_client"] {
        let one = &frames[direction];
        for key in [
            "opcodes",
            "messages",
            "wire_bytes",
            "payload_bytes",
            "violations",
        ] {
            of.push(one[key].clone());
        }
    }
    let close = value["close"].take();
    serde_json::json!({
        "rule": verdict.rule,
        "party": verdict.party,
        "summary": verdict.summary,
        "kind": value["kind"],
        "phase": value["phase"],
        "frames": of,
        "client": close["client"]["code"],
        "gateway": close["gateway"]["code"],
        "client_saw": close["client_saw"]["code"],
        "gateway_saw": close["gateway_saw"]["code"],
        "first": close["first"],
        "dialect": value["dialect"]["result"],
    })
}

async fn compare(setup: impl Fn() -> Setup, part: &Part) {
    let tap = setup().set("http2.websocket", true).start().await;
    let mut seen = 0;
    over_http1(&tap, part).await;
    let one = tap.newest(&mut seen).await;
    over_http2(&tap, part).await;
    let two = tap.newest(&mut seen).await;
    assert_ne!(rule(&one), "unknown", "{}", part.name);
    assert_eq!(essence(&two), essence(&one), "{}", part.name);
}

fn part(name: &'static str, sends: Vec<(usize, Frame)>) -> Part {
    Part { name, sends }
}

#[tokio::test]
async fn plain_sessions() {
    let peers: [(Peer, Part); 4] = [
        (
            echo::start(&Via::Plain).await,
            part(
                "closed by the client",
                vec![
                    (0, Frame::text("one")),
                    (1, Frame::ping(b"x")),
                    (2, Frame::close(1000, "bye")),
                ],
            ),
        ),
        (
            echo::start(&Via::Plain).await,
            part(
                "a code of the client's own",
                vec![(0, Frame::text("one")), (1, Frame::close(4001, "mine"))],
            ),
        ),
        (
            close_code::start(&Via::Plain, Some(1011), "broken", close_code::After::Echo).await,
            part("closed by the gateway", vec![(1, Frame::close(1011, ""))]),
        ),
        (
            fin_without_close::start(&Via::Plain).await,
            part("the gateway left", Vec::new()),
        ),
    ];
    for (peer, part) in &peers {
        peer.go();
        peer.go();
        compare(|| Setup::before(peer), part).await;
    }
}

#[tokio::test]
async fn openclaw_sessions() {
    for (name, token, last) in [
        ("accepted", openclaw::TOKEN, (2, Frame::close(1000, ""))),
        (
            "refused",
            "a-token-that-is-wrong",
            (3, Frame::close(1008, "")),
        ),
    ] {
        let gateway = openclaw::Gateway::start(&Via::Plain, openclaw::Script::default()).await;
        let request = openclaw::connect_request(&serde_json::json!({ "token": token }));
        let part = part(name, vec![(1, request), last]);
        compare(|| Setup::before(&gateway.peer).openclaw(), &part).await;
    }
}
