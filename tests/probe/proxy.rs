//! Probes in an environment that names a proxy for outgoing connections.

use serde_json::Value;

use super::{VARIABLE, broken, command, is_whole, run, rung, ws};
use crate::peers::openclaw::{Gateway, Script, TOKEN};
use crate::peers::{Peer, Via, blurts, never_answers};
use crate::support::netns::{self, HERE_PRIVATE, test_name};

const LOGIN: &[u8] = b"HTTP/1.1 407 Proxy Authentication Required\r\nServer: squid/5.7\r\n\
    Proxy-Authenticate: Basic realm=\"corp\"\r\nContent-Length: 0\r\n\r\n";
const FORBIDDEN: &[u8] =
    b"HTTP/1.1 403 Forbidden\r\nServer: squid/5.7\r\nContent-Length: 0\r\n\r\n";
const BAD_GATEWAY: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n";
const CONNECTED: &[u8] = b"HTTP/1.1 200 Connection established\r\n\r\n";

/// In the place of the proxy's password.
const PASSWORD: &str = "canary-0123456789abcdef";

/// A report where these variables are set.
async fn with(url: &str, variables: &[(&str, &str)]) -> Value {
    let mut command = command(&[url, "--json", "--token-env", VARIABLE]);
    command.env(VARIABLE, TOKEN).envs(variables.iter().copied());
    let run = run(command).await;
    assert!(!run.stdout.contains(PASSWORD), "a secret in the output");
    let report = run.report();
    is_whole(&report);
    report
}

fn proxy_url(proxy: &Peer) -> String {
    format!("http://user:{PASSWORD}@{}", proxy.addr())
}

/// OpenClaw's own variable does not hold for loopback. The others do, and its clients ignore them.
#[tokio::test]
async fn a_proxy_that_openclaw_does_not_use_is_a_warning() {
    let gateway = Gateway::start(&Via::Plain, Script::default()).await;
    let url = ws(&gateway.peer);
    for (answer, status, words) in [
        (LOGIN, "warn", "wants credentials of its own (407)"),
        (FORBIDDEN, "warn", "refuses to connect to the gateway (403)"),
        (CONNECTED, "pass", "connects to the gateway"),
    ] {
        let proxy = blurts::start(&Via::Plain, answer).await;
        let report = with(&url, &[("HTTP_PROXY", &proxy_url(&proxy))]).await;
        assert_eq!(broken(&report).0, "none", "{report}");
        let rung = rung(&report, "L1.proxy");
        assert_eq!(rung["status"], status, "{rung}");
        let because = rung["because"].as_str().unwrap();
        assert!(because.contains(words), "{because}");
        assert!(
            because.contains("OpenClaw's own clients connect directly"),
            "{because}"
        );
        assert_eq!(proxy.log.connections(), 1, "it is asked once");
    }
    // It repeats what it was sent; `with` looks for the password.
    let credentials = format!("user:{PASSWORD}");
    let encoded = data_encoding::BASE64.encode(credentials.as_bytes());
    let echo = format!(
        "HTTP/1.1 407 No\r\nServer: {PASSWORD}\r\nProxy-Authenticate: Basic realm=\"{encoded}\"\r\nContent-Length: 0\r\n\r\n"
    );
    let proxy = blurts::start(&Via::Plain, echo.as_bytes()).await;
    let report = with(
        "ws://no-such-host.invalid:1",
        &[("ALL_PROXY", &proxy_url(&proxy))],
    )
    .await;
    assert_eq!(
        rung(&report, "L1.proxy")["verdict"]["rule"],
        "hop.fault.proxy_login"
    );
    assert!(
        !report.to_string().contains(&encoded),
        "a secret in the output"
    );
    let proxy = blurts::start(&Via::Plain, LOGIN).await;
    let excepted = [
        ("HTTP_PROXY", proxy_url(&proxy)),
        ("NO_PROXY", "127.0.0.0/8".to_owned()),
    ];
    let excepted = excepted
        .each_ref()
        .map(|(name, value)| (*name, value.as_str()));
    let report = with(&url, &excepted).await;
    assert_eq!(rung(&report, "L1.proxy")["status"], "skip", "{report}");
    let report = with(&url, &[("OPENCLAW_PROXY_URL", &proxy_url(&proxy))]).await;
    assert_eq!(rung(&report, "L1.proxy")["status"], "skip", "{report}");
}

