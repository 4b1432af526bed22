//! Pages and API requests over HTTP/2: each stream is a request like one of HTTP/1.

use bytes::Bytes;
use h2::Reason;
use wstap::session::SessionRecord;
use wstap::session::record::{AnswerBy, Class, Kind, TransportEnd};

use crate::peers::http_plain::{self, CHUNKS, LIVE, PAGE};
use crate::peers::{Via, never_answers, scripted};
use crate::support::client;
use crate::support::deadline::{STEP, poll, within};
use crate::support::http2::{ACK, Http2, Raw, RawFrame, SETTINGS, offering, whole};
use crate::support::records::{class, rule};
use crate::support::tap::{Face, Setup, Tap};

async fn record_of(tap: &Tap, target: &str) -> SessionRecord {
    let is_it = |record: &SessionRecord| {
        let request = record.request.as_ref();
        request.is_some_and(|request| request.path.as_str() == target)
    };
    tap.wait_for(target, is_it).await
}

fn stream_of(record: &SessionRecord) -> Option<u32> {
    record.client.http2.as_ref().and_then(|http2| http2.stream)
}

#[tokio::test]
async fn pages_pass_and_each_has_its_record() {
    let peer = http_plain::start(&Via::Plain).await;
    let tap = Setup::before(&peer).start().await;
    let mut client = Http2::connect(&tap).await;
    let page = client.get("/?a=1", &[]).await;
    assert_eq!((page.status.as_u16(), page.text()), (200, PAGE.to_owned()));
    assert_eq!(page.header("x-peer"), Some("http_plain"));
    assert_eq!(
        page.header("content-length"),
        Some(PAGE.len().to_string()).as_deref()
    );
    let chunked = client.get("/chunked", &[]).await;
    assert_eq!(chunked.text(), CHUNKS.concat());
    assert_eq!(chunked.header("transfer-encoding"), None);
    let head = client.request("HEAD", "/", &[]);
    let head = whole(client.ask(head).await.unwrap()).await;
    assert_eq!((head.status.as_u16(), head.body.len()), (200, 0));
    assert_eq!(
        head.header("content-length"),
        Some(PAGE.len().to_string()).as_deref()
    );
    let lost = client.get("/nothing", &[]).await;
    assert_eq!(lost.status.as_u16(), 404);

    let record = record_of(&tap, "/?a=[masked 1]").await;
    assert_eq!((record.kind, class(&record)), (Kind::Http, Class::Ok));
    let request = record.request.as_ref().unwrap();
    assert_eq!(request.http_version, "HTTP/2.0");
    assert_eq!(
        request.host.as_ref().map(ToString::to_string).as_deref(),
        Some(client.authority())
    );
    let answer = record.answer.as_ref().unwrap();
    assert_eq!((answer.by, answer.status), (AnswerBy::Gateway, 200));
    assert_eq!(answer.body_bytes, Some(PAGE.len() as u64));
    assert!(answer.complete);
    let alpn = record.client.tls.as_ref().and_then(|tls| tls.alpn.as_ref());
    assert_eq!(alpn.map(ToString::to_string).as_deref(), Some("h2"));
    assert_eq!(stream_of(&record), Some(1));
    let record = record_of(&tap, "/nothing").await;
    assert_eq!(class(&record), Class::HttpError);
    assert_eq!(record.client.http2.as_ref().unwrap().requests, 4);

    let seen = peer.log.head(0).await;
    assert_eq!(seen.first_line(), "GET /?a=1 HTTP/1.1");
    assert_eq!(seen.values("host"), [client.authority()]);
}

