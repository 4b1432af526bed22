//! TLS of a client that breaks after its handshake, in each phase and in each way, and which side
//! is at fault.

use std::sync::Arc;

use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, SupportedProtocolVersion};
use wstap::session::record::{Class, StreamFaultKind};
use wstap::session::{Phase, SessionRecord};

use crate::peers::{Peer, Via, echo, never_answers};
use crate::support::certs::roots_of;
use crate::support::client::try_connect_tls;
use crate::support::conn::Conn;
use crate::support::head::upgrade;
use crate::support::records::{is_websocket, rule};
use crate::support::tap::{Face, Setup, Tap};

/// Bytes in the stream in place of a record that the client's key protects.
const WAYS: [&[u8]; 6] = [
    b"\x17\x03\x03\x00\x20abcdefghijklmnopqrstuvwxyz012345",
    b"\x15\x03\x03\x00\x02\x02\x28",
    b"\x16\x03\x03\x00\x04\x00\x00\x00\x00",
    b"\x14\x03\x03\x00\x02\x01\x01",
    b"GET /plain HTTP/1.1\r\nHost: localhost\r\n\r\n",
    b"\0\0\0\0\0\0\0\0",
];

const VERSIONS: [&SupportedProtocolVersion; 2] = [&TLS12, &TLS13];

const EARLY: &str = "client.fault.tls_broken_early";

fn client(tap: &Tap, version: &'static SupportedProtocolVersion) -> Arc<ClientConfig> {
    let provider = Arc::clone(tap.trust().crypto_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[version])
        .expect("a version of TLS");
    let roots = roots_of(&tap.dev_ca());
    Arc::new(builder.with_root_certificates(roots).with_no_client_auth())
}

/// Writes bytes below TLS.
fn raw(conn: &Conn, bytes: &[u8]) {
    let tcp = conn.wire.tcp().expect("TCP");
    assert_eq!(tcp.try_write(bytes).expect("room"), bytes.len());
}

/// Runs each way after `before`, over each version; `expected` is what the record must say.
async fn each(
    peer: &Peer,
    setup: impl Fn(Setup) -> Setup,
    before: impl AsyncFn(&mut Conn, usize),
    is_it: impl Fn(&SessionRecord) -> bool,
    expected: (&str, Phase),
) {
    let mut connection = 0;
    for version in VERSIONS {
        for way in WAYS {
            let tap = setup(Setup::before(peer)).start().await;
            let config = client(&tap, version);
            let attempt = try_connect_tls(tap.addr(Face::Tls), &config, "localhost").await;
            let mut conn = attempt.expect("a TLS handshake");
            before(&mut conn, connection).await;
            connection += 1;
            raw(&conn, way);
            conn.rest().await;
            let record = tap.wait_for("the record", &is_it).await;
            let what = format!("{version:?}, {way:?}");
            let verdict = record.verdict.as_ref().expect("a verdict");
            assert_eq!((verdict.rule.as_str(), record.phase), expected, "{what}");
            assert_eq!(verdict.class, Class::ClientFault, "{what}");
            let fault = record.close.transport.client_fault.as_ref();
            let kind = fault.expect("a fault").kind;
            let is_record = matches!(way[0], 0x14..=0x17);
            assert_eq!(
                kind == StreamFaultKind::NotTls,
                !is_record,
                "{what}: {kind:?}"
            );
            assert!(!verdict.evidence.is_empty(), "{what}");
        }
    }
}

#[tokio::test]
async fn right_after_the_handshake() {
    let peer = echo::start(&Via::Plain).await;
    let nothing = async |_: &mut Conn, _| {};
    each(
        &peer,
        |setup| setup,
        nothing,
        |_| true,
        (EARLY, Phase::Request),
    )
    .await;
    assert_eq!(peer.log.requests(), 0);
}

#[tokio::test]
async fn inside_a_request_head() {
    let peer = echo::start(&Via::Plain).await;
    let head = async |conn: &mut Conn, _| conn.send(b"GET / HTTP/1.1\r\nHo").await.unwrap();
    each(
        &peer,
        |setup| setup,
        head,
        |_| true,
        (EARLY, Phase::Request),
    )
    .await;
    assert_eq!(peer.log.requests(), 0);
}

