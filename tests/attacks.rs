//! Each attack on request heads and hop-by-hop headers by its name: what the attacker gets, what
//! the gateway sees of it (nothing), and what the record says.

use std::time::{Duration, Instant};

use wstap::session::record::{Class, HeadFault, Kind};
use wstap::session::{Phase, SessionRecord};

use crate::peers::{Peer, Via, echo, http_plain, never_answers, ok_instead_of_101};
use crate::support::client::{Dribble, connect};
use crate::support::frame::Frame;
use crate::support::head::{KEY, upgrade};
use crate::support::records::class;
use crate::support::tap::{Face, Setup, Tap};
use crate::support::wire::Ending;

const GOOD: &str = "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n";
const SMUGGLED: &str = "GET /smuggled HTTP/1.1\r\nHost: localhost\r\n\r\n";

async fn before_http() -> (Peer, Tap) {
    let peer = http_plain::start(&Via::Plain).await;
    let tap = Setup::before(&peer).start().await;
    (peer, tap)
}

fn is_refused(record: &SessionRecord) -> bool {
    record.close.refused.is_some()
}

/// A request that must not pass: alone, and after a good one on a kept connection. Nothing after
/// it is parsed.
async fn refused(attack: &str, status: u16, kind: HeadFault, rule: &str) {
    for (before, face) in [("", Face::Plain), (GOOD, Face::Plain), ("", Face::Tls)] {
        let (peer, tap) = before_http().await;
        let mut conn = tap.connect(face).await;
        let bytes = format!("{before}{attack}{SMUGGLED}");
        conn.send(bytes.as_bytes()).await.unwrap();
        if !before.is_empty() {
            let answer = conn.head().await.unwrap();
            assert_eq!(answer.status(), 200);
            conn.body(&answer).await.unwrap();
        }
        let answer = conn.head().await.unwrap();
        let text = answer.text();
        assert_eq!(answer.status(), status, "{attack:?}: {text}");
        assert!(answer.says_close(), "{text}");
        let error = "wstap; error=http_request_error";
        assert_eq!(answer.value("proxy-status").as_deref(), Some(error));
        // The rest is the body, and nothing after it.
        let (rest, ending) = conn.rest().await;
        let rest = String::from_utf8_lossy(&rest).into_owned();
        assert!(!rest.contains("HTTP/1.1"), "{rest}");
        assert!(
            matches!(ending, Ending::Fin | Ending::TlsClose),
            "{ending:?}"
        );
        let record = tap.wait_for("the refusal", is_refused).await;
        assert_eq!(record.close.refused.as_ref().unwrap().kind, kind);
        let verdict = record.verdict.as_ref().unwrap();
        assert_eq!(
            (verdict.rule.as_str(), verdict.class),
            (rule, Class::ClientFault)
        );
        assert_eq!(record.phase, Phase::Request);
        assert_eq!(answer.value("x-wstap-session"), Some(record.id.to_string()));
        assert_eq!(
            peer.log.requests(),
            usize::from(!before.is_empty()),
            "{attack:?}"
        );
    }
}

async fn ambiguous(attack: &str, kind: HeadFault) {
    refused(attack, 400, kind, "client.fault.ambiguous").await;
}

async fn malformed(attack: &str, kind: HeadFault) {
    refused(attack, 400, kind, "client.fault.malformed").await;
}

fn post(lines: &str) -> String {
    format!("POST /echo HTTP/1.1\r\nHost: localhost\r\n{lines}\r\n0\r\n\r\n")
}

#[tokio::test]
async fn content_length_beside_transfer_encoding() {
    let both = post("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n");
    ambiguous(&both, HeadFault::LengthAndEncoding).await;
}

#[tokio::test]
async fn two_content_lengths() {
    for second in ["5", "6"] {
        let two = post(&format!(
            "Content-Length: 5\r\nContent-Length: {second}\r\n"
        ));
        ambiguous(&two, HeadFault::LengthDuplicate).await;
    }
}

