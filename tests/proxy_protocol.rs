//! PROXY protocol headers in front of TLS and HTTP: from listed peers they must come and count, from
//! everybody else they are a mistake that the record explains, and nobody becomes local by one.

mod attacks;
mod hops;
mod wrong;

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use rustls_pki_types::ServerName;
use serde_json::{Value, json};
use socket2::SockRef;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, TlsStream};
use wstap::session::SessionRecord;
use wstap::session::record::Class;
use wstap::session::record::client::ViaKind;
use wstap::session::record::gateway::{ForwardedMode, ForwardedWhy};
use wstap::session::record::proxy_protocol::ProxyCommand;

use crate::peers::attribution::{self, Rules};
use crate::peers::{Peer, Via, echo};
use crate::support::client::{connect, connect_unix};
use crate::support::conn::Conn;
use crate::support::deadline::within;
use crate::support::frame::Frame;
use crate::support::records::{class, rule};
use crate::support::tap::{Face, Setup, Tap};
use crate::support::wire::Wire;

const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

const V1: &[u8] = b"PROXY TCP4 203.0.113.9 198.51.100.1 50344 443\r\n";
const V1_IPV6: &[u8] = b"PROXY TCP6 2001:db8::9 2001:db8::1 50344 443\r\n";

/// A version 2 header.
fn v2(command: u8, family: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = SIGNATURE.to_vec();
    bytes.extend([0x20 | command, family]);
    bytes.extend(u16::try_from(payload.len()).unwrap().to_be_bytes());
    bytes.extend_from_slice(payload);
    bytes
}

/// The addresses of a version 2 header for IPv4.
fn pair(client: [u8; 4]) -> Vec<u8> {
    [
        &client[..],
        &[198, 51, 100, 1],
        &50344u16.to_be_bytes(),
        &443u16.to_be_bytes(),
    ]
    .concat()
}

fn v2_ipv4() -> Vec<u8> {
    v2(1, 0x11, &pair([203, 0, 113, 9]))
}

/// From `from` on both listeners.
fn listeners(from: &[&str]) -> Value {
    json!([
        { "listen": "127.0.0.1:0", "proxy_protocol": { "from": from } },
        {
            "listen": "127.0.0.1:0",
            "proxy_protocol": { "from": from },
            "tls": { "self_signed": { "names": ["localhost"] } },
        },
    ])
}

/// A tap that takes headers from loopback, before a gateway that trusts us.
async fn judged() -> (Peer, Setup) {
    let peer = attribution::judge(&Via::Plain, &Rules::trusting(&[LOOPBACK])).await;
    let setup = Setup::before(&peer).set("listeners", listeners(&["127.0.0.1"]));
    (peer, setup)
}

/// The same before one that echoes.
async fn echoed(from: &[&str]) -> (Peer, Setup) {
    let peer = echo::start(&Via::Plain).await;
    let setup = Setup::before(&peer).set("listeners", listeners(from));
    (peer, setup)
}

/// A connection that begins with these bytes, followed by TLS where the listener speaks it.
async fn begin(tap: &Tap, face: Face, header: &[u8]) -> Conn {
    match face {
        Face::Plain => {
            let mut conn = connect(tap.addr(face)).await;
            conn.send(header).await.unwrap();
            conn
        }
        Face::Tls => {
            let mut tcp = TcpStream::connect(tap.addr(face)).await.unwrap();
            // Held back until the hello is there too: both come in one segment.
            SockRef::from(&tcp).set_tcp_cork(true).unwrap();
            tcp.write_all(header).await.unwrap();
            let name = ServerName::try_from("localhost").unwrap();
            let connector = TlsConnector::from(Arc::clone(&tap.trust()));
            let tls = within("a TLS handshake", connector.connect(name, tcp)).await;
            let tls = tls.expect("a TLS handshake");
            SockRef::from(tls.get_ref().0).set_tcp_cork(false).unwrap();
            Conn::bounded(Wire::Tls(Box::new(TlsStream::Client(tls))))
        }
    }
}

