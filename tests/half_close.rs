//! Clients that end their sending side right after their request (`nc -N`), those that were gone,
//! and those that gave up.

use std::time::Duration;

use wstap::session::SessionRecord;
use wstap::session::party::Party;
use wstap::session::record::{TimerKey, TransportEnd};

use crate::peers::{Via, answers_when_told, http_plain, never_answers};
use crate::support::client::connect_thin;
use crate::support::conn::Conn;
use crate::support::deadline::{STEP, poll};
use crate::support::head::upgrade;
use crate::support::http2::{HEADERS, Raw};
use crate::support::records::rule;
use crate::support::tap::{Face, Setup, Tap};
use crate::support::wire::Ending;

/// More than the buffers of two sockets hold.
const LARGE: usize = 16 * 1024 * 1024;

fn get(target: &str) -> Vec<u8> {
    format!("GET {target} HTTP/1.1\r\nHost: localhost\r\n\r\n").into_bytes()
}

/// Sends all of it and ends the sending side.
async fn ask(tap: &Tap, face: Face, request: &[u8]) -> Conn {
    let mut conn = tap.connect(face).await;
    conn.send(request).await.unwrap();
    conn.finish().await;
    conn
}

async fn record_of(tap: &Tap, target: &str) -> SessionRecord {
    let is_it = |record: &SessionRecord| {
        let request = record.request.as_ref();
        request.is_some_and(|request| request.path.as_str() == target)
    };
    tap.wait_for(target, is_it).await
}

fn is_orderly(ending: &Ending) -> bool {
    matches!(ending, Ending::Fin | Ending::TlsClose)
}

/// Answered and read. If the answer came before the FIN, so did the record.
fn assert_fine(record: &SessionRecord) {
    assert_eq!(rule(record), "ok.http", "{:?}", record.verdict);
    assert_eq!(record.close.transport.client_refused_at, None);
    assert!(record.answer.as_ref().unwrap().complete);
}

#[tokio::test]
async fn the_whole_answer_comes_whatever_the_request_is() {
    let peer = http_plain::start(&Via::Plain).await;
    let tap = Setup::before(&peer).start().await;
    for face in Face::BOTH {
        let name = format!("{face:?}");
        let close = "Connection: close\r\n";
        for (method, target, more, body) in [
            ("GET", "/healthz?kept", "", ""),
            ("GET", "/healthz?close", close, ""),
            ("GET", "/chunked?", "", ""),
            ("POST", "/echo?length", "Content-Length: 4\r\n", "body"),
            (
                "POST",
                "/echo?chunked",
                "Transfer-Encoding: chunked\r\n",
                "4\r\nbody\r\n0\r\n\r\n",
            ),
        ] {
            let target = format!("{target}{name}");
            let request =
                format!("{method} {target} HTTP/1.1\r\nHost: localhost\r\n{more}\r\n{body}");
            let mut conn = ask(&tap, face, request.as_bytes()).await;
            let head = conn.head().await.unwrap();
            assert_eq!(head.status(), 200, "{target}");
            let got = String::from_utf8(conn.body(&head).await.unwrap()).unwrap();
            let expected = match target.as_bytes()[1] {
                b'h' => http_plain::LIVE.to_owned(),
                b'c' => http_plain::CHUNKS.concat(),
                _ => "body".to_owned(),
            };
            assert_eq!(got, expected, "{target}");
            let (rest, ending) = conn.rest().await;
            assert_eq!((rest.as_slice(), is_orderly(&ending)), (&[][..], true));
            assert_fine(&record_of(&tap, &target).await);
        }
    }
}

#[tokio::test]
async fn http_1_0_too() {
    let peer = http_plain::start(&Via::Plain).await;
    let tap = Setup::before(&peer).start().await;
    let mut conn = ask(&tap, Face::Plain, b"GET /healthz HTTP/1.0\r\n\r\n").await;
    let (answer, _) = conn.rest().await;
    let answer = String::from_utf8(answer).unwrap();
    assert!(answer.ends_with(http_plain::LIVE), "{answer}");
    assert_fine(&record_of(&tap, "/healthz").await);
}

