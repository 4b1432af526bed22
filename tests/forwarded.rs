//! The client that the gateway's headers name: in every mode, behind trusted proxies, and with
//! forged headers. The gateway here judges by peer and headers as the real one does, and says in
//! `X-Locality` whom it took the client for.
//!
//! All clients of a test run on this machine. A client that connects from a non-loopback address of
//! it counts as a stranger; without such an address those tests are skipped, and say so.

mod acceptance;

use std::io::Write as _;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, ToSocketAddrs as _, UdpSocket};
use std::process::{Command, Stdio};

use serde_json::json;
use wstap::session::SessionRecord;
use wstap::session::record::client::ChainHeader;
use wstap::session::record::gateway::{
    BodyKind, ForwardedFacts, ForwardedMode as Mode, ForwardedWhy as Why,
};
use wstap::session::text::PeerText;

use crate::peers::attribution::{self, Rules};
use crate::peers::{Peer, Via};
use crate::support::client::connect;
use crate::support::conn::Conn;
use crate::support::head::Head;
use crate::support::records::is_websocket;
use crate::support::tap::{Face, Setup, Tap};

const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// Header lines of a request.
type Lines<'a> = &'a [(&'a str, &'a str)];

/// A tap that only this machine reaches, before a gateway on it that trusts us.
async fn local() -> (Peer, Setup) {
    let peer = attribution::judge(&Via::Plain, &Rules::trusting(&[LOOPBACK])).await;
    let setup = Setup::before(&peer);
    (peer, setup)
}

/// An upgrade through the tap with these header lines: the answer, and the record.
async fn upgrade(tap: &Tap, lines: &[(&str, &str)]) -> (Head, SessionRecord) {
    upgrade_on(tap.connect(Face::Plain).await, tap, lines).await
}

async fn upgrade_on(mut conn: Conn, tap: &Tap, lines: &[(&str, &str)]) -> (Head, SessionRecord) {
    let mut records = tap.records();
    records.retain(is_websocket);
    let answer = conn.upgrade("/", lines).await.expect("an answer");
    drop(conn);
    let mut records = tap.websockets(records.len() + 1).await;
    (answer, records.pop().expect("a record"))
}

fn facts(record: &SessionRecord) -> &ForwardedFacts {
    let gateway = record.gateway.as_ref().expect("a gateway leg");
    gateway.forwarded.as_ref().expect("what went out")
}

fn decided(record: &SessionRecord) -> (Mode, Why) {
    let facts = facts(record);
    (facts.mode, facts.why.expect("why"))
}

/// The address of this machine that others see; `None`, and a line that says so, without one.
fn outside(test: &str) -> Option<IpAddr> {
    let asked = UdpSocket::bind("0.0.0.0:0").and_then(|socket| {
        // Nothing is sent: this only asks for the route.
        socket.connect("203.0.113.1:9")?;
        socket.local_addr()
    });
    let ip = asked.ok().map(|addr| addr.ip());
    let ip = ip.filter(|ip| !ip.is_loopback() && !ip.is_unspecified());
    if ip.is_none() {
        let line = format!("SKIPPED: {test}: this machine has only loopback addresses");
        writeln!(std::io::stderr(), "{line}").expect("write to stderr");
    }
    ip
}

/// Listens for everybody.
fn open_to_all(setup: Setup) -> Setup {
    setup.set("listeners", json!([{ "listen": "0.0.0.0:0" }]))
}

/// A client that the tap sees under `ip`.
async fn from_outside(tap: &Tap, ip: IpAddr) -> Conn {
    connect(SocketAddr::new(ip, tap.addr(Face::Plain).port())).await
}

/// The head of the last request of a client; the others are of the acceptance check.
fn last_head(peer: &Peer) -> Head {
    let mut heads = peer.log.heads();
    heads.retain(|head| head.target() != "/readyz");
    heads.pop().expect("a request")
}

#[tokio::test]
async fn a_local_client_of_a_local_gateway_stays_local() {
    let (peer, setup) = local().await;
    let tap = setup.start().await;
    let (answer, record) = upgrade(&tap, &[]).await;
    assert_eq!(answer.value("x-locality").as_deref(), Some("direct-local"));
    assert_eq!(decided(&record), (Mode::Pass, Why::LocalClient));
    assert!(record.client.via.is_none());
    let head = last_head(&peer);
    assert!(!head.text().to_ascii_lowercase().contains("forwarded"));
}

