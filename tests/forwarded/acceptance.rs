//! Whether the gateway believes the tap's headers, how the tap finds out, and what it does then.

use super::*;
use crate::support::deadline::{STEP, poll, within};
use tokio::net::{TcpListener, TcpStream};
use wstap::session::record::Confidence;
use wstap::session::record::gateway::Acceptance;

use crate::peers::attribution::Age;

/// As a proxy writes it.
const CLIENT: (&str, &str) = ("X-Forwarded-For", "203.0.113.7");

/// What the records say once there is an answer to the check.
async fn accepted(tap: &Tap) -> Acceptance {
    within("an answer to the check", async {
        loop {
            let (_, record) = upgrade(tap, &[CLIENT]).await;
            let known = facts(&record).acceptance;
            if known != Acceptance::Unknown {
                return known;
            }
        }
    })
    .await
}

async fn warned(tap: &Tap, line: &str) {
    let told = poll(STEP, || tap.stderr().contains(line).then_some(())).await;
    assert!(told.is_some(), "no {line} in {}", tap.stderr());
}

#[tokio::test]
async fn the_check_asks_until_the_gateway_is_up_and_once_it_believes() {
    let rules = Rules::trusting(&[LOOPBACK]);
    rules.starting(true);
    let peer = attribution::judge(&Via::Plain, &rules).await;
    let tap = Setup::before(&peer)
        .openclaw()
        .set("gateway.forwarded", "overwrite")
        .start()
        .await;
    let checks = || Some(peer.log.heads()).filter(|heads| heads.len() > 1);
    let heads = poll(STEP, checks).await.expect("two checks");
    assert!(heads.iter().all(|head| head.target() == "/readyz"));
    let named = heads[1].value("x-forwarded-for");
    assert_eq!(named.as_deref(), Some("203.0.113.1"), "a 503 shows nothing");
    let head = &heads[0];
    assert_eq!(
        head.value("x-forwarded-for").as_deref(),
        Some("203.0.113.1")
    );
    assert_eq!(
        head.value("forwarded").as_deref(),
        Some("for=203.0.113.1;proto=http")
    );
    rules.starting(false);
    let known = accepted(&tap).await;
    assert_eq!(known, Acceptance::Accepted);
    let asked = peer.log.heads();
    let nobody = |head: &Head| head.value("x-forwarded-for").as_deref() == Some("unknown");
    assert!(asked.iter().any(nobody), "a yes alone shows nothing");
    assert!(!tap.stderr().contains("trustedProxies"), "{}", tap.stderr());
}

#[tokio::test]
async fn a_local_gateway_that_refuses_is_never_sent_bare_requests() {
    let peer = attribution::judge(&Via::Plain, &Rules::default()).await;
    let tap = Setup::before(&peer)
        .openclaw()
        .set("trusted_proxies", json!(["127.0.0.1/32"]))
        .start()
        .await;
    let line = r#""gateway": { "trustedProxies": ["127.0.0.1/32"] }"#;
    warned(&tap, line).await;
    let (answer, record) = upgrade(&tap, &[("X-Forwarded-For", "203.0.113.7")]).await;
    assert_eq!(answer.status(), 403, "the gateway's own");
    assert_eq!(decided(&record), (Mode::Overwrite, Why::TrustedChain));
    assert_eq!(facts(&record).acceptance, Acceptance::Refused);
    assert_eq!(last_head(&peer).values("x-forwarded-for"), ["203.0.113.7"]);
    let verdict = record.verdict.as_ref().expect("a verdict");
    assert_eq!(verdict.rule, "gateway.refused.attribution");
    assert!(verdict.next.contains(line), "{}", verdict.next);
    assert_eq!(tap.stderr().matches(line).count(), 1, "told once");
}