#[tokio::test]
async fn transfer_encoding_that_hides_chunked() {
    for coding in ["chunked, identity", "xchunked", "chunked;x", "\"chunked\""] {
        let hidden = post(&format!("Transfer-Encoding: {coding}\r\n"));
        ambiguous(&hidden, HeadFault::EncodingInvalid).await;
    }
}

#[tokio::test]
async fn obs_fold() {
    ambiguous(&post("X-A: 1\r\n Host: evil\r\n"), HeadFault::ObsFold).await;
}

#[tokio::test]
async fn whitespace_before_the_colon() {
    let lines = "Content-Length : 5\r\n";
    ambiguous(&post(lines), HeadFault::SpaceBeforeColon).await;
}

#[tokio::test]
async fn bare_lf_and_bare_cr() {
    ambiguous(&post("X-A: 1\nX-B: 2\r\n"), HeadFault::BareLf).await;
    malformed(&post("X-A: 1\rX-B: 2\r\n"), HeadFault::BareCr).await;
}

#[tokio::test]
async fn nul_in_a_header() {
    malformed(&post("X-A: 1\0\r\n"), HeadFault::ControlByte).await;
}

#[tokio::test]
async fn two_hosts() {
    let two = GOOD.replace("\r\n\r\n", "\r\nHost: evil\r\n\r\n");
    ambiguous(&two, HeadFault::HostDuplicate).await;
}

#[tokio::test]
async fn host_with_user_port_garbage_or_other_letters() {
    for host in [
        "a@b",
        "a:x",
        "a:99999",
        "a b",
        "b\u{fc}cher.example",
        "a, b",
    ] {
        let head = GOOD.replace("localhost", host);
        malformed(&head, HeadFault::HostInvalid).await;
    }
}

#[tokio::test]
async fn absolute_form_and_connect() {
    let absolute = GOOD.replace("/healthz", "http://evil/healthz");
    ambiguous(&absolute, HeadFault::AbsoluteForm).await;
    let connect = GOOD.replace("GET /healthz", "CONNECT evil:443");
    malformed(&connect, HeadFault::ConnectMethod).await;
}

#[tokio::test]
async fn nominated_security_headers() {
    for name in [
        "Host",
        "Origin",
        "Authorization",
        "Cookie",
        "X-Forwarded-For",
        "X-Real-IP",
    ] {
        let head = GOOD.replace("\r\n\r\n", &format!("\r\nConnection: {name}\r\n\r\n"));
        refused(&head, 400, HeadFault::Nominated, "client.fault.nominated").await;
    }
}

#[tokio::test]
async fn two_origins_or_a_list_of_them() {
    let upgrade =
        |origin| String::from_utf8(upgrade("/", "localhost", &[("Origin", origin)])).unwrap();
    let list = upgrade("https://a.example, https://b.example");
    refused(
        &list,
        400,
        HeadFault::OriginList,
        "client.fault.origin_list",
    )
    .await;
    let two = upgrade("https://a.example").replace(
        "Origin: https://a.example\r\n",
        "Origin: https://a.example\r\nOrigin: https://a.example\r\n",
    );
    refused(&two, 400, HeadFault::OriginList, "client.fault.origin_list").await;
    let raw = upgrade("https://b\u{fc}cher.example");
    malformed(&raw, HeadFault::OriginInvalid).await;
}

#[tokio::test]
async fn an_upgrade_with_a_body() {
    let good = String::from_utf8(upgrade("/", "localhost", &[])).unwrap();
    for line in ["Content-Length: 5", "Transfer-Encoding: chunked"] {
        let head = good.replace("\r\n\r\n", &format!("\r\n{line}\r\n\r\n"));
        ambiguous(&head, HeadFault::UpgradeWithBody).await;
    }
}

