//! Credentials in places that the gateway does not look at, in URLs, and in odd shapes.

use serde_json::json;
use wstap::session::SessionRecord;
use wstap::session::credential::{Credential, Shape};

use crate::peers::openclaw::{Gateway, Script, TOKEN};
use crate::peers::{Via, echo, http_plain};
use crate::support::deadline::{STEP, poll};
use crate::support::frame::Frame;
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

#[tokio::test]
async fn what_was_copied_along_with_a_token_is_told_from_a_wrong_token() {
    let gateway = Gateway::start(&Via::Plain, Script::default()).await;
    let tap = Setup::before(&gateway.peer).openclaw().start().await;
    let mut conn = tap.connect(Face::Plain).await;
    conn.upgrade("/", &[]).await.unwrap();
    conn.log_in(TOKEN).await;
    conn.send_masked(Frame::close(1000, "")).await.unwrap();
    conn.frames_to_end().await;
    let works = tap.websocket().await;
    let works = find(&works, "frame:connect.params.auth.token")
        .fingerprint
        .clone();
    let mut seen = tap.records().len();
    for (token, form, inside) in [
        (format!("Bearer {TOKEN}"), "take `Bearer ` off", true),
        (
            format!("OPENCLAW_GATEWAY_TOKEN={TOKEN}\n"),
            "keep what follows the `=`",
            true,
        ),
        (format!("'{TOKEN}'"), "take the quotes off", true),
        (
            format!("http://127.0.0.1:18789/#token={TOKEN}"),
            "keep what follows `token=`",
            true,
        ),
        (
            "Bearer another-token-0123456789abcdef012345".to_owned(),
            "if the gateway refuses that too",
            false,
        ),
        (
            "__OPENCLAW_REDACTED__".to_owned(),
            "`openclaw config get` and logs hide secrets",
            false,
        ),
    ] {
        let mut conn = tap.connect(Face::Plain).await;
        conn.upgrade("/", &[]).await.unwrap();
        conn.introduce(&json!({ "token": token })).await;
        conn.frames_to_end().await;
        conn.finish().await;
        let record = tap.newest(&mut seen).await;
        let verdict = record.verdict.as_ref().unwrap();
        assert_eq!(verdict.rule, "gateway.auth.token_mismatch");
        assert!(verdict.next.contains(form), "{}", verdict.next);
        let inner = find(&record, "frame:connect.params.auth.token")
            .inner
            .as_deref();
        assert_eq!(inner == Some(works.as_str()), inside, "{form}");
        let told = verdict
            .evidence
            .iter()
            .any(|one| one.fact.contains("without that it is"));
        assert_eq!(told, inside, "{form}");
    }
    // A token that ends with `=`, or begins with letters and one, does not have this shape.
    for token in [
        "c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0LTE=",
        "Ab3=kJd82mLq0Wz7xPvRt61",
    ] {
        let mut conn = tap.connect(Face::Plain).await;
        conn.upgrade("/", &[]).await.unwrap();
        conn.introduce(&json!({ "token": token })).await;
        conn.frames_to_end().await;
        conn.finish().await;
        let record = tap.newest(&mut seen).await;
        let one = find(&record, "frame:connect.params.auth.token");
        assert!(
            one.shape.is_empty() && one.inner.is_none(),
            "{:?}",
            one.shape
        );
        // It is the client's other token, and nothing else is reported about it.
        assert_eq!(
            record.verdict.unwrap().rule,
            "gateway.auth.token_two_sources"
        );
    }
}

#[tokio::test]
async fn the_pages_own_requests_carry_no_credential() {
    let peer = http_plain::start(&Via::Plain).await;
    let tap = Setup::before(&peer).openclaw().start().await;
    let targets = [
        "/sw.js?v=2026.9.6-release-eb377ac59e6c-2026-09-23T16-33-12.144Z",
        "/assets/app-sidebar-session-catalog-render-s2YVszJl.js",
        "/chat?session=agent:main:main",
    ];
    for target in targets {
        let mut conn = tap.connect(Face::Plain).await;
        conn.get(target).await.unwrap();
        drop(conn);
    }
    let records = tap.wait_for_count(targets.len()).await;
    for record in &records {
        assert!(record.auth.is_empty(), "{:?}", record.auth);
        let path = record.request.as_ref().unwrap().path.as_str().to_owned();
        let shown = targets.contains(&path.as_str()) || path == "/chat?session=[masked 15]";
        assert!(shown, "{path}");
    }
    assert!(!tap.stderr().contains(WARNING), "{}", tap.stderr());
}