/// The gateway accepts connections and never begins TLS.
#[tokio::test]
async fn while_the_gateway_is_dialled() {
    let peer = never_answers::start(&Via::Plain).await;
    let url = format!("https://{}", peer.addr());
    let asks = async |conn: &mut Conn, connection: usize| {
        conn.send(&upgrade("/", "localhost", &[])).await.unwrap();
        peer.log.accepted(connection).await;
    };
    let setup = |setup: Setup| setup.set("gateway.url", url.as_str());
    each(&peer, setup, asks, is_websocket, (EARLY, Phase::Dial)).await;
}

#[tokio::test]
async fn while_the_upgrade_is_pending() {
    let peer = never_answers::start(&Via::Plain).await;
    let asks = async |conn: &mut Conn, connection: usize| {
        conn.send(&upgrade("/", "localhost", &[])).await.unwrap();
        peer.log.head(connection).await;
    };
    each(
        &peer,
        |setup| setup,
        asks,
        is_websocket,
        (EARLY, Phase::Upgrade),
    )
    .await;
}

#[tokio::test]
async fn inside_the_tunnel() {
    let peer = echo::start(&Via::Plain).await;
    let opens = async |conn: &mut Conn, _| {
        conn.open("/").await;
    };
    let expected = ("client.fault.tls_broken", Phase::Open);
    each(&peer, |setup| setup, opens, is_websocket, expected).await;
}

/// Controls: a refusal stays a refusal, whatever comes after it. A kept connection that closes
/// normally reports nothing, and one that breaks has a record besides that of the request that it
/// served.
#[tokio::test]
async fn after_an_answer() {
    let peer = crate::peers::http_plain::start(&Via::Plain).await;
    let tap = Setup::before(&peer).start().await;
    for breaks in [false, true] {
        let mut conn = tap.connect(Face::Tls).await;
        let (answer, _) = conn.get("/healthz").await.unwrap();
        assert_eq!(answer.status(), 200);
        if breaks {
            raw(&conn, WAYS[0]);
        } else {
            conn.finish().await;
        }
        conn.rest().await;
    }
    let records = tap.wait_for_count(3).await;
    let rules: Vec<&str> = records.iter().map(rule).collect();
    assert_eq!(rules, ["ok.http", "ok.http", EARLY]);

    let setup = Setup::before(&peer).set(
        "origins.allowed",
        serde_json::json!(["https://friend.example"]),
    );
    let tap = setup.start().await;
    let mut conn = tap.connect(Face::Tls).await;
    let origin = [("Origin", "https://stranger.example")];
    conn.send(&upgrade("/", "localhost", &origin))
        .await
        .unwrap();
    conn.head().await.unwrap();
    raw(&conn, WAYS[0]);
    conn.rest().await;
    let record = tap.websocket().await;
    assert_eq!(rule(&record), "tap.denied.origin");
}

/// A gateway that refuses connections, and one that refuses the upgrade: an error on the client's
/// connection while it lingers is no reason for the answer that the client got.
#[tokio::test]
async fn after_a_failed_dial_or_a_refusal() {
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let nobody = format!("http://{}", closed.local_addr().unwrap());
    drop(closed);
    let refusing =
        crate::peers::ok_instead_of_101::answer(&Via::Plain, "403 Forbidden", &[], "no").await;
    let refusing = format!("http://{}", refusing.addr());
    for (url, status, expected) in [
        (&nobody, 502, "gateway.unreachable.refused"),
        (&refusing, 403, "gateway.refused.other"),
    ] {
        for way in &WAYS[..2] {
            let tap = Setup::before_url(url).start().await;
            let mut conn = tap.connect(Face::Tls).await;
            conn.send(&upgrade("/", "localhost", &[])).await.unwrap();
            assert_eq!(conn.head().await.unwrap().status(), status);
            raw(&conn, way);
            conn.rest().await;
            let record = tap.websocket().await;
            assert_eq!(rule(&record), expected);
            let fault = record.close.transport.client_fault;
            assert!(fault.is_some(), "{expected}: what came is in the record");
        }
    }
}