#[tokio::test]
async fn a_gateway_elsewhere_that_refuses_gets_requests_without_headers() {
    let Some(ip) = outside("a gateway elsewhere that refuses") else {
        return;
    };
    let rules = Rules::default();
    let peer = attribution::judge(&Via::At((ip, 0).into()), &rules).await;
    let tap = Setup::before(&peer).openclaw().start().await;
    warned(
        &tap,
        &format!(r#""gateway": {{ "trustedProxies": ["{ip}/32"] }}"#),
    )
    .await;
    let (answer, record) = upgrade(&tap, &[("X-Forwarded-For", "127.0.0.1")]).await;
    assert_eq!(answer.value("x-locality").as_deref(), Some("direct-remote"));
    assert_eq!(decided(&record), (Mode::None, Why::GatewayRefusedOverwrite));
    let mut conn = tap.connect(Face::Plain).await;
    for _ in 0..2 {
        let (answer, _) = conn.get("/page").await.expect("an answer");
        assert_eq!(answer.value("x-locality").as_deref(), Some("direct-remote"));
    }
}

/// A published port, `host.docker.internal`, `ssh -L`: what ends there comes from the gateway's own
/// loopback address. Without headers every client would be local.
#[tokio::test]
async fn a_gateway_behind_a_port_forwarding_is_never_sent_bare_requests() {
    let Some(ip) = outside("a gateway behind a port forwarding") else {
        return;
    };
    let peer = attribution::judge(&Via::Plain, &Rules::default()).await;
    let forwarding = TcpListener::bind((ip, 0)).await.expect("bind");
    let url = format!("http://{}", forwarding.local_addr().expect("an address"));
    let gateway = peer.addr();
    let forward = tokio::spawn(async move {
        while let Ok((mut from, _)) = forwarding.accept().await {
            let mut to = TcpStream::connect(gateway).await.expect("the gateway");
            tokio::spawn(async move { tokio::io::copy_bidirectional(&mut from, &mut to).await });
        }
    });
    let setup = open_to_all(Setup::before_url(&url).openclaw());
    let tap = setup.start().await;
    warned(&tap, r#""gateway": { "trustedProxies": ["127.0.0.1/32"] }"#).await;
    let (answer, record) = upgrade_on(from_outside(&tap, ip).await, &tap, &[]).await;
    assert_eq!(answer.status(), 403, "{}", answer.text());
    assert_eq!(facts(&record).mode, Mode::Overwrite);
    let mut conn = from_outside(&tap, ip).await;
    let (answer, _) = conn.get("/page").await.expect("an answer");
    assert_eq!(answer.status(), 403, "{}", answer.text());
    forward.abort();
}

#[tokio::test]
async fn trust_that_is_withdrawn_is_noticed_by_the_first_refusal() {
    let Some(ip) = outside("trust that is withdrawn") else {
        return;
    };
    let rules = Rules::trusting(&[ip]);
    let peer = attribution::judge(&Via::At((ip, 0).into()), &rules).await;
    let tap = Setup::before(&peer)
        .openclaw()
        .set("trusted_proxies", json!(["127.0.0.1/32"]))
        .start()
        .await;
    assert_eq!(accepted(&tap).await, Acceptance::Accepted);
    let lines = [CLIENT];
    let (answer, _) = upgrade(&tap, &lines).await;
    let locality = answer.value("x-locality");
    assert_eq!(locality.as_deref(), Some("trusted-proxy 203.0.113.7"));
    rules.trust(&[]);
    let (answer, _) = upgrade(&tap, &lines).await;
    assert_eq!(answer.status(), 403);
    warned(&tap, "all clients share our address").await;
    let (answer, record) = upgrade(&tap, &lines).await;
    assert_eq!(answer.value("x-locality").as_deref(), Some("direct-remote"));
    assert_eq!(facts(&record).acceptance, Acceptance::Refused);
}

#[tokio::test]
async fn a_gateway_that_was_gone_is_asked_again() {
    let rules = Rules::trusting(&[LOOPBACK]);
    let first = attribution::judge(&Via::Plain, &rules).await;
    let addr = first.addr();
    let tap = Setup::before(&first)
        .openclaw()
        .set("trusted_proxies", json!(["127.0.0.1/32"]))
        .start()
        .await;
    assert_eq!(accepted(&tap).await, Acceptance::Accepted);
    drop(first);
    let gone = poll(STEP, || std::net::TcpStream::connect(addr).err()).await;
    assert!(gone.is_some(), "it still listens");
    let (answer, _) = upgrade(&tap, &[CLIENT]).await;
    assert_eq!(answer.status(), 502);

    let back = attribution::judge(&Via::At(addr), &rules).await;
    let (answer, _) = upgrade(&tap, &[CLIENT]).await;
    assert_eq!(answer.status(), 101);
    let asked = poll(STEP, || {
        let heads = back.log.heads();
        heads
            .iter()
            .any(|head| head.target() == "/readyz")
            .then_some(())
    });
    assert!(
        asked.await.is_some(),
        "the gateway that is back was not asked"
    );
}

/// Gateways before 2026.8 answer everybody: whether they believe us is unknown, and logged once.
#[tokio::test]
async fn a_gateway_that_checks_nothing_shows_nothing() {
    for age in [Age::Ignores, Age::AnswersPages] {
        let rules = Rules::default();
        rules.age(age);
        let peer = attribution::judge(&Via::Plain, &rules).await;
        let tap = Setup::before(&peer)
            .openclaw()
            .set("trusted_proxies", json!(["127.0.0.1/32"]))
            .start()
            .await;
        let line = r#""gateway": { "trustedProxies": ["127.0.0.1"] }"#;
        warned(&tap, "it is unknown whether the gateway believes").await;
        assert!(tap.stderr().contains(line), "{}", tap.stderr());
        assert!(tap.stderr().contains("2026.1 knows no networks"));
        for _ in 0..3 {
            let (answer, record) = upgrade(&tap, &[CLIENT]).await;
            assert_eq!(answer.status(), 101, "{age:?}");
            let facts = facts(&record);
            assert_eq!(facts.acceptance, Acceptance::Unknown, "{age:?}");
            assert_eq!(decided(&record), (Mode::Overwrite, Why::TrustedChain));
        }
        let asked = peer.log.heads();
        let checks: Vec<_> = asked
            .iter()
            .filter(|head| head.target() == "/readyz")
            .filter_map(|head| head.value("x-forwarded-for"))
            .collect();
        assert_eq!(checks, ["203.0.113.1", "unknown"], "{age:?}: asked once");
        assert_eq!(tap.stderr().matches(line).count(), 1, "told once");
    }
}

/// The gateway was updated: the first 403 shows that it checks now.
#[tokio::test]
async fn a_gateway_that_begins_to_check_is_asked_again() {
    let rules = Rules::default();
    rules.age(Age::Ignores);
    let peer = attribution::judge(&Via::Plain, &rules).await;
    let tap = Setup::before(&peer)
        .openclaw()
        .set("trusted_proxies", json!(["127.0.0.1/32"]))
        .start()
        .await;
    warned(&tap, "it is unknown whether the gateway believes").await;
    rules.age(Age::Checks);
    let (answer, record) = upgrade(&tap, &[CLIENT]).await;
    assert_eq!(answer.status(), 403);
    let verdict = record.verdict.as_ref().expect("a verdict");
    assert_eq!(verdict.rule, "gateway.refused.attribution");
    // The refusal may as well be about this client alone.
    assert_eq!(verdict.confidence, Confidence::Likely);
    warned(&tap, "the gateway does not believe who we say a client is").await;
    rules.trust(&[LOOPBACK]);
    assert_eq!(accepted(&tap).await, Acceptance::Refused, "once a minute");
    let (_, record) = upgrade(&tap, &[CLIENT]).await;
    assert_eq!(facts(&record).acceptance, Acceptance::Refused);
}
