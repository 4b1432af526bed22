//! Listed peers that are hostile, or are used by somebody who is.

use wstap::session::record::{TimerKey, TransportEnd};

use super::*;
use crate::support::head::upgrade;
use crate::support::http2::Http2;

/// Cut at each byte: the rest comes when the first part of every connection is there.
#[tokio::test]
async fn a_header_may_be_cut_anywhere() {
    let (_peer, setup) = echoed(&["127.0.0.1"]).await;
    let tap = setup.start().await;
    let mut count = 0;
    for header in [V1.to_vec(), v2_ipv4()] {
        let mut open = Vec::new();
        for cut in 0..header.len() {
            let mut conn = connect(tap.addr(Face::Plain)).await;
            conn.send(&header[..cut]).await.unwrap();
            open.push((conn, header[cut..].to_vec()));
        }
        for (mut conn, rest) in open {
            conn.send(&rest).await.unwrap();
            conn.open("/").await;
            count += 1;
        }
    }
    for record in tap.websockets(count).await {
        assert_eq!(record.client.addr, "203.0.113.9:50344");
    }
}

/// Bytes after a good header are judged as usual, and belong to the named client.
#[tokio::test]
async fn what_follows_a_good_header_is_the_clients() {
    let (peer, setup) = echoed(&["127.0.0.1"]).await;
    let tap = setup.start().await;
    for (count, (bytes, expected, answer)) in [
        (
            &b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"[..],
            "client.fault.plain_on_tls",
            "HTTP/1.1 400",
        ),
        (
            &b"\x16\x03\x01\x00\x04\xff\x00\x00\x00"[..],
            "client.fault.tls",
            "",
        ),
        (&[0xee; 600][..], "client.fault.not_tls", ""),
        (&b""[..], "probe.tcp", ""),
    ]
    .into_iter()
    .enumerate()
    {
        let mut conn = connect(tap.addr(Face::Tls)).await;
        conn.send(&[&v2_ipv4(), bytes].concat()).await.unwrap();
        if bytes.is_empty() {
            conn.fin();
        }
        let (came, _) = conn.rest().await;
        let came = String::from_utf8_lossy(&came).into_owned();
        assert!(came.starts_with(answer), "{came:?}");
        let record = tap.wait_for_count(count + 1).await.pop().unwrap();
        assert!(rule(&record).starts_with(expected), "{}", rule(&record));
        assert_eq!(record.client.addr, "203.0.113.9:50344");
    }
    assert_eq!(peer.log.connections(), 0);
}

/// Only where it is configured: the other listener takes the same peer for a client.
#[tokio::test]
async fn each_listener_has_a_list_of_its_own() {
    let (_peer, setup) = echoed(&["127.0.0.1"]).await;
    let mut both = listeners(&["127.0.0.1"]);
    both[1].as_object_mut().unwrap().remove("proxy_protocol");
    let tap = setup.set("listeners", both).start().await;
    let mut seen = 0;
    begin(&tap, Face::Plain, V1).await.open("/").await;
    let record = tap.newest(&mut seen).await;
    assert_eq!(record.client.addr, "203.0.113.9:50344");
    tap.connect(Face::Tls).await.open("/").await;
    let record = tap.newest(&mut seen).await;
    assert!(record.client.addr.starts_with("127.0.0.1:") && record.client.via.is_none());
    let mut conn = connect(tap.addr(Face::Tls)).await;
    conn.send(V1).await.unwrap();
    conn.rest().await;
    let record = tap.wait_for_count(3).await.pop().unwrap();
    assert_eq!(rule(&record), "hop.fault.proxy_header_unexpected");
}