#[tokio::test]
async fn bodies_pass_both_ways() {
    let peer = http_plain::start(&Via::Plain).await;
    let tap = Setup::before(&peer).start().await;
    let mut client = Http2::connect(&tap).await;
    // More than one window of a stream.
    let body: Vec<u8> = (0..300_000_u32).flat_map(u32::to_le_bytes).collect();
    let request = client.request("POST", "/echo", &[]);
    let (answer, mut send) = client.begin(request, false).await;
    let sending = async {
        let mut left = &body[..];
        while !left.is_empty() {
            send.reserve_capacity(left.len());
            while send.capacity() == 0 {
                let room = std::future::poll_fn(|cx| send.poll_capacity(cx)).await;
                room.unwrap().unwrap();
            }
            let count = send.capacity().min(left.len());
            let now = Bytes::copy_from_slice(&left[..count]);
            send.send_data(now, false).unwrap();
            left = &left[count..];
        }
        send.send_data(Bytes::new(), true).unwrap();
    };
    let reading = async { whole(answer.await.unwrap()).await };
    let (echoed, ()) = within("the echo", async { tokio::join!(reading, sending) }).await;
    assert_eq!(echoed.body.len(), body.len());
    assert!(echoed.body == body, "the same bytes");
    let length = [("content-length", "5")];
    assert_eq!(client.post("/echo", &length, b"hello").await.body, b"hello");
    let seen = &peer.log.heads()[1];
    assert_eq!(seen.value("content-length").as_deref(), Some("5"));
    let record = record_of(&tap, "/echo").await;
    let answer = record.answer.unwrap();
    assert_eq!(answer.request_body_bytes, Some(body.len() as u64));
}

#[tokio::test]
async fn what_has_no_body_and_what_has_trailers() {
    let tapped = |answer: &'static str| async move {
        let peer = scripted::start(&Via::Plain, answer).await;
        let tap = Setup::before(&peer).start().await;
        let mut client = Http2::connect(&tap).await;
        let answer = client.get("/", &[]).await;
        (answer, tap)
    };
    let (answer, _tap) = tapped("HTTP/1.1 304 Not Modified\r\nETag: \"x\"\r\n\r\n").await;
    assert_eq!((answer.status.as_u16(), answer.body.len()), (304, 0));
    assert_eq!(answer.header("etag"), Some("\"x\""));
    let (answer, _tap) = tapped(
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\nConnection: X-Gone\r\n\
         X-Gone: 1\r\nKeep-Alive: timeout=5\r\n\r\n2\r\nok\r\n0\r\nX-Sum: 7\r\n\r\n",
    )
    .await;
    assert_eq!(answer.text(), "ok");
    let trailers = answer.trailers.expect("the answer's trailers");
    assert_eq!(trailers.get("x-sum").unwrap(), "7");
    for gone in ["connection", "keep-alive", "x-gone", "transfer-encoding"] {
        assert_eq!(answer.headers.get(gone), None, "{gone}");
    }
}

#[tokio::test]
async fn interim_answers_and_expectations_pass() {
    let answer = "HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n\
                  HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
    let peer = scripted::start(&Via::Plain, answer).await;
    let tap = Setup::before(&peer).start().await;
    let mut client = Http2::connect(&tap).await;
    let more = [("expect", "100-continue"), ("content-length", "4")];
    let request = client.request("POST", "/", &more);
    let (mut answer, mut send) = client.begin(request, false).await;
    let interim = std::future::poll_fn(|cx| answer.poll_informational(cx));
    let interim = within("a 100", interim).await.unwrap().unwrap();
    assert_eq!(interim.status().as_u16(), 100);
    send.send_data(Bytes::from_static(b"body"), true).unwrap();
    let interim = std::future::poll_fn(|cx| answer.poll_informational(cx));
    let interim = within("a 103", interim).await.unwrap().unwrap();
    assert_eq!(interim.status().as_u16(), 103);
    assert_eq!(interim.headers().get("link").unwrap(), "</a.css>");
    let answer = whole(within("the answer", answer).await.unwrap()).await;
    assert_eq!(answer.text(), "ok");
}

