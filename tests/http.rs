//! Everything that is not an upgrade passes too, with keep-alive on both legs.

use wstap::session::SessionRecord;
use wstap::session::record::{AnswerBy, Class, Kind};

use crate::peers::http_plain::{self, CHUNKS, LIVE, PAGE, as_chunk};
use crate::peers::{Via, draining, tls, unix_socket};
use crate::support::certs::Validity;
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
        assert_eq!(
            (peer.log.connections(), peer.log.requests()),
            (1, 6),
            "{face:?}"
        );
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

/// It goes on as HTTP/1.1, in which a Host must stand.
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
