//! What should not come in: each case gets its answer (or its end) and its record.

use wstap::session::record::{Class, FirstBytes, Kind, TlsAlert};
use wstap::session::{Phase, SessionRecord};

use crate::peers::{Peer, Via, echo, never_answers, ok_instead_of_101};
use crate::support::certs::trusting_nothing;
use crate::support::client::{connect, try_connect_tls};
use crate::support::head::upgrade;
use crate::support::records::class;
use crate::support::tap::{Face, Setup, Tap};
use crate::support::wire::Ending;

async fn tap_before_echo() -> (Peer, Tap) {
    let peer = echo::start(&Via::Plain).await;
    let tap = Setup::before(&peer).start().await;
    (peer, tap)
}

async fn only_record(tap: &Tap) -> SessionRecord {
    tap.wait_for("a record", |_| true).await
}

#[tokio::test]
async fn garbage_and_plain_http_on_the_tls_port() {
    for (bytes, first) in [
        (
            b"\x00\x01\x02\x03garbage\r\n\r\n".as_slice(),
            FirstBytes::Other,
        ),
        (
            b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
            FirstBytes::Http,
        ),
    ] {
        let (peer, tap) = tap_before_echo().await;
        let mut conn = connect(tap.addr(Face::Tls)).await;
        conn.send(bytes).await.unwrap();
        assert_ne!(conn.rest().await.1, Ending::StillOpen);
        let record = only_record(&tap).await;
        assert_eq!(record.kind, Kind::Connection);
        assert_eq!(record.client.first_bytes, Some(first));
        assert_eq!(class(&record), Class::ClientFault);
        assert_eq!(peer.log.connections(), 0);
    }
}

#[tokio::test]
async fn tls_and_garbage_on_the_plain_port() {
    for tls in [true, false] {
        let (peer, tap) = tap_before_echo().await;
        let addr = tap.addr(Face::Plain);
        if tls {
            assert!(
                try_connect_tls(addr, &tap.trust(), "localhost")
                    .await
                    .is_err()
            );
        } else {
            let mut conn = connect(addr).await;
            conn.send(b"\x00\x01\x02\x03garbage\r\n\r\n").await.unwrap();
            assert_ne!(conn.rest().await.1, Ending::StillOpen);
        }
        let record = only_record(&tap).await;
        assert_eq!(record.kind, Kind::Connection);
        let first = if tls {
            FirstBytes::Tls
        } else {
            FirstBytes::Other
        };
        assert_eq!(record.client.first_bytes, Some(first));
        assert_eq!(class(&record), Class::ClientFault);
        assert_eq!(peer.log.connections(), 0);
    }
}

#[tokio::test]
async fn a_client_that_refuses_our_certificate() {
    let (_peer, tap) = tap_before_echo().await;
    let addr = tap.addr(Face::Tls);
    assert!(
        try_connect_tls(addr, &trusting_nothing(), "localhost")
            .await
            .is_err()
    );
    let record = only_record(&tap).await;
    assert_eq!(
        (record.kind, class(&record)),
        (Kind::Connection, Class::TapCertificate)
    );
    let failure = record
        .client
        .tls
        .and_then(|tls| tls.failure)
        .expect("a TLS failure");
    assert_eq!(failure.alert, Some(TlsAlert::UnknownCa));
}

#[tokio::test]
async fn connections_that_say_nothing_are_probes() {
    for face in Face::BOTH {
        for abort in [false, true] {
            let (peer, tap) = tap_before_echo().await;
            let mut conn = connect(tap.addr(face)).await;
            if abort {
                conn.abort();
            } else {
                conn.finish().await;
                conn.rest().await;
            }
            let record = only_record(&tap).await;
            assert_eq!(
                (record.kind, class(&record)),
                (Kind::Connection, Class::Probe),
                "{face:?}"
            );
            assert_eq!(record.client.bytes_read.unwrap_or(0), 0);
            assert_eq!(peer.log.connections(), 0);
        }
    }
}

#[tokio::test]
async fn a_client_that_leaves_in_the_middle_of_a_head() {
    let (_peer, tap) = tap_before_echo().await;
    let mut conn = connect(tap.addr(Face::Plain)).await;
    conn.send(b"GET /half HTTP/1.1\r\nHost: loc").await.unwrap();
    conn.finish().await;
    conn.rest().await;
    assert_eq!(class(&only_record(&tap).await), Class::ClientLeft);
}