#[tokio::test]
async fn a_stream_that_waits_holds_up_no_other() {
    let slow = never_answers::start(&Via::Plain).await;
    let tap = Setup::before(&slow).start().await;
    let mut client = Http2::connect(&tap).await;
    let request = client.request("GET", "/slow", &[]);
    let (waiting, _) = client.begin(request, true).await;
    slow.log.head(0).await;
    // Refused by us, so that it needs no gateway.
    let other = client.get("/other", &[("host", "else.example")]).await;
    assert_eq!(other.status.as_u16(), 400);
    drop(waiting);
    let record = record_of(&tap, "/slow").await;
    assert_eq!(record.close.transport.client, TransportEnd::Rst);
    assert_eq!(class(&record), Class::ClientLeft, "{}", rule(&record));
}

#[tokio::test]
async fn many_streams_at_once_keep_their_own_answers() {
    let peer = http_plain::start(&Via::Plain).await;
    let tap = Setup::before(&peer).start().await;
    let mut client = Http2::connect(&tap).await;
    let mut answers = Vec::new();
    for number in 0..60_u32 {
        let body = format!("body {number}");
        let target = format!("/echo?{number}");
        let request = client.request("POST", &target, &[]);
        let (answer, mut send) = client.begin(request, false).await;
        send.send_data(Bytes::from(body.clone()), true).unwrap();
        answers.push((body, answer));
    }
    for (body, answer) in answers {
        let answer = whole(within("an answer", answer).await.unwrap()).await;
        assert_eq!(answer.text(), body);
    }
    let records = tap.wait_for_count(60).await;
    assert!(records.iter().all(|record| class(record) == Class::Ok));
    let mut streams: Vec<_> = records.iter().filter_map(stream_of).collect();
    streams.sort_unstable();
    streams.dedup();
    assert_eq!(streams.len(), 60, "{streams:?}");
}

#[tokio::test]
async fn a_cancelled_stream_is_the_clients_doing_and_the_connection_goes_on() {
    let peer = http_plain::start(&Via::Plain).await;
    let tap = Setup::before(&peer).start().await;
    let mut client = Http2::connect(&tap).await;
    let request = client.request("POST", "/echo?cancelled", &[]);
    let (answer, mut send) = client.begin(request, false).await;
    send.send_data(Bytes::from_static(b"piece"), false).unwrap();
    let mut answer = within("an answer", answer).await.unwrap();
    let piece = within("a piece", answer.body_mut().data()).await;
    assert_eq!(piece.unwrap().unwrap(), "piece");
    send.send_reset(Reason::CANCEL);
    let record = record_of(&tap, "/echo?cancelled").await;
    assert_eq!(rule(&record), "client.left.answer");
    assert_eq!(record.close.transport.client, TransportEnd::Rst);
    let cause = record.close.transport.client_cause.as_deref();
    assert!(cause.unwrap_or_default().contains("CANCEL"), "{cause:?}");
    assert_eq!(client.get("/", &[]).await.status.as_u16(), 200);
}

#[tokio::test]
async fn cookies_are_joined_and_secrets_stay_out_of_the_record() {
    let peer = http_plain::start(&Via::Plain).await;
    let tap = Setup::before(&peer).trace().start().await;
    let mut client = Http2::connect(&tap).await;
    let canary = "canary-4f1d2c3b5a69788796a5b4c3d2e1f00f";
    let bearer = format!("Bearer {canary}");
    let crumb = format!("session={canary}");
    let more = [
        ("cookie", "a=1"),
        ("authorization", bearer.as_str()),
        ("cookie", crumb.as_str()),
        ("x_forwarded_for", "203.0.113.9"),
        ("x-forwarded-for", "203.0.113.9"),
    ];
    let answer = client.get(&format!("/?token={canary}"), &more).await;
    assert_eq!(answer.status.as_u16(), 200);
    let seen = peer.log.head(0).await;
    assert_eq!(seen.values("cookie"), [format!("a=1; {crumb}")]);
    assert_eq!(seen.values("authorization"), [bearer.as_str()]);
    assert_eq!(seen.values("x_forwarded_for"), [""; 0]);
    let record = record_of(&tap, "/?token=[masked 39]").await;
    let places: Vec<_> = record.auth.iter().map(|it| it.place.clone()).collect();
    for place in ["header:authorization", "query:token", "cookie:session"] {
        assert!(places.iter().any(|it| it == place), "{place}: {places:?}");
    }
    let forwarded = record.gateway.as_ref().unwrap().forwarded.as_ref().unwrap();
    assert!(!forwarded.brought.is_empty(), "{forwarded:?}");
    for output in [tap.records_text(), tap.stdout(), tap.stderr()] {
        assert!(!output.contains(canary), "a secret was written down");
    }
}