/// The locality that the gateway gave the sender of an upgrade; `None` for its 403.
async fn locality(conn: &mut Conn) -> Option<String> {
    let answer = conn.upgrade("/", &[]).await.expect("an answer");
    answer.value("x-locality")
}

#[tokio::test]
async fn the_client_that_is_named_counts() {
    let (_peer, setup) = judged().await;
    let tap = setup.start().await;
    let mapped = [
        &[0; 10][..],
        &[0xff, 0xff, 203, 0, 113, 9],
        &[0; 10],
        &[0xff, 0xff, 10, 0, 0, 1],
        &[0xc4, 0xa8, 1, 187],
    ]
    .concat();
    let mut seen = 0;
    for face in Face::BOTH {
        for (header, version, client, node) in [
            (V1.to_vec(), 1, "203.0.113.9:50344", "203.0.113.9"),
            (V1_IPV6.to_vec(), 1, "[2001:db8::9]:50344", "2001:db8::9"),
            (v2_ipv4(), 2, "203.0.113.9:50344", "203.0.113.9"),
            (v2(1, 0x21, &mapped), 2, "203.0.113.9:50344", "203.0.113.9"),
        ] {
            let mut conn = begin(&tap, face, &header).await;
            let expected = format!("trusted-proxy {node}");
            assert_eq!(
                locality(&mut conn).await,
                Some(expected),
                "{face:?} {client}"
            );
            drop(conn);
            let record = tap.newest(&mut seen).await;
            assert_eq!(record.client.addr, client);
            let via = record.client.via.as_ref().expect("via the proxy");
            assert_eq!(
                (via.kind, via.resolved, via.header),
                (ViaKind::ProxyProtocol, true, None)
            );
            assert!(via.peer.starts_with("127.0.0.1:"), "{}", via.peer);
            let facts = record.client.proxy_protocol.as_ref().expect("the header");
            assert_eq!(facts.version, Some(version));
            assert!(facts.destination.is_some() && facts.fault.is_none());
            assert_eq!(
                record.tap.listener_key,
                format!("listeners[{}]", usize::from(face == Face::Tls))
            );
            assert_eq!(
                decided(&record),
                (ForwardedMode::Overwrite, ForwardedWhy::RemoteClient)
            );
        }
    }
}

fn decided(record: &SessionRecord) -> (ForwardedMode, ForwardedWhy) {
    let gateway = record.gateway.as_ref().expect("a gateway leg");
    let facts = gateway.forwarded.as_ref().expect("what went out");
    (facts.mode, facts.why.expect("why"))
}

/// The rule that must never break: a header makes nobody local, whatever it says.
#[tokio::test]
async fn nobody_becomes_local_by_a_header() {
    let (_peer, setup) = judged().await;
    let tap = setup.start().await;
    let mut seen = 0;
    for (header, command, client) in [
        (
            b"PROXY TCP4 127.0.0.1 127.0.0.1 1 2\r\n".to_vec(),
            ProxyCommand::Proxy,
            "127.0.0.1:1",
        ),
        (
            b"PROXY TCP6 ::1 ::1 1 2\r\n".to_vec(),
            ProxyCommand::Proxy,
            "[::1]:1",
        ),
        (
            b"PROXY TCP6 ::ffff:127.0.0.1 ::1 1 2\r\n".to_vec(),
            ProxyCommand::Proxy,
            "127.0.0.1:1",
        ),
        (
            v2(1, 0x11, &pair([127, 9, 9, 9])),
            ProxyCommand::Proxy,
            "127.9.9.9:50344",
        ),
        (b"PROXY UNKNOWN\r\n".to_vec(), ProxyCommand::Unknown, ""),
        (v2(0, 0x00, &[]), ProxyCommand::Local, ""),
        (
            v2(0, 0x11, &pair([203, 0, 113, 9])),
            ProxyCommand::Local,
            "",
        ),
        (v2(1, 0x00, &[]), ProxyCommand::Unknown, ""),
        (v2(1, 0x31, &[b'x'; 216]), ProxyCommand::Unknown, ""),
    ] {
        let mut conn = begin(&tap, Face::Plain, &header).await;
        let locality = locality(&mut conn).await;
        assert_ne!(locality.as_deref(), Some("direct-local"), "{header:?}");
        drop(conn);
        let record = tap.newest(&mut seen).await;
        let facts = record.client.proxy_protocol.as_ref().expect("the header");
        assert_eq!(facts.command, Some(command));
        let via = record.client.via.as_ref().expect("via the proxy");
        assert_eq!(via.resolved, !client.is_empty());
        let shown = if client.is_empty() { &via.peer } else { client };
        assert_eq!(record.client.addr, shown);
        assert_eq!(decided(&record).0, ForwardedMode::Overwrite);
    }
}

