//! What no client should send: floods, malformed frames, and requests that HTTP/1 could read as
//! two. Each is bounded and recorded, and the gateway sees whole requests or none.

use std::time::Duration;

use h2::Reason;
use wstap::session::SessionRecord;
use wstap::session::record::{Class, HeadFault, Http2Error, Kind};

use crate::peers::node_recorder::{NodeRecorder, Upgrades};
use crate::peers::{Via, http_plain, never_answers};
use crate::support::client;
use crate::support::deadline::{STEP, poll, within};
use crate::support::http2::{
    CONTINUATION, END_HEADERS, END_STREAM, GOAWAY, HEADERS, Http2, PING, RST_STREAM, Raw, SETTINGS,
    block, frame, offering,
};
use crate::support::records::{class, rule};
use crate::support::tap::{Face, Setup, Tap};

const PROTOCOL_ERROR: u32 = 1;
const ENHANCE_YOUR_CALM: u32 = 11;

fn fault(record: &SessionRecord) -> Option<HeadFault> {
    record.close.refused.as_ref().map(|refused| refused.kind)
}

async fn with_rule(tap: &Tap, wanted: &str) -> SessionRecord {
    tap.wait_for(wanted, |record| rule(record) == wanted).await
}

#[tokio::test]
async fn the_preface_where_http1_is_spoken_is_refused_in_words() {
    let peer = http_plain::start(&Via::Plain).await;
    let tap = Setup::before(&peer).start().await;
    let mut plain = tap.connect(Face::Plain).await;
    let addr = tap.addr(Face::Tls);
    let mut secure = client::connect_tls(addr, &offering(&tap, b"http/1.1")).await;
    for (number, conn) in [&mut plain, &mut secure].into_iter().enumerate() {
        conn.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
            .await
            .unwrap();
        let head = conn.head().await.unwrap();
        assert_eq!(head.status(), 400);
        let body = String::from_utf8(conn.body(&head).await.unwrap()).unwrap();
        assert!(body.contains("HTTP/2 preface"), "{body}");
        let refused = |record: &SessionRecord| rule(record) == "client.fault.http2_preface";
        let enough =
            || (tap.records().iter().filter(|it| refused(it)).count() > number).then_some(());
        poll(STEP, enough).await.expect("a record of it");
    }
    assert_eq!(peer.log.requests(), 0);
}

#[tokio::test]
async fn what_is_no_http2_after_alpn_is_recorded() {
    let peer = http_plain::start(&Via::Plain).await;
    let tap = Setup::before(&peer).start().await;
    let mut raw = Raw::bare(&tap).await;
    let request = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n";
    raw.conn.send(request).await.unwrap();
    while raw.next().await.is_some() {}
    let record = with_rule(&tap, "client.fault.http2").await;
    assert_eq!(record.kind, Kind::Connection);
    assert_eq!(fault(&record), Some(HeadFault::Http2Connection));
}

#[tokio::test]
async fn malformed_requests_reach_no_gateway_and_have_records() {
    let peer = http_plain::start(&Via::Plain).await;
    let tap = Setup::before(&peer).start().await;
    let bad: [&[(&[u8], &[u8])]; 21] = [
        &[(b"connection", b"close")],
        &[(b"transfer-encoding", b"chunked")],
        &[(b"upgrade", b"websocket")],
        &[(b"te", b"gzip")],
        &[(b"X-Upper", b"1")],
        &[(b"x-a", b"b\r\nx-smuggled: 1")],
        &[(b"x-a", b"b\nx-smuggled: 1")],
        &[(b"x-a", b"\0")],
        &[(b"x-a\r\nx-b", b"1")],
        &[(b"x-a", b" b")],
        &[(b":path", b"/ HTTP/1.1\r\nx-smuggled: 1")],
        &[(b":path", b"/a b")],
        &[(b":path", b"a")],
        &[(b":path", b"")],
        &[(b":path", b"http://else.example/")],
        &[(b":method", b"GET / HTTP/1.1\r\nx: y")],
        &[(b":method", b"CONNECT")],
        &[(b":authority", b"user@localhost")],
        &[(b":authority", b"a b")],
        &[(b"host", b"else.example")],
        &[(b":scheme", b"ftp")],
    ];
    for (number, fields) in bad.iter().enumerate() {
        let mut raw = Raw::connect(&tap).await;
        raw.request(1, fields).await;
        let shown: Vec<_> = fields
            .iter()
            .map(|(name, value)| {
                (
                    String::from_utf8_lossy(name),
                    String::from_utf8_lossy(value),
                )
            })
            .collect();
        let answer = raw.verdict(1).await;
        let refused = match answer.kind {
            RST_STREAM | GOAWAY => answer.code() != 0,
            // A status of 400 is in the static table (RFC 7541 appendix A).
            _ => answer.payload.first() == Some(&0x8c),
        };
        assert!(refused, "{shown:?}: {answer:?}");
        drop(raw);
        let all = tap.wait_for_count(number + 1).await;
        let last = all.last().unwrap();
        assert_eq!(class(last), Class::ClientFault, "{shown:?}: {}", rule(last));
    }
    assert_eq!(peer.log.requests(), 0);
}