/// HTTP/2 after the header: every stream is the named client's.
#[tokio::test]
async fn http2_behind_a_header() {
    let (_peer, setup) = judged().await;
    let tap = setup.set("http2.websocket", true).start().await;
    let mut client = Http2::behind(&tap, &v2_ipv4()).await;
    let mut socket = client.open("/", &[]).await;
    assert_eq!(
        socket.answer.get("x-locality").unwrap(),
        "trusted-proxy 203.0.113.9"
    );
    socket.finish();
    let record = tap.websocket().await;
    assert_eq!(record.client.addr, "203.0.113.9:50344");
    assert_eq!(
        record.client.via.as_ref().unwrap().kind,
        ViaKind::ProxyProtocol
    );
    let alpn = record.client.tls.as_ref().and_then(|tls| tls.alpn.as_ref());
    assert_eq!(alpn.unwrap().as_str(), "h2");
    let version = record.request.as_ref().unwrap().http_version.as_str();
    assert_eq!(version, "HTTP/2.0");
}

/// Connections that stall inside the header hold places of `limits.handshakes`, little memory, and
/// both only for `timeouts.proxy_header`.
#[tokio::test]
async fn headers_that_stall_are_bounded() {
    const PLACES: usize = 300;
    let (_peer, setup) = echoed(&["127.0.0.1"]).await;
    let tap = setup
        .set("limits.handshakes", PLACES)
        .set("limits.per_client", 1)
        .set("timeouts.proxy_header", "2s")
        .start()
        .await;
    let before = tap.resident_kib();
    let bomb = v2(1, 0x11, &[0; 4000]);
    let mut stalled = Vec::new();
    for _ in 0..PLACES {
        let mut conn = connect(tap.addr(Face::Plain)).await;
        conn.send(&bomb[..4000]).await.unwrap();
        stalled.push(conn);
    }
    let mut late = connect(tap.addr(Face::Plain)).await;
    assert!(late.rest().await.0.is_empty());
    let denied = |record: &SessionRecord| record.close.denied.is_some();
    let record = tap.wait_for("the refusal", denied).await;
    assert_eq!(rule(&record), "tap.denied.handshakes");
    let each = tap.resident_kib().saturating_sub(before) / PLACES as u64;
    assert!(each < 64, "{each} KiB for each of them");
    // All of them go, and their places are free again.
    let records = tap.wait_for_count(PLACES + 1).await;
    let timers = records.iter().filter(|record| {
        let timer = record.close.timer.as_ref();
        timer.is_some_and(|timer| timer.key == TimerKey::ProxyHeader)
            && record.close.transport.client == TransportEnd::Local
    });
    assert_eq!(timers.count(), PLACES);
    drop(stalled);
    begin(&tap, Face::Plain, V1).await.open("/").await;
}

/// A listed peer that names another client each time: every one of them counts for itself, and all
/// together for `limits.connections`; nothing stays when they are gone.
#[tokio::test]
async fn invented_clients_are_bounded_by_the_connections() {
    let (_peer, setup) = echoed(&["127.0.0.1"]).await;
    let tap = setup
        .set("limits.connections", 60)
        .set("limits.per_client", 1)
        .start()
        .await;
    let mut open = Vec::new();
    for last in 1..=60 {
        let header = v2(1, 0x11, &pair([203, 0, 113, last]));
        let mut conn = begin(&tap, Face::Plain, &header).await;
        conn.open("/").await;
        open.push(conn);
    }
    let mut more = begin(&tap, Face::Plain, &v2(1, 0x11, &pair([203, 0, 113, 61]))).await;
    assert!(more.rest().await.0.is_empty());
    let denied = |record: &SessionRecord| record.close.denied.is_some();
    let record = tap.wait_for("the refusal", denied).await;
    assert_eq!(rule(&record), "tap.denied.connections");
    drop(open);
    // Each may come again, as soon as its first connection is over.
    for last in 1..=60 {
        let mut bytes = v2(1, 0x11, &pair([203, 0, 113, last]));
        bytes.extend(upgrade("/", "localhost", &[]));
        within("a place", async {
            loop {
                // Turned away, it may find the connection ended at any step.
                let mut conn = connect(tap.addr(Face::Plain)).await;
                let sent = conn.send(&bytes).await;
                if sent.is_ok() && conn.head().await.is_ok_and(|head| head.status() == 101) {
                    break;
                }
            }
        })
        .await;
    }
}
