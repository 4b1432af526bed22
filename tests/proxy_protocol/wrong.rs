//! Headers that are missing, late or broken, and headers from strangers: each is refused before
//! anything else is read, and explained.

use wstap::session::SessionRecord;
use wstap::session::party::Phase;
use wstap::session::record::{FirstBytes, Kind, TimerKey};

use super::*;
use crate::support::wire::Ending;

/// The record of a connection that is refused before any request.
async fn refused(tap: &Tap, seen: &mut usize) -> SessionRecord {
    *seen += 1;
    let count = *seen;
    let look = || Some(tap.records()).filter(|records| records.len() >= count);
    let records = crate::support::deadline::poll(crate::support::deadline::STEP, look).await;
    let record = records.expect("a record").pop().expect("a record");
    assert_eq!(record.kind, Kind::Connection);
    record
}

fn next(record: &SessionRecord) -> &str {
    &record.verdict.as_ref().expect("a verdict").next
}

fn summary(record: &SessionRecord) -> &str {
    &record.verdict.as_ref().expect("a verdict").summary
}

#[tokio::test]
async fn a_listed_peer_must_send_a_header() {
    let (peer, setup) = echoed(&["127.0.0.1"]).await;
    let tap = setup.start().await;
    let mut seen = 0;
    for face in Face::BOTH {
        for (bytes, first) in [
            (&b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"[..], FirstBytes::Http),
            (
                b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
                FirstBytes::Tls,
            ),
            (b"SSH-2.0-OpenSSH\r\n", FirstBytes::Other),
        ] {
            let mut conn = connect(tap.addr(face)).await;
            conn.send(bytes).await.unwrap();
            assert!(conn.rest().await.0.is_empty(), "not one byte of an answer");
            let record = refused(&tap, &mut seen).await;
            assert_eq!(rule(&record), "hop.fault.proxy_header_missing");
            assert_eq!(
                (record.phase, record.client.first_bytes),
                (Phase::Accept, Some(first))
            );
            let key = record.tap.listener_key.as_str();
            let words =
                format!("127.0.0.1 is in {key}.proxy_protocol.from and sent no PROXY header");
            assert_eq!(summary(&record), words);
            assert!(next(&record).contains("send-proxy-v2"), "{}", next(&record));
        }
    }
    assert_eq!(peer.log.connections(), 0);
}

#[tokio::test]
async fn broken_headers_are_refused_with_the_reason() {
    let (peer, setup) = echoed(&["127.0.0.1"]).await;
    let tap = setup.start().await;
    let checksum = [pair([203, 0, 113, 9]), vec![3, 0, 4, 1, 2, 3, 4]].concat();
    let mut seen = 0;
    for (bytes, words) in [
        (
            b"PROXY TCP4 203.0.113.999 10.0.0.1 1 2\r\n".to_vec(),
            "malformed",
        ),
        (
            format!("PROXY UNKNOWN {}\r\n", "x".repeat(200)).into_bytes(),
            "too long",
        ),
        (v2(1, 0x11, &[0; 4]), "malformed"),
        (v2(1, 0x11, &checksum), "checksum is wrong"),
        (v2(1, 0x11, &vec![0; 60_000]), "too long"),
    ] {
        let mut conn = connect(tap.addr(Face::Plain)).await;
        // It may be over before everything is sent.
        drop(conn.send(&bytes).await);
        let (answer, ending) = conn.rest().await;
        assert!(answer.is_empty() && ending != Ending::StillOpen);
        let record = refused(&tap, &mut seen).await;
        assert_eq!(rule(&record), "hop.fault.proxy_header", "{words}");
        assert!(summary(&record).contains(words), "{}", summary(&record));
        assert!(record.client.proxy_protocol.unwrap().fault.is_some());
    }
    // Half of one, and the end.
    let mut conn = connect(tap.addr(Face::Plain)).await;
    conn.send(&V1[..20]).await.unwrap();
    conn.finish().await;
    let record = refused(&tap, &mut seen).await;
    assert!(
        summary(&record).contains("ended in the middle"),
        "{}",
        summary(&record)
    );
    assert_eq!(peer.log.connections(), 0);
}

#[tokio::test]
async fn a_late_header_is_a_timer() {
    let (peer, setup) = echoed(&["127.0.0.1"]).await;
    let tap = setup.set("timeouts.proxy_header", "300ms").start().await;
    let mut seen = 0;
    for face in Face::BOTH {
        for begun in [&b""[..], &V1[..9], &v2_ipv4()[..20]] {
            let mut conn = connect(tap.addr(face)).await;
            conn.send(begun).await.unwrap();
            assert_ne!(conn.rest().await.1, Ending::StillOpen);
            let record = refused(&tap, &mut seen).await;
            assert_eq!(rule(&record), "tap.timeout.proxy_header");
            let timer = record.close.timer.expect("a timer");
            assert_eq!((timer.key, timer.limit_ms), (TimerKey::ProxyHeader, 300));
            assert!(timer.observed_ms >= 300.0);
        }
    }
    assert_eq!(peer.log.connections(), 0);
}

#[tokio::test]
async fn a_strangers_header_is_not_read_and_the_line_to_add_is_told() {
    let (peer, setup) = echoed(&["10.0.0.0/8"]).await;
    let tap = setup.start().await;
    let mut seen = 0;
    for face in Face::BOTH {
        for header in [V1.to_vec(), v2_ipv4(), b"PROXY UNKNOWN\r\n".to_vec()] {
            let mut conn = connect(tap.addr(face)).await;
            conn.send(&header).await.unwrap();
            // A plain listener waits for the rest of a head.
            conn.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
                .await
                .unwrap();
            conn.rest().await;
            let record = refused(&tap, &mut seen).await;
            assert_eq!(
                rule(&record),
                "hop.fault.proxy_header_unexpected",
                "{face:?} {header:?}"
            );
            let key = record.tap.listener_key.as_str();
            let words =
                format!("PROXY header from 127.0.0.1 that is not in {key}.proxy_protocol.from");
            assert_eq!(summary(&record), words);
            let line = "`proxy_protocol: { from: [\"127.0.0.1\"] }`";
            assert!(next(&record).contains(line), "{}", next(&record));
            // It is the peer itself, whomever it claims to be.
            assert!(record.client.addr.starts_with("127.0.0.1:") && record.client.via.is_none());
        }
    }
    assert_eq!(peer.log.connections(), 0);
}

#[tokio::test]
async fn a_stranger_without_a_header_is_a_direct_client() {
    let (_peer, setup) = echoed(&["10.0.0.0/8"]).await;
    let tap = setup.start().await;
    for face in Face::BOTH {
        let mut conn = tap.connect(face).await;
        conn.open("/").await;
    }
    for record in tap.websockets(2).await {
        assert!(record.client.addr.starts_with("127.0.0.1:"));
        assert!(record.client.via.is_none() && record.client.proxy_protocol.is_none());
    }
}

#[tokio::test]
async fn two_headers_are_one_too_many() {
    let (peer, setup) = echoed(&["127.0.0.1"]).await;
    let tap = setup.start().await;
    let mut seen = 0;
    for face in Face::BOTH {
        let mut conn = connect(tap.addr(face)).await;
        conn.send(&[V1, V1, b"GET / HTTP/1.1\r\n\r\n"].concat())
            .await
            .unwrap();
        conn.rest().await;
        let record = refused(&tap, &mut seen).await;
        assert_eq!(rule(&record), "hop.fault.proxy_header_unexpected");
        assert!(
            summary(&record).starts_with("two PROXY headers"),
            "{}",
            summary(&record)
        );
    }
    assert_eq!(peer.log.connections(), 0);
}
