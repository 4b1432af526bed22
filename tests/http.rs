//! Everything that is not an upgrade passes too, with keep-alive on both legs.

use wstap::session::record::{AnswerBy, Class, GatewayErrorKind, Kind};
use wstap::session::{Party, SessionRecord};

use crate::peers::http_plain::{self, CHUNKS, LIVE, PAGE, as_chunk};
use crate::peers::{Via, draining, serve, tls, unix_socket};
use crate::support::certs::Validity;
use crate::support::deadline::{STEP, poll};
use crate::support::records::class;
use crate::support::tap::{Face, Setup, Tap};
use crate::support::wire::Ending;

async fn http_record(tap: &Tap, target: &str) -> SessionRecord {
    let is_it = |record: &SessionRecord| {
        record
            .request
            .as_ref()
            .is_some_and(|request| request.path.as_str() == target)
    };
    tap.wait_for(target, is_it).await
}

#[tokio::test]
async fn one_connection_carries_many_requests_on_both_legs() {
    let (ca, secure) = tls::via(&["localhost"], Validity::Now);
    for (face, via) in [
        (Face::Plain, Via::Plain),
        (Face::Tls, Via::Plain),
        (Face::Tls, secure),
    ] {
        let peer = http_plain::start(&via).await;
        let mut setup = Setup::before(&peer);
        if matches!(via, Via::Tls(_)) {
            setup = setup.gateway_ca(&ca, "localhost");
        }
        let tap = setup.start().await;
        let mut conn = tap.connect(face).await;
        for _ in 0..3 {
            let (head, body) = conn.get("/").await.unwrap();
            assert_eq!(head.status(), 200);
            assert_eq!(head.value("content-length"), Some(PAGE.len().to_string()));
            assert_eq!(head.value("x-peer").as_deref(), Some("http_plain"));
            assert_eq!(body, PAGE.as_bytes());
            assert_eq!(conn.get("/healthz").await.unwrap().1, LIVE.as_bytes());
        }
        // The gateway's connection returns to the pool a moment after its answer: a request that
        // comes before that needs another.
        let (connections, requests) = (peer.log.connections(), peer.log.requests());
        assert!(connections <= 2 && requests == 6, "{face:?} {connections}");
        let record = http_record(&tap, "/healthz").await;
        assert_eq!((record.kind, class(&record)), (Kind::Http, Class::Ok));
        let answer = record.answer.as_ref().unwrap();
        assert_eq!((answer.by, answer.status), (AnswerBy::Gateway, 200));
        assert_eq!(
            (answer.body_bytes, answer.complete),
            (Some(LIVE.len() as u64), true)
        );
        drop(conn);
        let enough = |record: &SessionRecord| record.gateway.as_ref().is_some_and(|it| it.reused);
        tap.wait_for("a request on a pooled connection", enough)
            .await;
    }
}

#[tokio::test]
async fn the_target_host_and_headers_are_kept() {
    let peer = http_plain::start(&Via::Plain).await;
    let tap = Setup::before(&peer).start().await;
    let mut conn = tap.connect(Face::Plain).await;
    let request = "GET /healthz?a=1&b=%20x HTTP/1.1\r\nHost: claw.example.com:8443\r\n\
                   Authorization: Bearer abc\r\nX-Two: 1\r\nX-Two: 2\r\n\
                   Connection: keep-alive, X-Nominated\r\nX-Nominated: gone\r\n\r\n";
    conn.send(request.as_bytes()).await.unwrap();
    let head = conn.head().await.unwrap();
    assert_eq!(head.status(), 200, "{}", head.text());
    let seen = peer.log.head(0).await;
    assert_eq!(seen.target(), "/healthz?a=1&b=%20x");
    assert_eq!(seen.values("host"), ["claw.example.com:8443"]);
    assert_eq!(seen.values("authorization"), ["Bearer abc"]);
    assert_eq!(seen.values("x-two"), ["1", "2"]);
    assert!(seen.values("x-nominated").is_empty());
    assert!(seen.values("x-forwarded-for").is_empty(), "{}", seen.text());
}

#[tokio::test]
async fn bodies_stream_in_both_directions() {
    for face in Face::BOTH {
        let peer = http_plain::start(&Via::Plain).await;
        let tap = Setup::before(&peer).start().await;
        let mut conn = tap.connect(face).await;
        let head = "POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n";
        conn.send(head.as_bytes()).await.unwrap();
        let answer = conn.head().await.unwrap();
        assert_eq!(answer.status(), 200);
        for piece in [b"one".as_slice(), b"two two"] {
            conn.send(&as_chunk(piece)).await.unwrap();
            // It comes back before the next piece is sent: nothing is held.
            let mut got = Vec::new();
            while got.len() < piece.len() {
                got.extend(conn.chunk().await.unwrap());
            }
            assert_eq!(got, piece);
        }
        conn.send(&as_chunk(b"")).await.unwrap();
        assert_eq!(conn.chunk().await.unwrap(), b"");
        let (head, body) = conn.get("/chunked").await.unwrap();
        assert_eq!((head.status(), body), (200, CHUNKS.concat().into_bytes()));
        let record = http_record(&tap, "/echo").await;
        assert_eq!(record.answer.unwrap().request_body_bytes, Some(10));
    }
}