/// The gateway answers later, and with more than the buffers hold; the client reads slowly.
#[tokio::test]
async fn a_late_and_large_answer_comes_whole() {
    let peer = answers_when_told::start(&Via::Plain, LARGE).await;
    let tap = Setup::before(&peer).start().await;
    for (number, face) in Face::BOTH.into_iter().enumerate() {
        let target = format!("/{face:?}");
        let mut conn = ask(&tap, face, &get(&target)).await;
        answers_when_told::asked(&peer, number + 1).await;
        peer.go();
        let head = conn.head().await.unwrap();
        let body = conn.body(&head).await.unwrap();
        assert_eq!(body.len(), LARGE, "{target}");
        let record = record_of(&tap, &target).await;
        assert_fine(&record);
        let transport = &record.close.transport;
        let end = match face {
            Face::Plain => TransportEnd::Fin,
            Face::Tls => TransportEnd::TlsClose,
        };
        assert_eq!(transport.client, end);
        assert!(transport.client_at.is_some());
    }
}

/// The answer waits in the tap for a client that reads slowly, when its connection could already end.
#[tokio::test]
async fn an_answer_that_waits_for_its_client_is_not_cut() {
    // More than the kernel's buffers of such a connection hold, and less than they and hyper's do.
    let bytes = 48 * 1024;
    let peer = answers_when_told::start(&Via::Plain, bytes).await;
    let tap = Setup::before(&peer).start().await;
    let mut conn = connect_thin(tap.addr(Face::Plain)).await;
    conn.send(&get("/?last")).await.unwrap();
    conn.finish().await;
    answers_when_told::asked(&peer, 1).await;
    peer.go();
    // The tap has read the answer to its end.
    peer.log.ending(0).await;
    let head = conn.head().await.unwrap();
    assert_eq!(conn.body(&head).await.unwrap().len(), bytes);
    assert_fine(&record_of(&tap, "/?last").await);
}

#[tokio::test]
async fn two_requests_before_the_fin_are_both_answered() {
    let peer = answers_when_told::start(&Via::Plain, 1).await;
    let tap = Setup::before(&peer).start().await;
    let mut conn = ask(&tap, Face::Plain, &[get("/one"), get("/two")].concat()).await;
    for count in 1..=2 {
        answers_when_told::asked(&peer, count).await;
        peer.go();
        let head = conn.head().await.unwrap();
        conn.body(&head).await.unwrap();
    }
    assert!(is_orderly(&conn.rest().await.1));
    for target in ["/one", "/two"] {
        assert_eq!(rule(&record_of(&tap, target).await), "ok.http");
    }
}

/// Our own answers, too; the gateway's fault is the verdict, not the client's FIN.
#[tokio::test]
async fn a_gateway_that_is_down_is_told_and_blamed() {
    let tap = Setup::before_url("http://127.0.0.1:1").start().await;
    let mut conn = ask(&tap, Face::Plain, &get("/")).await;
    assert_eq!(conn.head().await.unwrap().status(), 502);
    let record = record_of(&tap, "/").await;
    assert_eq!(rule(&record), "gateway.unreachable.refused");
}

/// It closed its socket after the request: nobody reads the answer.
#[tokio::test]
async fn a_client_that_was_gone_is_told_once_the_answer_is_written() {
    for face in Face::BOTH {
        for bytes in [1, LARGE] {
            let peer = answers_when_told::start(&Via::Plain, bytes).await;
            let tap = Setup::before(&peer).start().await;
            drop(ask(&tap, face, &get("/")).await);
            answers_when_told::asked(&peer, 1).await;
            assert!(tap.records().is_empty(), "the answer is awaited");
            peer.go();
            let record = record_of(&tap, "/").await;
            let expected = if record.answer.as_ref().unwrap().complete {
                "client.left.unread"
            } else {
                "client.left.answer"
            };
            let what = format!("{face:?} {bytes}: {:?}", record.verdict);
            assert_eq!(rule(&record), expected, "{what}");
            assert_eq!(record.close.first, Some(Party::Client));
            let transport = &record.close.transport;
            assert!(transport.client.is_orderly(), "{what}");
            assert!(transport.client_refused_at > transport.client_at, "{what}");
        }
    }
}