/// With the gateway beside it that OpenClaw's clients would not reach.
#[tokio::test]
async fn a_proxy_that_openclaw_uses_must_connect() {
    let name = test_name!(a_proxy_that_openclaw_uses_must_connect);
    let Some(_net) = netns::enter("probe: OpenClaw's proxy", name).await else {
        return;
    };
    let gateway = Gateway::start(&Via::At((HERE_PRIVATE, 0).into()), Script::default()).await;
    let url = ws(&gateway.peer);
    for (answer, rule) in [
        (LOGIN, "hop.fault.proxy_login"),
        (FORBIDDEN, "hop.fault.proxy_refused"),
        (BAD_GATEWAY, "hop.fault.proxy_refused"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "hop.fault.proxy_unreachable"),
        (CONNECTED, ""),
    ] {
        let proxy = blurts::start(&Via::Plain, answer).await;
        let report = with(&url, &[("OPENCLAW_PROXY_URL", &proxy_url(&proxy))]).await;
        let id = if rule.is_empty() { "none" } else { "L1.proxy" };
        assert_eq!(
            broken(&report),
            (id.to_owned(), rule.to_owned()),
            "{report}"
        );
        // The direct path is tested as well.
        assert_eq!(rung(&report, "L2.auth")["status"], "pass", "{report}");
    }
}

/// It may be waiting for the gateway itself.
#[tokio::test]
async fn a_proxy_that_does_not_answer_is_there() {
    let proxy = never_answers::start(&Via::Plain).await;
    let report = with(
        "ws://no-such-host.invalid:18789",
        &[("ALL_PROXY", &proxy_url(&proxy))],
    )
    .await;
    let rung = rung(&report, "L1.proxy");
    assert_eq!(
        rung["verdict"]["rule"], "hop.fault.proxy_silent",
        "{report}"
    );
    assert_eq!(rung["verdict"]["confidence"], "possible", "{report}");
    // The budget comes before its answer, and says nothing about it.
    let mut command = command(&[
        "ws://no-such-host.invalid:18789",
        "--json",
        "--budget",
        "1s",
    ]);
    command.env("ALL_PROXY", proxy_url(&proxy));
    let report = run(command).await.report();
    assert!(report["ms"].as_f64().unwrap() < 2000.0, "{report}");
    assert!(!report.to_string().contains("hop.fault"), "{report}");
}

/// If the direct path is broken as well, both are said.
#[tokio::test]
async fn a_proxy_and_a_direct_path_that_do_not_work() {
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = nobody.local_addr().unwrap();
    drop(nobody);
    let proxy = format!("http://{addr}");
    let report = with("ws://no-such-host.invalid:18789", &[("ALL_PROXY", &proxy)]).await;
    assert_eq!(broken(&report).1, "gateway.unreachable.dns", "{report}");
    assert_eq!(rung(&report, "L1.tcp")["status"], "skip", "{report}");
    let rung = rung(&report, "L1.proxy");
    assert_eq!(rung["status"], "fail", "{report}");
    assert_eq!(
        rung["verdict"]["rule"], "hop.fault.proxy_unreachable",
        "{report}"
    );
}

/// A missing direct path does not matter to clients that do not take it.
#[tokio::test]
async fn what_the_proxy_reaches_need_not_be_reached_directly() {
    let proxy = blurts::start(&Via::Plain, CONNECTED).await;
    let report = with(
        "ws://no-such-host.invalid:18789",
        &[("OPENCLAW_PROXY_URL", &proxy_url(&proxy))],
    )
    .await;
    assert_eq!(broken(&report).0, "none", "{report}");
    assert_eq!(rung(&report, "L1.name")["status"], "warn", "{report}");
    assert_eq!(rung(&report, "L1.proxy")["status"], "pass", "{report}");
    assert_eq!(rung(&report, "L1.upgrade")["status"], "skip", "{report}");
}