#[tokio::test]
async fn what_alpn_agrees_on_is_spoken() {
    let peer = http_plain::start(&Via::Plain).await;
    for enabled in [true, false] {
        let tap = Setup::before(&peer)
            .set("http2.enabled", enabled)
            .start()
            .await;
        let addr = tap.addr(Face::Tls);
        for (offered, wanted) in [
            (vec![b"h2".to_vec(), b"http/1.1".to_vec()], enabled),
            (vec![b"http/1.1".to_vec(), b"h2".to_vec()], enabled),
            (vec![b"http/1.1".to_vec()], false),
            (Vec::new(), false),
        ] {
            let mut config = (*tap.trust()).clone();
            config.alpn_protocols.clone_from(&offered);
            let mut conn = client::connect_tls(addr, &config.into()).await;
            let agreed = conn.wire.alpn();
            let h2 = agreed.as_deref() == Some(b"h2");
            assert_eq!(h2, wanted, "{offered:?}");
            if !h2 {
                assert_eq!(conn.get("/healthz").await.unwrap().1, LIVE.as_bytes());
            }
        }
        let only = client::try_connect_tls(addr, &offering(&tap, b"h2"), "localhost").await;
        assert_eq!(only.is_ok(), enabled);
        if !enabled {
            let refused = |record: &SessionRecord| rule(record) == "client.fault.alpn";
            tap.wait_for("the refused handshake", refused).await;
        }
    }
}

#[tokio::test]
async fn an_idle_connection_is_ended_in_order() {
    let peer = http_plain::start(&Via::Plain).await;
    let tap = Setup::before(&peer)
        .set("timeouts.request_head", "200ms")
        .start()
        .await;
    let mut client = Http2::connect(&tap).await;
    assert_eq!(client.get("/", &[]).await.status.as_u16(), 200);
    client.ended().await.expect("GOAWAY without an error");
    // One that is never used is recorded.
    let client = Http2::connect(&tap).await;
    client.ended().await.expect("GOAWAY without an error");
    let silent = |record: &SessionRecord| record.close.timer.is_some();
    let record = tap.wait_for("a silent connection", silent).await;
    assert_eq!(record.kind, Kind::Connection);
    // The client uses other connections for its requests; a client that never sends one hangs.
    assert_eq!(rule(&record), "probe.spare");
    let peer = http_plain::start(&Via::Plain).await;
    let tap = Setup::before(&peer)
        .set("timeouts.request_head", "300ms")
        .start()
        .await;
    let client = Http2::connect(&tap).await;
    client.ended().await.expect("GOAWAY without an error");
    let record = tap.wait_for("a silent connection", silent).await;
    assert_eq!(class(&record), Class::TapTimeout, "{}", rule(&record));
}

#[tokio::test]
async fn a_connection_that_is_left_unused_is_no_fault() {
    let peer = http_plain::start(&Via::Plain).await;
    let tap = Setup::before(&peer).start().await;
    let mut raw = Raw::connect(&tap).await;
    // The preface is read then: leaving sooner might reset the connection before it.
    let answers = |frame: &RawFrame| frame.kind == SETTINGS && frame.flags & ACK != 0;
    raw.find("the answer to our settings", answers).await;
    drop(raw);
    let probe = |record: &SessionRecord| rule(record) == "probe.http2";
    tap.wait_for("an unused connection", probe).await;
    // Only TLS, by a client that trusts the certificate.
    let mut client = Http2::connect(&tap).await;
    assert_eq!(client.get("/", &[]).await.status.as_u16(), 200);
    drop(Raw::bare(&tap).await);
    let probe = |record: &SessionRecord| rule(record) == "probe.tls";
    tap.wait_for("a bare connection", probe).await;
}