/// Loopback may be in `trusted_proxies`; a claim to be there gains nothing by it.
#[tokio::test]
async fn a_claim_to_be_on_loopback_gains_no_trust() {
    let (_peer, setup) = judged().await;
    let tap = setup
        .set("trusted_proxies", json!(["127.0.0.0/8", "10.0.0.0/8"]))
        .start()
        .await;
    let chain = [("X-Forwarded-For", "203.0.113.7")];
    let mut seen = 0;
    for (client, expected) in [
        ([127, 0, 0, 1], None),
        ([10, 0, 0, 9], Some("trusted-proxy 203.0.113.7")),
    ] {
        let mut conn = begin(&tap, Face::Plain, &v2(1, 0x11, &pair(client))).await;
        let answer = conn.upgrade("/", &chain).await.expect("an answer");
        assert_eq!(
            answer.value("x-locality").as_deref(),
            expected,
            "{client:?}"
        );
        drop(conn);
        let record = tap.newest(&mut seen).await;
        assert!(record.client.proxy_protocol.is_some());
        let via = record.client.via.as_ref().unwrap();
        if expected.is_some() {
            assert_eq!(via.kind, ViaKind::ForwardedChain);
            assert_eq!(via.peer, "10.0.0.9:50344", "whom the header names");
        } else {
            assert_eq!(via.kind, ViaKind::ProxyProtocol);
        }
    }
}

#[tokio::test]
async fn a_header_may_come_byte_by_byte() {
    let (_peer, setup) = echoed(&["127.0.0.1"]).await;
    let tap = setup.start().await;
    for header in [V1.to_vec(), v2_ipv4()] {
        let mut conn = connect(tap.addr(Face::Plain)).await;
        for byte in header {
            conn.send(&[byte]).await.unwrap();
            tokio::task::yield_now().await;
        }
        conn.open("/").await;
        conn.send_masked(Frame::text("hello")).await.unwrap();
        assert_eq!(conn.frame().await.unwrap().as_text(), "hello");
    }
    for record in tap.websockets(2).await {
        assert_eq!(record.client.addr, "203.0.113.9:50344");
    }
}

#[tokio::test]
async fn what_the_proxy_tells_beside_stands_in_the_record() {
    let (_peer, setup) = echoed(&["127.0.0.1"]).await;
    let tap = setup.start().await;
    let tlv = |kind: u8, value: &[u8]| {
        [&[kind, 0, u8::try_from(value.len()).unwrap()][..], value].concat()
    };
    let tls = [vec![1, 0, 0, 0, 0], tlv(0x21, b"TLSv1.3")].concat();
    let payload = [
        pair([203, 0, 113, 9]),
        tlv(2, b"claw.example"),
        tlv(5, b"id-7"),
        tlv(0x20, &tls),
    ]
    .concat();
    let mut conn = begin(&tap, Face::Plain, &v2(1, 0x11, &payload)).await;
    conn.open("/").await;
    drop(conn);
    let record = tap.websocket().await;
    let facts = record.client.proxy_protocol.expect("the header");
    assert_eq!(facts.authority.unwrap().as_str(), "claw.example");
    assert_eq!(facts.unique_id.unwrap().as_str(), "id-7");
    assert_eq!(facts.tls.unwrap().version.unwrap().as_str(), "TLSv1.3");
    assert!(!facts.checked);
}