/// Negative control: a client that resets is gone, and its request ends with it.
#[tokio::test]
async fn a_reset_ends_the_wait_with_and_without_a_fin_before() {
    for fin_first in [false, true] {
        let peer = never_answers::start(&Via::Plain).await;
        let tap = Setup::before(&peer).start().await;
        let mut conn = tap.connect(Face::Plain).await;
        conn.send(&get("/")).await.unwrap();
        peer.log.head(0).await;
        if fin_first {
            conn.finish().await;
        }
        conn.wire.abort();
        let record = record_of(&tap, "/").await;
        let transport = &record.close.transport;
        assert_eq!(rule(&record), "client.left.upgrade");
        if fin_first {
            assert_eq!(transport.client, TransportEnd::Fin);
            assert!(transport.client_refused_at.is_some());
        } else {
            assert_eq!(transport.client, TransportEnd::Rst);
        }
        // The gateway's connection ends at once.
        assert!(matches!(
            peer.log.ending(0).await,
            Ending::Fin | Ending::Rst
        ));
    }
}

/// `timeouts.half_close` bounds the wait for a client that may be gone.
#[tokio::test]
async fn the_wait_for_a_hung_gateway_has_its_limit() {
    for request in [get("/"), upgrade("/", "localhost", &[])] {
        let peer = never_answers::start(&Via::Plain).await;
        let setup = Setup::before(&peer).set("timeouts.half_close", "300ms");
        let tap = setup.start().await;
        let mut conn = ask(&tap, Face::Plain, &request).await;
        assert!(is_orderly(&conn.rest().await.1));
        let record = record_of(&tap, "/").await;
        let verdict = record.verdict.as_ref().unwrap();
        assert_eq!(verdict.rule, "client.left.upgrade");
        assert!(verdict.summary.contains("ended its sending side"));
        let timer = record.close.timer.unwrap();
        assert_eq!(timer.key, TimerKey::HalfClose);
        assert!(timer.observed_ms >= 300.0);
        assert_eq!(record.close.first, Some(Party::Client));
        peer.log.ending(0).await;
    }
}

/// Negative control: a client that waits and then goes gives up. Its request ends with it, as before.
#[tokio::test]
async fn a_client_that_gives_up_later_ends_its_request() {
    let peer = never_answers::start(&Via::Plain).await;
    let tap = Setup::before(&peer).start().await;
    let mut conn = tap.connect(Face::Plain).await;
    conn.send(&get("/")).await.unwrap();
    peer.log.head(0).await;
    // Longer than the time in which a FIN still belongs to its request.
    tokio::time::sleep(Duration::from_millis(1500)).await;
    conn.finish().await;
    drop(conn);
    let record = record_of(&tap, "/").await;
    assert_eq!(rule(&record), "client.left.upgrade");
    assert_eq!(record.close.timer, None);
    assert!(record.duration_ms < 10_000.0, "{}", record.duration_ms);
    peer.log.ending(0).await;
}

/// The other limits stay: one of ours ends the wait, and the client gets our answer.
#[tokio::test]
async fn the_limit_of_an_upgrade_stays() {
    let peer = never_answers::start(&Via::Plain).await;
    let tap = Setup::before(&peer)
        .set("timeouts.upgrade", "300ms")
        .start()
        .await;
    let mut conn = ask(&tap, Face::Plain, &upgrade("/", "localhost", &[])).await;
    assert_eq!(conn.head().await.unwrap().status(), 504);
    assert_eq!(rule(&tap.websocket().await), "gateway.silent.upgrade");
}