#[tokio::test]
async fn head_requests_and_sized_bodies() {
    let peer = http_plain::start(&Via::Plain).await;
    let tap = Setup::before(&peer).start().await;
    let mut conn = tap.connect(Face::Plain).await;
    conn.send(b"HEAD / HTTP/1.1\r\nHost: x\r\n\r\n")
        .await
        .unwrap();
    let head = conn.head().await.unwrap();
    assert_eq!(head.value("content-length"), Some(PAGE.len().to_string()));
    // Had a body followed, the next head would not be one.
    let post = "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello";
    conn.send(post.as_bytes()).await.unwrap();
    let head = conn.head().await.unwrap();
    assert_eq!(conn.body(&head).await.unwrap(), b"hello");
    let (head, _) = conn.get("/missing").await.unwrap();
    assert_eq!(head.status(), 404);
    assert_eq!(
        class(&http_record(&tap, "/missing").await),
        Class::HttpError
    );
}

#[tokio::test]
async fn a_client_that_says_close_is_closed() {
    let peer = http_plain::start(&Via::Plain).await;
    let tap = Setup::before(&peer).start().await;
    let mut conn = tap.connect(Face::Plain).await;
    conn.send(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        .await
        .unwrap();
    let head = conn.head().await.unwrap();
    assert!(head.says_close());
    assert_eq!(conn.body(&head).await.unwrap(), PAGE.as_bytes());
    assert_eq!(conn.rest().await.1, Ending::Fin);
}

#[tokio::test]
async fn errors_of_the_gateway_pass_with_their_body() {
    let peer = draining::start(&Via::Plain).await;
    let tap = Setup::before(&peer).start().await;
    let mut conn = tap.connect(Face::Plain).await;
    let (head, body) = conn.get("/anything").await.unwrap();
    assert_eq!(
        (head.status(), body),
        (503, draining::BODY.as_bytes().to_vec())
    );
    assert_eq!(http_record(&tap, "/anything").await.kind, Kind::Http);
}

#[tokio::test]
async fn a_get_on_a_websocket_gateway_behind_a_unix_socket() {
    let peer = unix_socket::start().await;
    let tap = Setup::before(&peer).start().await;
    let mut conn = tap.connect(Face::Plain).await;
    conn.open("/over/unix").await;
    assert_eq!(peer.log.head(0).await.target(), "/over/unix");
}

/// It goes on as HTTP/1.1, which requires a Host.
#[tokio::test]
async fn a_request_of_http_1_0_without_a_host_gets_the_gateways() {
    let peer = http_plain::start(&Via::Plain).await;
    let tap = Setup::before(&peer).start().await;
    let mut conn = tap.connect(Face::Plain).await;
    conn.send(b"GET / HTTP/1.0\r\n\r\n").await.unwrap();
    assert_eq!(conn.head().await.unwrap().status(), 200);
    let seen = peer.log.head(0).await;
    let gateway = peer.url().replace("http://", "");
    assert_eq!(seen.value("host"), Some(gateway));
}

/// Bytes after a request that ends the connection are not a request: no record of their own, and no
/// verdict that nobody can explain.
#[tokio::test]
async fn what_follows_the_last_request_is_nothing() {
    let peer = http_plain::start(&Via::Plain).await;
    let tap = Setup::before(&peer).start().await;
    let mut conn = tap.connect(Face::Plain).await;
    let last = "GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    conn.send(format!("{last}{last}").as_bytes()).await.unwrap();
    assert_eq!(conn.head().await.unwrap().status(), 200);
    conn.rest().await;
    // Its record comes after any of the connection before.
    tap.connect(Face::Plain).await.get("/").await.unwrap();
    http_record(&tap, "/").await;
    assert_eq!(tap.records().len(), 2);
    assert_eq!(peer.log.requests(), 2);
}

/// The gateway is not to blame for it.
#[tokio::test]
async fn a_client_that_leaves_in_the_middle_of_a_body() {
    let peer = http_plain::start(&Via::Plain).await;
    let tap = Setup::before(&peer).start().await;
    for (target, aborts) in [("/fin", false), ("/rst", true)] {
        let mut conn = tap.connect(Face::Plain).await;
        let head =
            format!("POST {target} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\nhalf");
        conn.send(head.as_bytes()).await.unwrap();
        let begun = || peer.log.heads().iter().any(|head| head.target() == target);
        poll(STEP, || begun().then_some(())).await.unwrap();
        if aborts {
            conn.abort();
        } else {
            conn.fin();
            assert_eq!(conn.head().await.unwrap().status(), 400);
        }
        let record = http_record(&tap, target).await;
        let verdict = record.verdict.as_ref().unwrap();
        assert_eq!(verdict.rule, "client.left.upgrade", "{}", verdict.summary);
        assert_eq!(record.close.first, Some(Party::Client));
    }
}

/// The answer to the request before does not count for this one.
#[tokio::test]
async fn a_kept_connection_that_ends_instead_of_an_answer() {
    let peer = serve(&Via::Plain, |mut conn, seat| async move {
        while let Some(head) = seat.head(&mut conn).await {
            let answer: &[u8] = match head.target().as_str() {
                "/" => b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
                "/half" => b"HTTP/1.1 200 O",
                _ => b"",
            };
            if seat.send(&mut conn, answer).await.is_none() || head.target() != "/" {
                return;
            }
        }
    })
    .await;
    let tap = Setup::before(&peer).start().await;
    for target in ["/none", "/half"] {
        let mut conn = tap.connect(Face::Plain).await;
        assert_eq!(conn.get("/").await.unwrap().0.status(), 200);
        assert_eq!(conn.get(target).await.unwrap().0.status(), 502);
        let record = http_record(&tap, target).await;
        let error = record.gateway.as_ref().unwrap().error.as_ref().unwrap();
        assert_eq!(error.kind, GatewayErrorKind::ClosedBeforeStatus);
        assert_eq!(class(&record), Class::GatewaySilent);
    }
}