#[tokio::test]
async fn limits_count_the_real_client() {
    let (_peer, setup) = echoed(&["127.0.0.1"]).await;
    let tap = setup.set("limits.per_client", 2).start().await;
    let mut open = Vec::new();
    for last in [1, 2, 3, 1, 2, 3] {
        let mut conn = begin(&tap, Face::Plain, &v2(1, 0x11, &pair([203, 0, 113, last]))).await;
        conn.open("/").await;
        open.push(conn);
    }
    let mut third = begin(&tap, Face::Plain, &v2(1, 0x11, &pair([203, 0, 113, 1]))).await;
    assert!(third.rest().await.0.is_empty());
    let denied = |record: &SessionRecord| record.close.denied.is_some();
    let record = tap.wait_for("the refusal", denied).await;
    assert_eq!(rule(&record), "tap.denied.per_client");
    assert_eq!(record.client.addr, "203.0.113.1:50344");
    // The proxy speaks for itself as often as it likes.
    for _ in 0..3 {
        let mut conn = begin(&tap, Face::Plain, &v2(0, 0, &[])).await;
        conn.open("/").await;
        open.push(conn);
    }
}

#[tokio::test]
async fn health_checks_of_the_proxy_are_probes() {
    let (peer, setup) = echoed(&["127.0.0.1"]).await;
    let tap = setup.start().await;
    for header in [&b""[..], &v2(0, 0, &[])] {
        let mut conn = connect(tap.addr(Face::Plain)).await;
        conn.send(header).await.unwrap();
        conn.finish().await;
        drop(conn.rest().await);
        let local = !header.is_empty();
        let of_it = |record: &SessionRecord| record.client.proxy_protocol.is_some() == local;
        let record = tap.wait_for("the probe", of_it).await;
        assert_eq!(class(&record), Class::Probe, "{header:?}");
    }
    assert_eq!(peer.log.connections(), 0);
}

#[tokio::test]
async fn a_reload_changes_who_must_send_a_header() {
    let (_peer, setup) = echoed(&["10.0.0.0/8"]).await;
    let tap = setup.set("reload", "signal").start().await;
    let mut direct = tap.connect(Face::Plain).await;
    direct.open("/").await;
    tap.set("listeners", listeners(&["10.0.0.0/8", "127.0.0.1"]));
    tap.reload("done").await;
    let mut conn = begin(&tap, Face::Plain, V1).await;
    conn.open("/").await;
    direct.send_masked(Frame::text("still")).await.unwrap();
    assert_eq!(direct.frame().await.unwrap().as_text(), "still");
}

/// A header from a proxy that connects to a unix socket.
#[tokio::test]
async fn headers_come_by_unix_sockets_too() {
    let peer = attribution::judge(&Via::Plain, &Rules::trusting(&[LOOPBACK])).await;
    let setup = Setup::before(&peer);
    let path = setup.path("tap.sock");
    let listen = format!("unix:{}", path.display());
    let tap = setup
        .set(
            "listeners",
            json!([{ "listen": listen, "proxy_protocol": { "from": ["unix"] } }]),
        )
        .start()
        .await;
    let mut seen = 0;
    for (header, expected, addr) in [
        (
            v2_ipv4(),
            Some("trusted-proxy 203.0.113.9"),
            "203.0.113.9:50344",
        ),
        (v2(0, 0, &[]), None, "unix"),
    ] {
        let mut conn = connect_unix(&path).await;
        conn.send(&header).await.unwrap();
        assert_eq!(locality(&mut conn).await.as_deref(), expected);
        drop(conn);
        let record = tap.newest(&mut seen).await;
        assert_eq!(record.client.addr, addr);
        assert_eq!(record.client.via.unwrap().peer, "unix");
    }
}