#[tokio::test]
async fn upgrades_that_are_not_version_13_or_have_no_good_key() {
    let good = String::from_utf8(upgrade("/", "localhost", &[])).unwrap();
    let key = format!("Sec-WebSocket-Key: {KEY}\r\n");
    let rule = "client.fault.upgrade";
    for (bad, status, kind) in [
        (good.replace("13", "8"), 426, HeadFault::WebsocketVersion),
        (
            good.replace("Sec-WebSocket-Version: 13\r\n", ""),
            426,
            HeadFault::WebsocketVersion,
        ),
        (good.replace(KEY, "c2hvcnQ="), 400, HeadFault::WebsocketKey),
        (good.replace(&key, ""), 400, HeadFault::WebsocketKey),
        (
            good.replace(&key, &format!("{key}{key}")),
            400,
            HeadFault::WebsocketKey,
        ),
        (good.replace("GET ", "POST "), 400, HeadFault::UpgradeMethod),
    ] {
        refused(&bad, status, kind, rule).await;
    }
    let (_peer, tap) = before_http().await;
    let mut conn = tap.connect(Face::Plain).await;
    conn.send(good.replace("13", "8").as_bytes()).await.unwrap();
    let answer = conn.head().await.unwrap();
    assert_eq!(answer.value("sec-websocket-version").as_deref(), Some("13"));
    assert_eq!(answer.value("upgrade").as_deref(), Some("websocket"));
}

/// CVE-2026-2833 and its like: a proxy that opens its tunnel before the 101, or reads on after a
/// refused upgrade, passes the second request on.
#[tokio::test]
async fn a_request_smuggled_behind_an_upgrade() {
    for status in [
        "200 OK",
        "403 Forbidden",
        "426 Upgrade Required",
        "503 Busy",
    ] {
        let peer = ok_instead_of_101::answer(&Via::Plain, status, &[], "no").await;
        let tap = Setup::before(&peer).start().await;
        let mut conn = tap.connect(Face::Plain).await;
        let mut bytes = upgrade("/", "localhost", &[]);
        bytes.extend_from_slice(SMUGGLED.as_bytes());
        conn.send(&bytes).await.unwrap();
        let answer = conn.head().await.unwrap();
        assert!(status.starts_with(&answer.status().to_string()));
        assert!(answer.says_close());
        let (rest, _) = conn.rest().await;
        assert!(!String::from_utf8_lossy(&rest).contains("HTTP/1.1"));
        tap.websocket().await;
        assert_eq!(
            (peer.log.connections(), peer.log.requests()),
            (1, 1),
            "{status}"
        );
    }
}

/// Bytes after a good upgrade belong to the tunnel, whatever they look like.
#[tokio::test]
async fn bytes_behind_a_good_upgrade_are_the_tunnels() {
    let peer = echo::start(&Via::Plain).await;
    let tap = Setup::before(&peer).start().await;
    let mut conn = tap.connect(Face::Plain).await;
    let mut bytes = upgrade("/", "localhost", &[]);
    let hasty = Frame::text("hasty").masked();
    bytes.extend_from_slice(&hasty.to_bytes());
    conn.send(&bytes).await.unwrap();
    assert_eq!(conn.head().await.unwrap().status(), 101);
    assert_eq!(conn.frame().await.unwrap().payload, b"hasty");
}

#[tokio::test]
async fn h2c_is_never_passed_on() {
    let (peer, tap) = before_http().await;
    let mut conn = tap.connect(Face::Plain).await;
    let lines = "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n";
    let head = GOOD.replace("\r\n\r\n", &format!("\r\n{lines}\r\n"));
    conn.send(head.as_bytes()).await.unwrap();
    assert_eq!(conn.head().await.unwrap().status(), 200);
    let seen = peer.log.head(0).await.text().to_ascii_lowercase();
    for gone in ["h2c", "http2-settings", "upgrade"] {
        assert!(!seen.contains(gone), "{seen}");
    }
}

