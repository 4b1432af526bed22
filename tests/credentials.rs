//! Credentials in places that the gateway does not look at, in URLs, and in odd shapes.

use wstap::session::SessionRecord;
use wstap::session::credential::{Credential, Shape};

use crate::peers::{Via, echo, http_plain};
use crate::support::deadline::{STEP, poll};
use crate::support::tap::{Face, Setup};

const WARNING: &str = "a credential came in a URL";

fn find<'a>(record: &'a SessionRecord, place: &str) -> &'a Credential {
    let found = record.auth.iter().find(|one| one.place == place);
    found.unwrap_or_else(|| panic!("{place} is not in {:?}", record.auth))
}

#[tokio::test]
async fn bearer_and_query_token_are_ignored_on_the_websocket_and_not_elsewhere() {
    let peer = echo::start(&Via::Plain).await;
    let tap = Setup::before(&peer)
        .openclaw()
        .set("gateway.forwarded", "pass")
        .start()
        .await;
    let mut conn = tap.connect(Face::Plain).await;
    let secret = "a-secret-of-some-length-0123456789";
    let bearer = format!("Bearer {secret}");
    let target = format!("/?token={secret}");
    conn.upgrade(&target, &[("Authorization", &bearer)])
        .await
        .unwrap();
    drop(conn);
    let record = tap.websocket().await;
    for place in ["header:authorization", "query:token"] {
        assert_eq!(find(&record, place).effective, Some(false), "{place}");
    }
    // The same secret in two places is seen to be the same.
    let [a, b] = ["header:authorization", "query:token"].map(|place| find(&record, place));
    assert_eq!(a.fingerprint, b.fingerprint);
    let peer = http_plain::start(&Via::Plain).await;
    let tap = Setup::before(&peer)
        .openclaw()
        .set("gateway.forwarded", "pass")
        .start()
        .await;
    let mut conn = tap.connect(Face::Plain).await;
    conn.get(&target).await.unwrap();
    let record = tap
        .wait_for("the request", |record| !record.auth.is_empty())
        .await;
    assert_eq!(find(&record, "query:token").effective, None);
}

#[tokio::test]
async fn a_token_in_a_url_is_warned_of_once_per_client() {
    let peer = http_plain::start(&Via::Plain).await;
    let tap = Setup::before(&peer).start().await;
    let secret = "a-secret-of-some-length-0123456789";
    for _ in 0..3 {
        let mut conn = tap.connect(Face::Plain).await;
        conn.get(&format!("/?token={secret}")).await.unwrap();
    }
    tap.wait_for("the third", |_| tap.records().len() >= 3)
        .await;
    let told = || tap.stderr().contains(WARNING).then_some(());
    poll(STEP, told).await.expect("a warning");
    let stderr = tap.stderr();
    assert_eq!(stderr.matches(WARNING).count(), 1, "{stderr}");
    assert!(
        stderr.contains("127.0.0.1") && stderr.contains("query:token"),
        "{stderr}"
    );
    assert!(!stderr.contains(secret));
}

#[tokio::test]
async fn behind_a_trusted_proxy_each_client_is_warned_of() {
    let peer = http_plain::start(&Via::Plain).await;
    let proxies = vec!["127.0.0.1"];
    let setup = Setup::before(&peer).set("trusted_proxies", proxies);
    let tap = setup.start().await;
    for client in ["203.0.113.7", "203.0.113.8", "203.0.113.7"] {
        let request = format!(
            "GET /?token=abc HTTP/1.1\r\nHost: localhost\r\nX-Forwarded-For: {client}\r\n\r\n"
        );
        let mut conn = tap.connect(Face::Plain).await;
        conn.send(request.as_bytes()).await.unwrap();
        assert_eq!(conn.head().await.unwrap().status(), 200);
    }
    let told = || (tap.stderr().matches(WARNING).count() == 2).then_some(());
    poll(STEP, told).await.expect("two warnings");
    let stderr = tap.stderr();
    assert!(
        stderr.contains("203.0.113.7") && stderr.contains("203.0.113.8"),
        "{stderr}"
    );
}

#[tokio::test]
async fn odd_shapes_are_named() {
    let peer = http_plain::start(&Via::Plain).await;
    let tap = Setup::before(&peer).start().await;
    for (value, shape) in [
        ("abcdef%0A", Shape::Newline),
        ("%22abcdef%22", Shape::Quoted),
        ("$%7BTOKEN%7D", Shape::Placeholder),
        ("", Shape::Empty),
        ("%20abcdef", Shape::Whitespace),
    ] {
        let mut conn = tap.connect(Face::Plain).await;
        conn.get(&format!("/?token={value}")).await.unwrap();
        let has = |record: &SessionRecord| record.auth.iter().any(|one| one.shape.contains(&shape));
        tap.wait_for(value, has).await;
    }
    // In a header as well, where a proxy or a shell left the quotes on.
    let mut conn = tap.connect(Face::Plain).await;
    let request = "GET / HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer 'abcdef'\r\n\r\n";
    conn.send(request.as_bytes()).await.unwrap();
    let quoted = |record: &SessionRecord| {
        let found = record
            .auth
            .iter()
            .find(|one| one.place == "header:authorization");
        found.is_some_and(|one| one.shape == [Shape::Quoted])
    };
    tap.wait_for("the quoted one", quoted).await;
}