#[tokio::test]
async fn a_chain_from_a_trusted_proxy_is_written_anew_as_one_set() {
    let (peer, setup) = local().await;
    let tap = setup
        .set("trusted_proxies", json!(["127.0.0.1/32", "10.0.0.0/8"]))
        .start()
        .await;
    let lines = [
        ("X-Forwarded-For", "127.0.0.1, 203.0.113.7:50344"),
        ("X-Forwarded-For", "10.1.1.1"),
        ("X-Forwarded-Proto", "wss"),
        ("X-Forwarded-Host", "claw.example.com"),
        ("X-Forwarded-User", "ada"),
        ("X-Real-IP", "127.0.0.1"),
        ("Forwarded", "for=127.0.0.1"),
    ];
    let (answer, record) = upgrade(&tap, &lines).await;
    assert_eq!(
        answer.value("x-locality").as_deref(),
        Some("trusted-proxy 203.0.113.7")
    );
    let head = last_head(&peer);
    for (name, value) in [
        ("x-forwarded-for", "203.0.113.7"),
        ("x-forwarded-proto", "https"),
        ("x-forwarded-host", "claw.example.com"),
        ("x-forwarded-user", "ada"),
        ("forwarded", "for=203.0.113.7;proto=https"),
    ] {
        assert_eq!(head.values(name), [value], "{}", head.text());
    }
    assert!(head.values("x-real-ip").is_empty());

    assert_eq!(decided(&record), (Mode::Overwrite, Why::TrustedChain));
    let sent = &facts(&record).sent;
    assert_eq!(sent[0].name, "x-forwarded-for");
    assert_eq!(sent[0].value.as_str(), "203.0.113.7");
    assert_eq!(facts(&record).brought.len(), 6);
    assert_eq!(record.client.addr, "203.0.113.7:50344");
    let via = record.client.via.as_ref().expect("by a chain");
    assert_eq!(
        (via.header, via.resolved),
        (Some(ChainHeader::XForwardedFor), true)
    );
    assert!(via.peer.starts_with("127.0.0.1:"));
    let looked_at: Vec<&str> = via.chain.iter().map(PeerText::as_str).collect();
    assert_eq!(looked_at, ["203.0.113.7:50344", "10.1.1.1"]);
}