#[tokio::test]
async fn underscore_twins_of_security_headers() {
    let (peer, tap) = before_http().await;
    let mut conn = tap.connect(Face::Plain).await;
    let lines = "X_Forwarded_For: 127.0.0.1\r\nx_real_ip: ::1\r\nX-Forwarded_User: admin\r\n\
                 Content_Length: 7\r\nx_custom: stays\r\n";
    let head = GOOD.replace("\r\n\r\n", &format!("\r\n{lines}\r\n"));
    conn.send(head.as_bytes()).await.unwrap();
    assert_eq!(conn.head().await.unwrap().status(), 200);
    let seen = peer.log.head(0).await.text().to_ascii_lowercase();
    assert!(seen.contains("x_custom: stays"), "{seen}");
    for twin in [
        "x_forwarded_for",
        "x_real_ip",
        "x-forwarded_user",
        "content_length",
    ] {
        assert!(!seen.contains(twin), "{twin}: {seen}");
    }
    let record = tap
        .wait_for("the request", |record| record.kind == Kind::Http)
        .await;
    assert_eq!(record.request.unwrap().dropped.len(), 4);
}

#[tokio::test]
async fn a_broken_chunk_ends_the_request() {
    for body in [
        "3\nabc\r\n0\r\n\r\n",
        "zz\r\n",
        "1\r\naX0\r\n\r\n",
        "0\r\nHost: evil\r\n\r\n",
    ] {
        let (peer, tap) = before_http().await;
        let mut conn = tap.connect(Face::Plain).await;
        let head = "POST /echo HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n";
        let bytes = format!("{head}{body}{SMUGGLED}");
        conn.send(bytes.as_bytes()).await.unwrap();
        conn.rest().await;
        let record = tap
            .wait_for("the request", |record| record.kind == Kind::Http)
            .await;
        assert_eq!(class(&record), Class::ClientFault, "{body:?}");
        assert_eq!(record.close.refused.unwrap().kind, HeadFault::Chunk);
        assert!(peer.log.requests() <= 1, "{body:?}");
    }
}

#[tokio::test]
async fn a_header_bomb_by_bytes_and_by_count() {
    for (name, lines) in [
        (
            "limits.head_bytes",
            format!("X: {}\r\n", "x".repeat(1 << 20)),
        ),
        ("limits.headers", "X: 1\r\n".repeat(10_000)),
    ] {
        let (peer, tap) = before_http().await;
        let mut conn = tap.connect(Face::Plain).await;
        let head = GOOD.replace("\r\n\r\n", &format!("\r\n{lines}\r\n"));
        // The tap need not read all of it.
        drop(conn.send(head.as_bytes()).await);
        let answer = conn.head().await.expect("an answer");
        assert_eq!(answer.status(), 431, "{name}");
        assert!(answer.value("proxy-status").is_some());
        let record = tap
            .wait_for("the refusal", |record| record.close.denied.is_some())
            .await;
        assert_eq!(record.close.denied.as_ref().unwrap().key.as_str(), name);
        assert_eq!(class(&record), Class::TapDenied);
        assert_eq!(peer.log.connections(), 0);
    }
}

/// A head that comes too slowly is answered, not only cut.
#[tokio::test]
async fn a_slow_head_gets_408() {
    let peer = http_plain::start(&Via::Plain).await;
    let tap = Setup::before(&peer)
        .set("timeouts.request_head", "300ms")
        .start()
        .await;
    for before in ["", GOOD] {
        let mut conn = connect(tap.addr(Face::Plain)).await;
        conn.send(before.as_bytes()).await.unwrap();
        if !before.is_empty() {
            let answer = conn.head().await.unwrap();
            conn.body(&answer).await.unwrap();
        }
        conn.send(b"GET /slow HTTP/1.1\r\nHost: lo").await.unwrap();
        let answer = conn.head().await.expect("an answer");
        assert_eq!(answer.status(), 408);
        assert!(answer.value("x-wstap-session").is_some());
        conn.rest().await;
    }
    let timeouts = |record: &SessionRecord| class(record) == Class::TapTimeout;
    let record = tap.wait_for("the first", timeouts).await;
    assert_eq!(record.close.timer.unwrap().limit_ms, 300);
    assert_eq!(record.request.unwrap().path.as_str(), "/slow");
}