/// The library cuts a fragment off before anybody sees it; only the rest is recorded and goes out.
#[tokio::test]
async fn a_fragment_goes_nowhere() {
    let peer = http_plain::start(&Via::Plain).await;
    let tap = Setup::before(&peer).start().await;
    let mut raw = Raw::connect(&tap).await;
    raw.request(1, &[(b":path", b"/a#/../b HTTP/1.1")]).await;
    raw.verdict(1).await;
    assert_eq!(peer.log.head(0).await.first_line(), "GET /a HTTP/1.1");
    let records = tap.wait_for_count(1).await;
    assert_eq!(records[0].request.as_ref().unwrap().path.as_str(), "/a");
}

#[tokio::test]
async fn a_connection_survives_a_malformed_request() {
    let peer = http_plain::start(&Via::Plain).await;
    let tap = Setup::before(&peer).start().await;
    let mut raw = Raw::connect(&tap).await;
    raw.request(1, &[(b"connection", b"close")]).await;
    let answer = raw.verdict(1).await;
    assert_eq!((answer.kind, answer.code()), (RST_STREAM, PROTOCOL_ERROR));
    raw.request(3, &[]).await;
    let answer = raw.verdict(3).await;
    assert_eq!(
        (answer.kind, answer.payload.first()),
        (HEADERS, Some(&0x88))
    );
    let record = with_rule(&tap, "client.fault.http2").await;
    let http2 = record.client.http2.as_ref().unwrap();
    assert_eq!((http2.stream, http2.refused), (Some(1), 1));
}

#[tokio::test]
async fn bodies_that_lie_about_their_length_make_no_second_request() {
    let test = "http2: bodies that lie";
    let Some(node) = NodeRecorder::start(test, Upgrades::Refused(403)).await else {
        return;
    };
    let tap = Setup::before_url(&node.url()).start().await;
    let smuggled = b"GET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n";
    for length in ["0", "5", "1000"] {
        let mut raw = Raw::connect(&tap).await;
        let fields: [(&[u8], &[u8]); 5] = [
            (b":method", b"POST"),
            (b":scheme", b"https"),
            (b":authority", b"localhost"),
            (b":path", b"/outer"),
            (b"content-length", length.as_bytes()),
        ];
        let mut bytes = frame(HEADERS, END_HEADERS, 1, &block(&fields));
        bytes.extend(frame(0, END_STREAM, 1, smuggled));
        raw.conn.send(&bytes).await.unwrap();
        let answer = raw.verdict(1).await;
        assert_eq!((answer.kind, answer.code()), (RST_STREAM, PROTOCOL_ERROR));
    }
    let mut client = Http2::connect(&tap).await;
    assert_eq!(client.get("/last", &[]).await.status.as_u16(), 200);
    let seen = node.settled().await;
    let urls: Vec<_> = seen.iter().map(|one| one.url.as_str()).collect();
    assert!(!urls.contains(&"/smuggled"), "{urls:?}");
    assert_eq!(urls.last(), Some(&"/last"));
    // Some are refused at their head, some in the middle of their body.
    let refused = || {
        let mut records = tap.records();
        records.retain(|it| fault(it) == Some(HeadFault::Http2Stream));
        let enough = records.iter().any(|it| it.kind == Kind::Http);
        enough.then_some(records)
    };
    let refused = poll(STEP, refused).await.expect("a record of a body");
    let code = |it: &SessionRecord| it.close.refused.as_ref()?.http2_error;
    let right = |it: &SessionRecord| code(it) == Some(Http2Error::ProtocolError);
    assert!(refused.iter().all(right), "{refused:#?}");
}