#[tokio::test]
async fn the_drain_lets_streams_end_and_takes_no_new_ones() {
    let peer = http_plain::start(&Via::Plain).await;
    let mut tap = Setup::before(&peer)
        .set("timeouts.drain", "5s")
        .start()
        .await;
    let mut client = Http2::connect(&tap).await;
    let request = client.request("POST", "/echo", &[]);
    let (answer, mut send) = client.begin(request, false).await;
    let answer = within("an answer", answer).await.unwrap();
    tap.signal_term();
    // Until it takes no new connection.
    let addr = tap.addr(Face::Tls);
    let refuses = || std::net::TcpStream::connect(addr).is_err().then_some(());
    poll(STEP, refuses).await.expect("the drain");
    send.send_data(Bytes::from_static(b"still"), true).unwrap();
    assert_eq!(whole(answer).await.text(), "still");
    client.ended().await.expect("GOAWAY without an error");
    assert_eq!(tap.exited(STEP).await.code(), Some(0));
    assert_eq!(class(&record_of(&tap, "/echo").await), Class::Ok);
}

#[tokio::test]
async fn what_the_drain_cuts_is_recorded_so() {
    let peer = never_answers::start(&Via::Plain).await;
    let mut tap = Setup::before(&peer)
        .set("timeouts.drain", "300ms")
        .start()
        .await;
    let mut client = Http2::connect(&tap).await;
    let request = client.request("GET", "/cut", &[]);
    let (_waiting, _) = client.begin(request, true).await;
    peer.log.head(0).await;
    assert_eq!(tap.terminate().await, Some(0));
    assert_eq!(class(&record_of(&tap, "/cut").await), Class::TapDrain);
}

#[tokio::test]
async fn each_stream_counts_for_its_client_behind_a_proxy() {
    let peer = never_answers::start(&Via::Plain).await;
    let tap = Setup::before(&peer)
        .set("trusted_proxies", vec!["127.0.0.1"])
        .set("limits.per_client", 1)
        .start()
        .await;
    let mut client = Http2::connect(&tap).await;
    let of = |ip| [("x-forwarded-for", ip)];
    let request = client.request("GET", "/first", &of("203.0.113.9"));
    let (_waiting, _) = client.begin(request, true).await;
    peer.log.head(0).await;
    let second = client.get("/second", &of("203.0.113.9")).await;
    assert_eq!(second.status.as_u16(), 429);
    let request = client.request("GET", "/other", &of("203.0.113.8"));
    let (_waiting, _) = client.begin(request, true).await;
    let seen = peer.log.head(1).await;
    assert_eq!(seen.target(), "/other");
    assert_eq!(seen.values("x-forwarded-for"), ["203.0.113.8"]);
    assert_eq!(seen.values("x-forwarded-proto"), ["https"]);
    let record = record_of(&tap, "/second").await;
    assert_eq!(class(&record), Class::TapDenied, "{}", rule(&record));
}

#[tokio::test]
async fn a_reload_counts_for_the_next_request_and_for_what_the_next_connection_is_offered() {
    let peer = http_plain::start(&Via::Plain).await;
    let tap = Setup::before(&peer).set("reload", "signal").start().await;
    let mut client = Http2::connect(&tap).await;
    let many = [("x-a", "1"), ("x-b", "2")];
    assert_eq!(client.get("/", &many).await.status.as_u16(), 200);
    tap.set("http2.enabled", false);
    tap.set("limits.headers", 1);
    tap.reload("done").await;
    // It was offered h2 when it came, and keeps it.
    assert_eq!(client.get("/", &many).await.status.as_u16(), 431);
    let config = offering(&tap, b"h2");
    let refused = client::try_connect_tls(tap.addr(Face::Tls), &config, "localhost").await;
    assert!(refused.is_err(), "it is offered no more");
}