/// The idle time of a kept connection does not count for its next head.
#[tokio::test]
async fn a_head_on_a_kept_connection_has_its_own_time() {
    let limit = Duration::from_secs(1);
    let peer = http_plain::start(&Via::Plain).await;
    let setup = Setup::before(&peer).set("timeouts.request_head", "1s");
    let tap = setup.start().await;
    let mut conn = tap.connect(Face::Plain).await;
    conn.get("/").await.unwrap();
    tokio::time::sleep(limit * 7 / 10).await;
    let begun = Instant::now();
    conn.send(b"GET /slow HTTP/1.1\r\nHost: lo").await.unwrap();
    assert_eq!(conn.head().await.expect("an answer").status(), 408);
    // Counted from the answer before, only 0.3 s would have been left.
    assert!(begun.elapsed() > limit * 8 / 10, "{:?}", begun.elapsed());
}

/// Slowloris: many connections with half a head each. They end in time, and cost little meanwhile.
#[tokio::test]
async fn slowloris_costs_little_and_ends_in_time() {
    const MANY: usize = 1000;
    let peer = http_plain::start(&Via::Plain).await;
    let tap = Setup::before(&peer)
        .set("limits.per_client", 2 * MANY)
        .set("timeouts.request_head", "3s")
        .start()
        .await;
    let warm = tap.connect(Face::Plain).await;
    let before = tap.resident_kib();
    let mut slow = Vec::new();
    for _ in 0..MANY {
        let mut conn = connect(tap.addr(Face::Plain)).await;
        conn.send(b"GET / HTTP/1.1\r\nHost: loc").await.unwrap();
        slow.push(conn);
    }
    let mut most = tap.resident_kib();
    for conn in &mut slow {
        assert_eq!(conn.head().await.expect("an answer").status(), 408);
        most = most.max(tap.resident_kib());
    }
    drop(warm);
    let each = most.saturating_sub(before) / MANY as u64;
    assert!(each < 40, "{each} KiB each");
    assert_eq!(peer.log.connections(), 0);
}

/// One byte at a time, each in its own segment: slower, with the same result.
#[tokio::test]
async fn a_head_byte_by_byte() {
    let (peer, tap) = before_http().await;
    let mut conn = tap.connect(Face::Plain).await;
    Dribble::new(GOOD).pour(&mut conn).await;
    assert_eq!(conn.head().await.unwrap().status(), 200);
    assert_eq!(peer.log.requests(), 1);
}

#[tokio::test]
async fn a_head_of_just_the_allowed_size_passes() {
    let (peer, tap) = before_http().await;
    let mut conn = tap.connect(Face::Plain).await;
    let fixed = GOOD.len() + "X: \r\n".len();
    let line = format!("X: {}\r\n", "x".repeat(64 * 1024 - fixed));
    let head = GOOD.replace("\r\n\r\n", &format!("\r\n{line}\r\n"));
    assert_eq!(head.len(), 64 * 1024);
    conn.send(head.as_bytes()).await.unwrap();
    assert_eq!(conn.head().await.unwrap().status(), 200);
    assert_eq!(peer.log.requests(), 1);
}

/// Pipelined after a slow request: the client has to wait, and costs no more memory than the bytes
/// that are held for it.
#[tokio::test]
async fn a_flood_behind_a_slow_request_is_not_kept() {
    let peer = never_answers::start(&Via::Plain).await;
    let tap = Setup::before(&peer).start().await;
    let conn = tap.connect(Face::Plain).await;
    let mut conn = conn.with_limit(Duration::from_secs(2));
    let before = tap.resident_kib();
    conn.send(GOOD.as_bytes()).await.unwrap();
    peer.log.head(0).await;
    // More than all the kernel's buffers between us.
    let flood = GOOD.repeat((64 << 20) / GOOD.len());
    let stuck = conn.send(flood.as_bytes()).await;
    assert!(
        stuck.is_err(),
        "64 MiB of requests were read while they must wait"
    );
    let grown = tap.resident_kib().saturating_sub(before);
    assert!(grown < 4 * 1024, "the tap grew by {grown} KiB");
}