/// The 101 and what the gateway says come through, and the FIN goes to the gateway.
#[tokio::test]
async fn an_upgrade_request_and_its_fin() {
    for face in Face::BOTH {
        for dialect in ["plain", "openclaw"] {
            let peer = answers_when_told::start(&Via::Plain, 0).await;
            let setup = Setup::before(&peer).set("gateway.dialect", dialect);
            let tap = setup.start().await;
            let mut conn = ask(&tap, face, &upgrade("/", "localhost", &[])).await;
            answers_when_told::asked(&peer, 1).await;
            peer.go();
            assert_eq!(conn.head().await.unwrap().status(), 101);
            let frame = conn.frame().await.unwrap();
            assert_eq!(frame.as_text(), answers_when_told::SAYS);
            assert!(matches!(peer.log.ending(0).await, Ending::Fin));
            let record = tap.websocket().await;
            let verdict = record.verdict.as_ref().unwrap();
            assert_eq!(verdict.rule, "probe.websocket", "{}", verdict.summary);
            assert!(
                verdict.summary.contains("sending side"),
                "{}",
                verdict.summary
            );
            assert_eq!(record.close.transport.client_refused_at, None);
        }
    }
}

/// Negative control: what the client sends in a tunnel makes it a session, whose end is recorded as
/// before.
#[tokio::test]
async fn a_fin_behind_an_open_tunnel_is_told_as_before() {
    let peer = crate::peers::echo::start(&Via::Plain).await;
    let tap = Setup::before(&peer).start().await;
    let mut conn = tap.connect(Face::Plain).await;
    conn.upgrade("/", &[]).await.unwrap();
    conn.finish().await;
    conn.frames_to_end().await;
    assert_eq!(rule(&tap.websocket().await), "client.left.open");
}

/// The connections are gone once their clients are.
#[tokio::test]
async fn nothing_is_left_of_them() {
    let peer = http_plain::start(&Via::Plain).await;
    let tap = Setup::before(&peer).start().await;
    let mut conn = tap.connect(Face::Plain).await;
    conn.get("/").await.unwrap();
    drop(conn);
    let before = tap.open_descriptors();
    for _ in 0..20 {
        let mut conn = ask(&tap, Face::Plain, &get("/healthz")).await;
        conn.rest().await;
    }
    let back = poll(STEP, || {
        (tap.open_descriptors() <= before + 1).then_some(())
    })
    .await;
    assert!(back.is_some(), "{} of {before}", tap.open_descriptors());
}

/// `END_STREAM` ends a request of HTTP/2, and that client gets its answer. A FIN of its connection ends all of its
/// streams: it could not even acknowledge settings any more (RFC 9113 section 6.5.3). That is the client's
/// doing, and no gateway's.
#[tokio::test]
async fn a_fin_of_an_http2_connection_ends_its_streams() {
    let peer = answers_when_told::start(&Via::Plain, 1).await;
    let tap = Setup::before(&peer).start().await;
    for (number, ends) in [false, true].into_iter().enumerate() {
        let path = format!("/{ends}");
        let mut raw = Raw::connect(&tap).await;
        raw.request(1, &[(b":path", path.as_bytes())]).await;
        answers_when_told::asked(&peer, number + 1).await;
        if ends {
            raw.conn.finish().await;
            while raw.next().await.is_some() {}
        } else {
            peer.go();
            assert_eq!(raw.verdict(1).await.kind, HEADERS);
        }
        let record = record_of(&tap, &path).await;
        let verdict = record.verdict.as_ref().unwrap();
        if ends {
            assert_eq!(verdict.rule, "client.left.upgrade", "{}", verdict.summary);
            assert_eq!(record.close.transport.client, TransportEnd::TlsClose);
            assert_eq!(record.close.first, Some(Party::Client));
        } else {
            assert_eq!(verdict.rule, "ok.http", "{}", verdict.summary);
        }
    }
}
