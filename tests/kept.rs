//! Kept connections to the gateway that close, or whose far end vanishes, as a request goes out on
//! them.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use wstap::session::SessionRecord;
use wstap::session::record::gateway::GatewayFacts;
use wstap::session::record::{Class, GatewayErrorKind as Kind, TransportEnd};

use crate::peers::{Peer, Via, second_request};
use crate::support::deadline::promised;
use crate::support::head::Head;
use crate::support::netns::{self, Net, THERE_V4, test_name};
use crate::support::records::{class, rule};
use crate::support::tap::{Face, Setup, Tap};

/// Sends a request; returns its answer and its record.
async fn ask(tap: &Tap, method: &str, target: &str, body: &str) -> (Head, SessionRecord) {
    let mut conn = tap.connect(Face::Plain).await;
    let length = match body.len() {
        0 => String::new(),
        length => format!("Content-Length: {length}\r\n"),
    };
    let request = format!("{method} {target} HTTP/1.1\r\nHost: localhost\r\n{length}\r\n{body}");
    conn.send(request.as_bytes()).await.unwrap();
    let head = conn.head().await.expect("an answer");
    let is_it = |record: &SessionRecord| {
        let request = record.request.as_ref();
        request.is_some_and(|request| request.path.as_str() == target)
    };
    (head, tap.wait_for("its record", is_it).await)
}

fn gateway(record: &SessionRecord) -> &GatewayFacts {
    record.gateway.as_ref().expect("a gateway")
}

/// Like `ask`, on a kept connection. The connection returns to the pool a moment after the previous
/// answer.
async fn ask_kept(tap: &Tap, method: &str, path: &str, body: &str) -> (Head, SessionRecord) {
    for number in 0..50 {
        let target = format!("{path}/{method}{}-{number}", body.len());
        ask(tap, "GET", &format!("/ok{target}"), "").await;
        let (head, record) = ask(tap, method, &target, body).await;
        if gateway(&record).reused || gateway(&record).retried.is_some() {
            return (head, record);
        }
    }
    panic!("no connection is kept");
}

fn evidence(record: &SessionRecord, words: &str) -> bool {
    let verdict = record.verdict.as_ref().expect("a verdict");
    verdict.evidence.iter().any(|it| it.fact.contains(words))
}

fn never_speaks_of_tls(record: &SessionRecord) {
    let verdict = record.verdict.as_ref().expect("a verdict");
    let text = format!(
        "{} {} {:?}",
        verdict.summary, verdict.next, verdict.evidence
    );
    assert!(!text.contains("TLS") && !text.contains("https"), "{text}");
}

#[tokio::test]
async fn what_can_be_repeated_is_sent_once_more() {
    let peer = second_request::start(&Via::Plain).await;
    let tap = Setup::before(&peer).start().await;
    for (path, end) in [("/fin", TransportEnd::Fin), ("/rst", TransportEnd::Rst)] {
        for method in ["GET", "HEAD", "DELETE"] {
            let (head, record) = ask_kept(&tap, method, path, "").await;
            assert_eq!(head.status(), 200, "{method} {path}");
            let facts = gateway(&record);
            let retried = facts.retried.as_ref().expect("it is noted");
            assert_eq!(retried.end, end);
            assert!(!facts.reused && facts.error.is_none());
            assert_ne!(retried.local_addr, facts.local_addr);
            assert_eq!(class(&record), Class::Ok, "{}", rule(&record));
            assert!(evidence(&record, "went out once more"));
        }
    }
}

#[tokio::test]
async fn what_may_have_been_done_is_not() {
    let peer = second_request::start(&Via::Plain).await;
    let tap = Setup::before(&peer).start().await;
    for (path, kind) in [
        ("/fin", Kind::ClosedBeforeStatus),
        ("/rst", Kind::ResetBeforeStatus),
    ] {
        for (method, body) in [("POST", ""), ("POST", "x"), ("PATCH", "x"), ("PUT", "x")] {
            let (head, record) = ask_kept(&tap, method, path, body).await;
            assert_eq!(head.status(), 502, "{method} {path}");
            let facts = gateway(&record);
            assert_eq!(facts.error.as_ref().map(|it| it.kind), Some(kind));
            assert!(facts.reused && facts.retried.is_none() && facts.kept_ms.is_some());
            assert_eq!(rule(&record), "gateway.silent.kept");
            assert!(evidence(&record, "was a kept one"));
            if method == "POST" {
                assert!(evidence(&record, "may have processed it"));
            }
            never_speaks_of_tls(&record);
        }
    }
    // An answer had begun.
    let (head, record) = ask_kept(&tap, "GET", "/half", "").await;
    assert_eq!((head.status(), rule(&record)), (502, "gateway.silent.kept"));
    never_speaks_of_tls(&record);
    // And each request arrived once.
    let seen = peer.log.heads();
    let mut targets: Vec<_> = seen.iter().map(Head::target).collect();
    let count = targets.len();
    targets.sort();
    targets.dedup();
    assert_eq!(targets.len(), count);
}

/// Record of a POST whose kept connection closed under it.
pub async fn ended_under_a_post() -> SessionRecord {
    let peer = second_request::start(&Via::Plain).await;
    let tap = Setup::before(&peer).start().await;
    ask_kept(&tap, "POST", "/fin", "").await.1
}