#[tokio::test]
async fn rapid_resets_end_the_connection_and_are_recorded_once() {
    let peer = never_answers::start(&Via::Plain).await;
    let tap = Setup::before(&peer).start().await;
    let before = tap.resident_kib();
    let mut raw = Raw::connect(&tap).await;
    let fields: [(&[u8], &[u8]); 4] = [
        (b":method", b"GET"),
        (b":scheme", b"https"),
        (b":authority", b"localhost"),
        (b":path", b"/"),
    ];
    let block = block(&fields);
    let mut bytes = Vec::new();
    for number in 0..1000 {
        let stream = 2 * number + 1;
        bytes.extend(frame(HEADERS, END_HEADERS | END_STREAM, stream, &block));
        bytes.extend(frame(RST_STREAM, 0, stream, &8_u32.to_be_bytes()));
    }
    // GOAWAY may come before all is sent.
    let _ = raw.conn.send(&bytes).await;
    let goaway = raw.find("GOAWAY", |frame| frame.kind == GOAWAY).await;
    assert_eq!(goaway.code(), ENHANCE_YOUR_CALM);
    let record = with_rule(&tap, "client.fault.http2_flood").await;
    assert_eq!(record.kind, Kind::Connection);
    let floods = tap
        .records()
        .iter()
        .filter(|it| rule(it) == "client.fault.http2_flood")
        .count();
    assert_eq!(floods, 1);
    assert!(tap.records().len() < 400, "{}", tap.records().len());
    let grown = tap.resident_kib().saturating_sub(before);
    assert!(grown < 16 * 1024, "{grown} KiB");
    // Others are served.
    let mut client = Http2::connect(&tap).await;
    let other = client.get("/", &[("host", "else.example")]).await;
    assert_eq!(other.status.as_u16(), 400);
}

#[tokio::test]
async fn slow_resets_end_the_connection_too() {
    let peer = never_answers::start(&Via::Plain).await;
    let tap = Setup::before(&peer).start().await;
    let mut client = Http2::connect(&tap).await;
    let mut told = 0;
    for _ in 0..400 {
        let request = client.request("GET", "/", &[]);
        let Ok((mut answer, mut send)) = client.try_begin(request).await else {
            break;
        };
        tokio::select! {
            _ = peer.log.head(told) => told += 1,
            _ = &mut answer => break,
        }
        send.send_reset(Reason::CANCEL);
        drop(answer);
    }
    assert!(told < 400, "nobody minded");
    let ended = client.ended().await.unwrap_err();
    assert_eq!(ended.reason(), Some(Reason::ENHANCE_YOUR_CALM));
    let record = with_rule(&tap, "client.fault.http2_flood").await;
    assert!(record.client.http2.as_ref().unwrap().cancelled > 100);
}

#[tokio::test]
async fn header_floods_are_refused_by_size_by_count_and_by_continuation() {
    let peer = http_plain::start(&Via::Plain).await;
    let tap = Setup::before(&peer)
        .set("limits.head_bytes", "8KiB")
        .set("limits.headers", 20)
        .start()
        .await;
    let mut client = Http2::connect(&tap).await;
    let long = "x".repeat(9000);
    let answer = client.get("/bytes", &[("x-long", &long)]).await;
    assert_eq!(answer.status.as_u16(), 431);
    assert!(answer.text().contains("limits.head_bytes"));
    let many: Vec<_> = (0..30).map(|number| format!("x-{number}")).collect();
    let many: Vec<_> = many.iter().map(|name| (name.as_str(), "1")).collect();
    let answer = client.get("/count", &many).await;
    assert_eq!(answer.status.as_u16(), 431);
    assert!(answer.text().contains("limits.headers"));
    let denied = |key: &'static str| {
        move |record: &SessionRecord| {
            let denied = record.close.denied.as_ref();
            denied.is_some_and(|denied| denied.key.as_str() == key)
        }
    };
    tap.wait_for("the size", denied("limits.head_bytes")).await;
    tap.wait_for("the count", denied("limits.headers")).await;

    // So large that it is not read to its end.
    let mut raw = Raw::connect(&tap).await;
    let larger = vec![b'y'; 15_000];
    let two: [(&[u8], &[u8]); 2] = [(b"x-a", &larger), (b"x-b", b"1")];
    let mut bytes = frame(HEADERS, END_STREAM, 1, &block(&two[..1]));
    bytes.extend(frame(CONTINUATION, 0, 1, &block(&two[..1])));
    bytes.extend(frame(CONTINUATION, END_HEADERS, 1, &block(&two[1..])));
    raw.conn.send(&bytes).await.unwrap();
    let answer = raw.verdict(1).await;
    assert!(matches!(answer.kind, HEADERS | RST_STREAM | GOAWAY));
    let unread = |record: &SessionRecord| {
        let http2 = record.client.http2.as_ref();
        http2.is_some_and(|http2| http2.refused > 0)
            || rule(record).starts_with("client.fault.http2")
    };
    tap.wait_for("the head that was not read", unread).await;

    // Without end.
    let mut raw = Raw::connect(&tap).await;
    let mut bytes = frame(HEADERS, END_STREAM, 1, &block(&two[1..]));
    for _ in 0..1000 {
        bytes.extend(frame(CONTINUATION, 0, 1, &block(&two[1..])));
    }
    let _ = raw.conn.send(&bytes).await;
    let goaway = raw.find("GOAWAY", |frame| frame.kind == GOAWAY).await;
    assert_eq!(goaway.code(), ENHANCE_YOUR_CALM);
    with_rule(&tap, "client.fault.http2_flood").await;
    assert_eq!(peer.log.requests(), 0);
}