#[tokio::test]
async fn spoofs_through_a_trusted_proxy_name_the_client_or_its_proxy() {
    let (_peer, setup) = local().await;
    let tap = setup
        .set("trusted_proxies", json!(["127.0.0.1/32", "10.0.0.0/8"]))
        .start()
        .await;
    let thousand = vec!["10.1.1.1"; 1000].join(", ");
    let open_quote = "for=127.0.0.1;x=\", for=203.0.113.7";
    let client = Some("trusted-proxy 203.0.113.7");
    // The last two: the gateway's `X-Locality` (`None`: its own 403), and whether the chain is
    // resolved.
    let cases: [(&str, Lines<'_>, Option<&str>, bool); 7] = [
        (
            "chain spoof left of the trusted hop",
            &[("X-Forwarded-For", "127.0.0.1, 203.0.113.7, 10.1.1.1")],
            client,
            true,
        ),
        (
            "Forwarded beside X-Forwarded-For",
            &[
                ("Forwarded", "for=127.0.0.1"),
                ("X-Forwarded-For", "203.0.113.7"),
            ],
            client,
            true,
        ),
        (
            "1,000 hops",
            &[("X-Forwarded-For", &thousand)],
            Some("trusted-proxy 10.1.1.1"),
            false,
        ),
        (
            "IPv6 zone",
            &[("X-Forwarded-For", "fe80::1%lo")],
            None,
            false,
        ),
        (
            "garbage port",
            &[("X-Forwarded-For", "203.0.113.7:80x")],
            None,
            false,
        ),
        ("an open quote", &[("Forwarded", open_quote)], None, false),
        ("a name", &[("X-Forwarded-For", "localhost")], None, false),
    ];
    for (what, lines, locality, resolved) in cases {
        let (answer, record) = upgrade(&tap, lines).await;
        assert_eq!(answer.value("x-locality").as_deref(), locality, "{what}");
        assert_eq!(
            decided(&record),
            (Mode::Overwrite, Why::TrustedChain),
            "{what}"
        );
        let via = record.client.via.as_ref().expect("by a chain");
        assert_eq!(via.resolved, resolved, "{what}");
        if locality.is_none() {
            // The proxy is on this host: nobody behind it may be local.
            assert_eq!(answer.status(), 403, "{what}");
            assert_eq!(record.client.addr, via.peer, "{what}");
        }
    }
}

#[tokio::test]
async fn spoofed_x_forwarded_for_from_a_loopback_stranger() {
    let peer = attribution::judge(&Via::Plain, &Rules::default()).await;
    let tap = Setup::before(&peer).start().await;
    // As without the tap: the gateway itself does not believe this proxy.
    let (answer, record) = upgrade(&tap, &[("X-Forwarded-For", "10.9.9.9")]).await;
    assert_eq!(answer.status(), 403);
    assert_eq!(last_head(&peer).values("x-forwarded-for"), ["10.9.9.9"]);
    assert_eq!(decided(&record), (Mode::Pass, Why::LoopbackProxy));
    let gateway = record.gateway.as_ref().unwrap();
    assert_eq!(gateway.body_kind, Some(BodyKind::Attribution));
    let verdict = record.verdict.as_ref().expect("a verdict");
    assert_eq!(verdict.rule, "gateway.refused.attribution_proxy");
}

#[tokio::test]
async fn spoofed_headers_from_a_stranger() {
    let Some(ip) = outside("spoofed headers from a stranger") else {
        return;
    };
    let (peer, setup) = local().await;
    let tap = open_to_all(setup).start().await;
    for spoof in [
        ("X-Forwarded-For", "127.0.0.1"),
        ("X-Real-IP", "127.0.0.1"),
        ("Forwarded", "for=127.0.0.1"),
        ("Tailscale-User-Login", "owner@example.com"),
        ("X-Forwarded-User", "owner"),
        ("X-Forwarded-For", ""),
    ] {
        let conn = from_outside(&tap, ip).await;
        let (answer, record) = upgrade_on(conn, &tap, &[spoof]).await;
        let locality = format!("trusted-proxy {ip}");
        assert_eq!(answer.value("x-locality"), Some(locality), "{spoof:?}");
        assert_eq!(decided(&record), (Mode::Overwrite, Why::Stranger));
        assert_eq!(
            facts(&record).brought[0].as_str(),
            spoof.0.to_ascii_lowercase()
        );
        let head = last_head(&peer);
        assert_eq!(head.values("x-forwarded-for"), [ip.to_string()]);
        assert!(head.values("tailscale-user-login").is_empty());
        assert!(head.values("x-forwarded-user").is_empty());
        assert!(head.values("x-real-ip").is_empty());
    }
    let conn = from_outside(&tap, ip).await;
    let (_, record) = upgrade_on(conn, &tap, &[]).await;
    assert_eq!(decided(&record), (Mode::Overwrite, Why::RemoteClient));
}

#[tokio::test]
async fn the_other_modes_do_what_they_say() {
    let lines = [
        ("X-Forwarded-For", "203.0.113.7"),
        ("Tailscale-User-Login", "ada"),
        ("X-Remote-User", "ada"),
        ("X-Auth-Request-Email", "ada@example.com"),
    ];
    for (mode, locality, decision) in [
        (
            "pass",
            Some("trusted-proxy 203.0.113.7"),
            (Mode::Pass, Why::Configured),
        ),
        // A local client that a header names can never be local.
        ("overwrite", None, (Mode::Overwrite, Why::Configured)),
        ("none", Some("direct-local"), (Mode::None, Why::Configured)),
    ] {
        let (peer, setup) = local().await;
        let tap = setup
            .set("gateway.forwarded", mode)
            .set("gateway.allow_remote_as_local", mode == "none")
            .start()
            .await;
        let (answer, record) = upgrade(&tap, &lines).await;
        assert_eq!(answer.value("x-locality").as_deref(), locality, "{mode}");
        assert_eq!(decided(&record), decision, "{mode}");
        let passes = mode == "pass";
        for name in [
            "tailscale-user-login",
            "x-remote-user",
            "x-auth-request-email",
        ] {
            let found = last_head(&peer).values(name);
            assert_eq!(found.len(), usize::from(passes), "{mode}: {name}");
        }
    }
}

#[tokio::test]
async fn a_client_of_our_host_is_to_a_gateway_elsewhere_who_our_address_says() {
    let Some(ip) = outside("a client of our host") else {
        return;
    };
    let peer = attribution::judge(&Via::At((ip, 0).into()), &Rules::trusting(&[ip])).await;
    let tap = Setup::before(&peer).start().await;
    // First a plain request: no connection has shown our address yet.
    let mut conn = tap.connect(Face::Plain).await;
    let (answer, _) = conn.get("/page").await.expect("an answer");
    assert_eq!(last_head(&peer).values("x-forwarded-for"), [ip.to_string()]);
    // The gateway skips its proxies' own addresses, and is left without a client.
    assert_eq!(answer.status(), 403);
    let (_, record) = upgrade(&tap, &[]).await;
    assert_eq!(decided(&record), (Mode::Overwrite, Why::OwnHost));
    assert_eq!(facts(&record).sent[0].value.as_str(), ip.to_string());
}

#[tokio::test]
async fn none_before_a_gateway_elsewhere_takes_everything_away() {
    let Some(ip) = outside("none before a gateway elsewhere") else {
        return;
    };
    let peer = attribution::judge(&Via::At((ip, 0).into()), &Rules::default()).await;
    let tap = open_to_all(Setup::before(&peer))
        .set("gateway.forwarded", "none")
        .start()
        .await;
    let conn = from_outside(&tap, ip).await;
    let spoof = [
        ("Tailscale-User-Login", "ada"),
        ("Forwarded", "for=127.0.0.1"),
    ];
    let (answer, record) = upgrade_on(conn, &tap, &spoof).await;
    assert_eq!(answer.value("x-locality").as_deref(), Some("direct-remote"));
    assert_eq!(decided(&record), (Mode::None, Why::Configured));
    assert_eq!(facts(&record).brought.len(), 2);
    assert!(facts(&record).sent.is_empty());
}

/// This machine's name, when it leads to loopback.
fn loopback_name(test: &str) -> Option<String> {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let name = name.trim().to_owned();
    let found = (name.as_str(), 1).to_socket_addrs();
    let local =
        found.is_ok_and(|mut all| all.all(|addr| addr.is_ipv4() && addr.ip().is_loopback()));
    if !local || name == "localhost" {
        let line = format!("SKIPPED: {test}: this machine's name does not lead to loopback");
        writeln!(std::io::stderr(), "{line}").expect("write to stderr");
        return None;
    }
    Some(name)
}

#[tokio::test]
async fn a_name_that_leads_to_this_host_is_found_out() {
    let Some(name) = loopback_name("a name that leads to this host") else {
        return;
    };
    let peer = attribution::judge(&Via::Plain, &Rules::trusting(&[LOOPBACK])).await;
    let url = format!("http://{name}:{}", peer.addr().port());
    // Many systems give their name an address of its own in 127.0.0.0/8, where nobody listens.
    let reachable = (name.as_str(), peer.addr().port());
    let mut found = reachable.to_socket_addrs().expect("resolved before");
    if found.next().is_some_and(|addr| addr.ip() == LOOPBACK) {
        let tap = Setup::before_url(&url).start().await;
        let (answer, record) = upgrade(&tap, &[]).await;
        assert_eq!(answer.value("x-locality").as_deref(), Some("direct-local"));
        assert_eq!(decided(&record), (Mode::Pass, Why::LocalClient));
    }

    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("wstap.yaml");
    let text = format!(
        "listeners: [{{ listen: '127.0.0.1:0' }}]\ngateway:\n  url: {url}\n  forwarded: none\n"
    );
    std::fs::write(&file, text).expect("write the configuration");
    let mut command = Command::new(env!("CARGO_BIN_EXE_wstap"));
    command
        .args(["serve", "--config"])
        .arg(&file)
        .stdin(Stdio::null());
    let output = command.output().expect("run wstap");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{stderr}");
    assert!(
        stderr.contains("wstap.yaml:4:14: gateway.forwarded: expected `auto`"),
        "{stderr}"
    );
    assert!(
        stderr.contains(&format!("`none` before `{name}`, which resolves to 127.")),
        "{stderr}"
    );
}