/// Record of a POST whose kept connection has lost its far end.
pub async fn lost_under_a_post(net: &Net) -> SessionRecord {
    let (_peer, tap) = before_there(net).await;
    let (_, before) = ask_kept(&tap, "POST", "/ok", "").await;
    lose(net, &before);
    ask(&tap, "POST", "/lost/POST", "").await.1
}

/// A tap in front of a gateway on the other host.
async fn before_there(net: &Net) -> (Peer, Tap) {
    let listener = net.listen_there(THERE_V4.into()).expect("listen there");
    let peer = second_request::start(&Via::Bound(Arc::new(listener))).await;
    let setup = Setup::before(&peer).set("timeouts.connect", "1s");
    let tap = setup.start().await;
    (peer, tap)
}

/// Drops packets to our end of the connection that a request went out on.
fn lose(net: &Net, record: &SessionRecord) -> SocketAddr {
    let local = gateway(record).local_addr.clone().expect("our end");
    let local: SocketAddr = local.parse().unwrap();
    net.lose(local.port());
    local
}

/// A long poll is not a dead connection: its host acknowledges.
#[tokio::test]
async fn a_slow_gateway_is_waited_for() {
    let peer = second_request::start(&Via::Plain).await;
    let tap = Setup::before(&peer)
        .set("timeouts.connect", "300ms")
        .start()
        .await;
    let begun = Instant::now();
    let asking = ask_kept(&tap, "GET", "/wait", "");
    let telling = async {
        // Three times the limit for unacknowledged bytes on a kept connection.
        tokio::time::sleep(Duration::from_millis(900)).await;
        for _ in 0..50 {
            peer.go();
        }
    };
    let ((head, record), ()) = tokio::join!(asking, telling);
    assert!(begun.elapsed() >= Duration::from_millis(900));
    let facts = gateway(&record);
    assert_eq!(head.status(), 200);
    assert!(facts.reused && facts.retried.is_none());
}

/// More than both kernels take for a peer that does not read.
const LARGE: usize = 8 << 20;

/// A gateway that pauses an upload acknowledges, and Linux counts that like silence.
#[tokio::test]
async fn an_upload_that_the_gateway_pauses_is_not_cut() {
    let peer = second_request::start(&Via::Plain).await;
    let tap = Setup::before(&peer)
        .set("timeouts.connect", "300ms")
        .start()
        .await;
    let body = "x".repeat(LARGE);
    let (head, record) = ask_kept(&tap, "POST", "/pause", &body).await;
    assert_eq!(head.status(), 200, "{}", rule(&record));
    assert!(gateway(&record).reused);
    assert_eq!(class(&record), Class::Ok, "{}", rule(&record));
}

/// An upload that is given up because the gateway reads nothing is not blamed on the network.
#[tokio::test]
async fn an_upload_that_is_never_read_is_the_gateways() {
    let record = never_read().await;
    let error = gateway(&record).error.as_ref().map(|it| it.kind);
    assert_eq!(error, Some(Kind::Unread));
    assert_eq!(rule(&record), "gateway.silent.unread");
    assert_eq!(record.answer.as_ref().map(|it| it.status), Some(504));
    assert!(evidence(&record, "its host acknowledged"));
}

/// The record of an upload of which the gateway reads nothing but the head.
pub async fn never_read() -> SessionRecord {
    let peer = second_request::start(&Via::Plain).await;
    let tap = Setup::before(&peer)
        .set("tcp.keepalive", "1s")
        .set("tcp.keepalive_interval", "1s")
        .set("tcp.user_timeout", "3s")
        .start()
        .await;
    let mut conn = tap.connect(Face::Plain).await;
    let head =
        format!("POST /unread HTTP/1.1\r\nHost: localhost\r\nContent-Length: {LARGE}\r\n\r\n");
    conn.send(head.as_bytes()).await.unwrap();
    // The answer may come before all of it is sent.
    let _ = conn.send(&vec![b'x'; LARGE]).await;
    tap.wait_for("its record", |_| true).await
}

/// No packet of the far end arrives on this connection any more, but a new one works: a NAT or a
/// firewall has forgotten it, or the gateway came back under the same address.
#[tokio::test]
async fn a_far_end_that_has_vanished_does_not_hang_a_request() {
    let name = test_name!(a_far_end_that_has_vanished_does_not_hang_a_request);
    let Some(net) = netns::enter("kept connections whose far end vanishes", name).await else {
        return;
    };
    let (_peer, tap) = before_there(&net).await;
    for (method, status) in [("GET", 200), ("POST", 504)] {
        // A kept connection whose port we know.
        let (_, before) = ask_kept(&tap, method, "/ok", "").await;
        let local = lose(&net, &before);
        let begun = Instant::now();
        let (head, record) = ask(&tap, method, &format!("/lost/{method}"), "").await;
        let took = begun.elapsed();
        assert_eq!(head.status(), status, "{method}");
        assert!(
            took < promised(Duration::from_secs(10)),
            "{method} took {took:?}"
        );
        let facts = gateway(&record);
        if method == "GET" {
            let retried = facts.retried.as_ref().expect("it is noted");
            assert_eq!(retried.end, TransportEnd::Timeout);
            assert_eq!(retried.local_addr, Some(local.to_string()));
            assert_eq!(class(&record), Class::Ok, "{}", rule(&record));
        } else {
            assert!(facts.reused && facts.retried.is_none());
            assert_eq!(rule(&record), "network.cut.request");
            never_speaks_of_tls(&record);
        }
    }
}