#[tokio::test]
async fn a_head_over_the_limit_is_431() {
    for (name, more) in [
        ("long", vec![("X-Long", 80 * 1024)]),
        ("many", vec![("X", 1); 200]),
    ] {
        let (peer, tap) = tap_before_echo().await;
        let mut conn = connect(tap.addr(Face::Plain)).await;
        let mut head = String::from("GET / HTTP/1.1\r\nHost: localhost\r\n");
        for (header, length) in more {
            let line = format!("{header}: {}\r\n", "x".repeat(length));
            head.push_str(&line);
        }
        head.push_str("\r\n");
        // The tap need not read all of it.
        drop(conn.send(head.as_bytes()).await);
        let answer = conn.head().await.expect("an answer");
        assert_eq!(answer.status(), 431, "{name}: {}", answer.text());
        assert!(answer.says_close());
        assert_eq!(class(&only_record(&tap).await), Class::TapDenied, "{name}");
        assert_eq!(peer.log.connections(), 0);
    }
}

#[tokio::test]
async fn requests_that_cannot_be_passed_on_as_what_they_are() {
    let good = String::from_utf8(upgrade("/", "localhost", &[])).unwrap();
    let connect_method = "CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n".to_owned();
    for head in [
        good.replace("GET / HTTP/1.1", "POST / HTTP/1.1"),
        good.replace("GET / HTTP/1.1", "GET / HTTP/1.0"),
        connect_method,
    ] {
        let (peer, tap) = tap_before_echo().await;
        let mut conn = connect(tap.addr(Face::Plain)).await;
        conn.send(head.as_bytes()).await.unwrap();
        let answer = conn.head().await.unwrap();
        conn.finish().await;
        drop(conn);
        let record = only_record(&tap).await;
        let found = (answer.status(), class(&record), peer.log.requests());
        assert_eq!(found, (400, Class::ClientFault, 0), "{head}");
        assert!(answer.value("proxy-status").is_some());
    }
}

#[tokio::test]
async fn a_101_that_nobody_asked_for_is_not_passed_on() {
    let peer = ok_instead_of_101::answer(&Via::Plain, "101 Switching Protocols", &[], "").await;
    let tap = Setup::before(&peer).start().await;
    let mut conn = connect(tap.addr(Face::Plain)).await;
    conn.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        .await
        .unwrap();
    assert_eq!(conn.head().await.unwrap().status(), 502);
    assert_eq!(class(&only_record(&tap).await), Class::GatewayRefused);
}

#[tokio::test]
async fn a_client_that_leaves_while_a_plain_request_waits() {
    let peer = never_answers::start(&Via::Plain).await;
    let tap = Setup::before(&peer).start().await;
    let mut conn = connect(tap.addr(Face::Plain)).await;
    conn.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        .await
        .unwrap();
    peer.log.head(0).await;
    conn.abort();
    let record = only_record(&tap).await;
    assert_eq!(class(&record), Class::ClientLeft);
    // It was the gateway that we were waiting for, on an open connection.
    assert_eq!(record.phase, Phase::Upgrade);
    assert!(record.gateway.unwrap().local_addr.is_some());
}

#[tokio::test]
async fn what_a_peer_says_is_inert_in_every_output() {
    let (_peer, tap) = tap_before_echo().await;
    let mut conn = tap.connect(Face::Plain).await;
    let nasty = "agent \u{1b}[31m\u{202e}evil\u{7f}";
    conn.send(&upgrade(
        "/%1b%5b31m",
        "localhost",
        &[("User-Agent", nasty)],
    ))
    .await
    .unwrap();
    // The tap may refuse it or pass it on, but it may not print it.
    conn.head().await.expect("an answer");
    drop(conn);
    only_record(&tap).await;
    for (name, text) in [
        ("stdout", tap.stdout()),
        ("stderr", tap.stderr()),
        ("records", tap.records_text()),
    ] {
        for bad in ["\u{1b}", "\u{202e}", "\u{7f}"] {
            assert!(!text.contains(bad), "{name} contains {bad:?}");
        }
    }
}