#[tokio::test]
async fn floods_of_pings_settings_and_malformed_requests_are_bounded() {
    let peer = http_plain::start(&Via::Plain).await;
    let tap = Setup::before(&peer).start().await;
    let before = tap.resident_kib();
    let mut raw = Raw::connect(&tap).await;
    let mut bytes = Vec::new();
    for number in 0..20_000_u64 {
        bytes.extend(frame(PING, 0, 0, &number.to_be_bytes()));
        bytes.extend(frame(SETTINGS, 0, 0, &[]));
    }
    // Nobody reads the answers, so that it may stall half way.
    let sent = tokio::time::timeout(Duration::from_secs(2), raw.conn.send(&bytes)).await;
    drop(sent);
    let grown = tap.resident_kib().saturating_sub(before);
    assert!(grown < 16 * 1024, "{grown} KiB");
    drop(raw);
    let mut raw = Raw::connect(&tap).await;
    let bad: [(&[u8], &[u8]); 1] = [(b"connection", b"close")];
    let mut bytes = Vec::new();
    for number in 0..200 {
        let flags = END_STREAM | END_HEADERS;
        bytes.extend(frame(HEADERS, flags, 2 * number + 1, &block(&bad)));
    }
    let _ = raw.conn.send(&bytes).await;
    let goaway = raw.find("GOAWAY", |frame| frame.kind == GOAWAY).await;
    assert_eq!(goaway.code(), ENHANCE_YOUR_CALM);
    with_rule(&tap, "client.fault.http2_flood").await;
    let told = tap.records();
    let told = told
        .iter()
        .filter(|it| fault(it) == Some(HeadFault::Http2Stream));
    assert!(told.count() <= 16, "one connection's records are bounded");
    let mut client = Http2::connect(&tap).await;
    assert_eq!(client.get("/", &[]).await.status.as_u16(), 200);
}

#[tokio::test]
async fn more_streams_than_allowed_are_refused() {
    let peer = never_answers::start(&Via::Plain).await;
    let tap = Setup::before(&peer)
        .set("http2.max_concurrent_streams", 2)
        .start()
        .await;
    let mut raw = Raw::connect(&tap).await;
    for stream in [1, 3, 5] {
        raw.request(stream, &[]).await;
    }
    let refused = within("a refusal", raw.verdict(5)).await;
    assert_eq!((refused.kind, refused.code()), (RST_STREAM, 7));
    let record = with_rule(&tap, "client.fault.http2").await;
    assert_eq!(record.client.http2.as_ref().unwrap().stream, Some(5));
}

#[tokio::test]
async fn an_extended_connect_that_was_not_offered_is_told_of() {
    let peer = http_plain::start(&Via::Plain).await;
    let tap = Setup::before(&peer).start().await;
    let mut raw = Raw::connect(&tap).await;
    let fields: [(&[u8], &[u8]); 2] = [(b":method", b"CONNECT"), (b":protocol", b"websocket")];
    // Pseudo-headers come first.
    raw.request(1, &fields).await;
    let answer = raw.verdict(1).await;
    assert_eq!((answer.kind, answer.code()), (RST_STREAM, PROTOCOL_ERROR));
    let record = with_rule(&tap, "client.fault.http2").await;
    let next = &record.verdict.as_ref().unwrap().next;
    assert!(next.contains("http2.websocket"), "{next}");
    assert_eq!(peer.log.requests(), 0);
}

#[tokio::test]
async fn a_preface_or_a_head_that_does_not_come_is_waited_for_as_long_as_a_head() {
    let peer = http_plain::start(&Via::Plain).await;
    let tap = Setup::before(&peer)
        .set("timeouts.request_head", "200ms")
        .start()
        .await;
    for half_a_head in [false, true] {
        let mut raw = if half_a_head {
            let mut raw = Raw::connect(&tap).await;
            let front = frame(HEADERS, END_STREAM, 1, &block(&[(b":method", b"GET")]));
            raw.conn.send(&front).await.unwrap();
            raw
        } else {
            Raw::bare(&tap).await
        };
        while raw.next().await.is_some() {}
        let records = tap.wait_for_count(1 + usize::from(half_a_head)).await;
        let record = records.last().unwrap();
        assert_eq!(class(record), Class::TapTimeout, "{}", rule(record));
        let timer = record.close.timer.as_ref().unwrap();
        assert_eq!(timer.key.as_str(), "request_head");
    }
    assert_eq!(peer.log.requests(), 0);
}
