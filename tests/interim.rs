//! Parts before, after and instead of a plain answer: interim answers, `Expect`, trailers
//! (RFC 9110 sections 6.5, 10.1.1 and 15.2).

use crate::peers::{Via, scripted};
use crate::support::tap::{Face, Setup};

const GET: &str = "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n";
const EARLY: &str =
    "HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\nKeep-Alive: x\r\n\r\n";
const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

#[tokio::test]
async fn interim_answers_reach_the_client_before_the_final_one() {
    for face in Face::BOTH {
        // In one segment, so that the final answer is there with the interim ones.
        let answer = format!("{EARLY}HTTP/1.1 102 Processing\r\n\r\n{OK}");
        let peer = scripted::start(&Via::Plain, &answer).await;
        let tap = Setup::before(&peer).start().await;
        let mut conn = tap.connect(face).await;
        // Twice: the interim answers of one request do not touch the next one's.
        for _ in 0..2 {
            conn.send(GET.as_bytes()).await.unwrap();
            let first = conn.head().await.unwrap();
            assert_eq!(first.status(), 103, "{}", first.text());
            assert_eq!(
                first.value("link").as_deref(),
                Some("</a.css>; rel=preload")
            );
            assert_eq!(first.value("keep-alive"), None);
            assert_eq!(conn.head().await.unwrap().status(), 102);
            let last = conn.head().await.unwrap();
            assert_eq!(last.status(), 200);
            assert_eq!(conn.body(&last).await.unwrap(), b"ok");
        }
    }
}

#[tokio::test]
async fn a_client_of_http_1_0_gets_no_interim_answer() {
    let peer = scripted::start(&Via::Plain, &format!("{EARLY}{OK}")).await;
    let tap = Setup::before(&peer).start().await;
    let mut conn = tap.connect(Face::Plain).await;
    conn.send(b"GET / HTTP/1.0\r\n\r\n").await.unwrap();
    assert_eq!(conn.head().await.unwrap().status(), 200);
}

#[tokio::test]
async fn an_expectation_is_answered_once_and_passed_on() {
    let answer = format!("HTTP/1.1 100 Continue\r\n\r\n{OK}");
    let peer = scripted::start(&Via::Plain, &answer).await;
    let tap = Setup::before(&peer).start().await;
    let mut conn = tap.connect(Face::Plain).await;
    let head =
        "POST / HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n";
    conn.send(head.as_bytes()).await.unwrap();
    assert_eq!(conn.head().await.unwrap().status(), 100);
    conn.send(b"body").await.unwrap();
    let last = conn.head().await.unwrap();
    assert_eq!(last.status(), 200, "one 100 is enough");
    let seen = peer.log.head(0).await;
    assert_eq!(seen.value("expect").as_deref(), Some("100-continue"));
}

#[tokio::test]
async fn a_body_that_comes_with_its_head_is_passed_on() {
    let peer = scripted::start(&Via::Plain, OK).await;
    let tap = Setup::before(&peer).start().await;
    let mut conn = tap.connect(Face::Plain).await;
    let request = "POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\nearly";
    conn.send(request.as_bytes()).await.unwrap();
    assert_eq!(conn.head().await.unwrap().status(), 200);
    let came = peer.log.bytes(0, 5).await;
    assert_eq!(came, b"early");
}

#[tokio::test]
async fn trailers_pass_both_ways() {
    let answer = "HTTP/1.1 200 OK\r\nTrailer: X-Sum\r\nTransfer-Encoding: chunked\r\n\r\n\
                  2\r\nok\r\n0\r\nX-Sum: 42\r\n\r\n";
    let peer = scripted::start(&Via::Plain, answer).await;
    let tap = Setup::before(&peer).start().await;
    let mut conn = tap.connect(Face::Plain).await;
    let request = "POST / HTTP/1.1\r\nHost: localhost\r\nTE: trailers\r\nTrailer: X-Check\r\n\
                   Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nX-Check: 7\r\n\r\n";
    conn.send(request.as_bytes()).await.unwrap();
    let head = conn.head().await.unwrap();
    assert_eq!(head.value("trailer").as_deref(), Some("X-Sum"));
    let sum = String::from_utf8(
        conn.exactly("2\r\nok\r\n0\r\nx-sum: 42\r\n\r\n".len())
            .await
            .unwrap(),
    );
    let sum = sum.unwrap().to_ascii_lowercase();
    assert_eq!(sum, "2\r\nok\r\n0\r\nx-sum: 42\r\n\r\n");
    let came = peer
        .log
        .bytes(0, "3\r\nabc\r\n0\r\nx-check: 7\r\n\r\n".len())
        .await;
    let came = String::from_utf8_lossy(&came).to_ascii_lowercase();
    assert!(came.ends_with("0\r\nx-check: 7\r\n\r\n"), "{came}");
}
