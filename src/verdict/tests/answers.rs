//! Answers other than a 101: the server that sent them, their demands, and the credential that had
//! been sent.

use serde_json::{Value, json};

use super::*;
use crate::session::record::Confidence;
use crate::session::record::gateway::GatewayTlsFacts;

fn line(name: &str, value: &str) -> Value {
    json!({ "name": name, "value": value, "length": value.len() })
}

/// An upgrade that got this answer.
fn answered(status: u16, server: Value, body: &str, headers: Vec<Value>) -> SessionRecord {
    edited("hop.fault.redirect", |record| {
        record["gateway"]["status"] = status.into();
        record["answer"]["status"] = status.into();
        record["gateway"]["server"] = server;
        record["gateway"]["body_kind"] = body.into();
        record["gateway"]["response_headers"] = headers.into();
    })
}

fn openclaw(mut record: SessionRecord) -> SessionRecord {
    record.gateway.as_mut().unwrap().expects = "openclaw".to_owned();
    record
}

/// The record with a credential in Authorization.
fn authorized(mut record: SessionRecord) -> SessionRecord {
    let credential = json!([{
        "place": "header:authorization", "scheme": "Basic", "user": "me", "length": 12,
        "fingerprint": "hmac:abc:12345678", "shape": [], "effective": null,
    }]);
    record.auth = serde_json::from_value(credential).unwrap();
    record
}

fn says(verdict: &Verdict, text: &str) -> bool {
    verdict.evidence.iter().any(|it| it.fact.contains(text))
}

#[test]
fn a_redirect_shows_where_it_leads_and_what_it_wants() {
    let to = |location: &str| {
        let headers = vec![line("location", location)];
        decide(&answered(302, "nginx/1.27.2".into(), "html", headers))
    };
    for (location, words) in [
        ("https://localhost:8443/", "it wants https"),
        ("/login?next=[masked 1]", "it wants a login"),
        ("https://other.example.com/", "another host"),
        ("/elsewhere", "look at that server's redirects"),
    ] {
        let verdict = to(location);
        assert_eq!(verdict.rule, "hop.fault.redirect", "{location}");
        assert!(verdict.summary.contains(location), "{}", verdict.summary);
        assert!(says(&verdict, location), "{location}");
        assert!(verdict.next.contains(words), "{location}: {}", verdict.next);
    }
    // The leg already uses TLS, so "use https" would be wrong advice.
    let mut record = answered(
        301,
        Value::Null,
        "empty",
        vec![line("location", "https://localhost:8443/")],
    );
    record.gateway.as_mut().unwrap().tls = Some(GatewayTlsFacts::default());
    let verdict = decide(&record);
    assert!(
        verdict.next.contains("X-Forwarded-Proto"),
        "{}",
        verdict.next
    );
    // A gateway of another kind may itself redirect.
    assert_eq!(verdict.confidence, Confidence::Possible);
    assert_eq!(decide(&openclaw(record)).confidence, Confidence::Likely);
}

#[test]
fn a_429_says_whose_it_is_and_how_long_to_wait() {
    let headers = || vec![line("retry-after", "60")];
    let own = decide(&openclaw(answered(429, Value::Null, "gateway", headers())));
    assert_eq!(own.rule, "gateway.refused.rate_limited");
    assert!(own.next.contains("60.0 s"), "{}", own.next);
    let nginx = decide(&answered(429, "nginx".into(), "html", headers()));
    assert_eq!(nginx.rule, "hop.fault.rate_limited");
    assert!(nginx.next.contains("wait 60.0 s"), "{}", nginx.next);
    // A gateway of another kind may itself limit the rate, with any body.
    let plain = decide(&answered(429, Value::Null, "json", headers()));
    assert_eq!(plain.rule, "gateway.refused.other");
    assert!(plain.next.contains("wait 60.0 s"), "{}", plain.next);
    let openclaw = decide(&openclaw(answered(429, Value::Null, "json", headers())));
    assert_eq!(openclaw.rule, "hop.fault.rate_limited");
    assert_eq!(openclaw.confidence, Confidence::Possible);
    let without = decide(&answered(429, "nginx".into(), "html", Vec::new()));
    assert!(says(&without, "no Retry-After"));
    let date = vec![line("retry-after", "Fri, 31 Dec 2027 23:59:59 GMT")];
    let until = decide(&answered(429, "nginx".into(), "html", date));
    assert!(says(&until, "until \"Fri, 31 Dec 2027"));
}

#[test]
fn a_bare_403_of_envoy_means_that_upgrades_are_not_enabled() {
    let by = |server: &str, body: &str, headers: Vec<Value>| {
        decide(&answered(403, server.into(), body, headers)).rule
    };
    for server in ["envoy", "istio-envoy"] {
        assert_eq!(by(server, "empty", vec![]), "hop.fault.upgrade_not_enabled");
    }
    // Role-based access writes a body, a login sends a challenge, and Envoy marks what it forwards.
    assert_eq!(by("envoy", "text", vec![]), "hop.fault.login");
    let asks = vec![line("www-authenticate", "Bearer")];
    assert_eq!(by("envoy", "empty", asks), "hop.fault.login");
    let behind = vec![line("x-envoy-upstream-service-time", "3")];
    assert_eq!(by("envoy", "empty", behind), "hop.fault.login");
    assert_eq!(by("nginx", "empty", vec![]), "hop.fault.login");
    let other = answered(404, "envoy".into(), "empty", vec![]);
    assert_eq!(rule_of(&other), "hop.fault.foreign_answer");
}

#[test]
fn a_401_says_whether_a_credential_was_sent() {
    let basic = || vec![line("www-authenticate", "Basic realm=\"gw\"")];
    let bare = answered(401, "nginx".into(), "html", basic());
    let verdict = decide(&bare);
    assert_eq!(verdict.rule, "hop.fault.login");
    assert!(
        verdict.summary.contains("no credential was sent"),
        "{}",
        verdict.summary
    );
    assert!(says(&verdict, "it asks for \"Basic realm="));
    let verdict = decide(&authorized(bare));
    assert_eq!(verdict.rule, "hop.fault.login");
    let words = "did not accept the credential that was sent";
    assert!(verdict.summary.contains(words), "{}", verdict.summary);
    assert!(
        verdict.next.contains("hmac:abc:12345678"),
        "{}",
        verdict.next
    );

    let own = openclaw(answered(401, Value::Null, "empty", vec![]));
    let verdict = decide(&own);
    assert_eq!(verdict.rule, "gateway.refused.credential");
    assert!(
        verdict.summary.contains("none was sent"),
        "{}",
        verdict.summary
    );
    let verdict = decide(&authorized(own));
    assert!(
        verdict.summary.contains("header:authorization"),
        "{}",
        verdict.summary
    );

    let plain = fixture("http.error.client");
    let unauthorized = |record: &SessionRecord| {
        let mut record = record.clone();
        record.answer.as_mut().unwrap().status = 401;
        record.gateway.as_mut().unwrap().status = Some(401);
        record
    };
    let none = decide(&unauthorized(&plain));
    assert!(none.summary.contains("none was sent"), "{}", none.summary);
    let sent = decide(&authorized(unauthorized(&plain)));
    assert!(sent.summary.contains("did not accept"), "{}", sent.summary);
    // A 403 without a challenge asks for nothing.
    let forbidden = decide(&answered(403, "nginx".into(), "html", vec![]));
    assert!(
        forbidden.summary.contains("forbids the upgrade"),
        "{}",
        forbidden.summary
    );
}

#[test]
fn a_431_says_whose_limit_it_is() {
    let large = |server: Value, body: &str| {
        let mut record = openclaw(answered(431, server, body, vec![]));
        let cookie = json!({ "name": "cookie", "value": null, "length": 20480 });
        let request = record.request.as_mut().unwrap();
        request
            .headers
            .push(serde_json::from_value(cookie).unwrap());
        record
    };
    let own = decide(&large(Value::Null, "empty"));
    assert_eq!(own.rule, "gateway.limit.head");
    assert!(says(&own, "its largest header is \"cookie\" with 20.0 KiB"));
    assert!(own.next.contains("--max-http-header-size"), "{}", own.next);
    assert_eq!(
        rule_of(&large("nginx".into(), "html")),
        "hop.fault.too_large"
    );
    assert_eq!(
        rule_of(&large(Value::Null, "html")),
        "hop.fault.foreign_answer"
    );
    let small = decide(&openclaw(answered(431, Value::Null, "empty", vec![])));
    assert!(!says(&small, "its largest header"));
}

#[test]
fn a_short_name_without_an_address_is_a_container_that_does_not_run() {
    let asked = |name: &str, resolver: Value| {
        decide(&edited("gateway.unreachable.dns", |record| {
            record["gateway"]["dns"]["name"] = name.into();
            record["gateway"]["dns"]["addresses"] = 0.into();
            record["gateway"]["dns"]["resolver"] = resolver;
        }))
    };
    let verdict = asked("openclaw-gateway", "docker".into());
    assert_eq!(verdict.rule, "gateway.unreachable.dns");
    let first = "check the name in gateway.url, or its container is not running: `docker compose ps -a \
                 openclaw-gateway`";
    assert!(verdict.next.starts_with(first), "{}", verdict.next);
    let looping =
        "If it ended or restarts again and again, read `docker compose logs openclaw-gateway`";
    assert!(verdict.next.contains(looping), "{}", verdict.next);
    assert!(
        verdict
            .next
            .contains("docker compose up -d openclaw-gateway")
    );
    assert!(says(&verdict, "Docker's (127.0.0.11)"));
    let podman = asked("gw", "podman".into());
    assert!(
        podman.next.starts_with("run `podman ps -a"),
        "{}",
        podman.next
    );
    let kubernetes = asked("gw", "kubernetes".into());
    assert!(kubernetes.next.starts_with("run `kubectl get service gw`"));
    // A full name, a name that is not safe to paste, another resolver, and an unknown one.
    for (name, resolver) in [
        ("gw.example.com", "docker".into()),
        ("gw`id`", "docker".into()),
        ("gw", "other".into()),
        ("gw", Value::Null),
    ] {
        let verdict = asked(name, resolver);
        assert_eq!(verdict.rule, "gateway.unreachable.dns");
        assert!(!verdict.next.contains("compose logs"), "{}", verdict.next);
        assert!(
            !verdict.next.starts_with("run `") && !verdict.next.contains("id`"),
            "{}",
            verdict.next
        );
    }
}

#[test]
fn the_words_of_a_tls_port_count_only_with_their_status_and_our_scheme() {
    let answer = |status: u16, words: &str, tls: bool| {
        let mut record = answered(status, "nginx".into(), "html", vec![]);
        let gateway = record.gateway.as_mut().unwrap();
        gateway.tls_words = serde_json::from_value(words.into()).unwrap();
        gateway.tls = tls.then(GatewayTlsFacts::default);
        rule_of(&record)
    };
    assert_eq!(
        answer(400, "plain_to_tls", false),
        "gateway.unreachable.wants_tls"
    );
    assert_eq!(
        answer(400, "plain_to_tls", true),
        "hop.fault.upstream_scheme"
    );
    assert_eq!(
        answer(503, "tls_to_plain", false),
        "hop.fault.upstream_scheme"
    );
    assert_eq!(
        answer(404, "plain_to_tls", false),
        "hop.fault.foreign_answer"
    );
    assert_eq!(
        answer(400, "tls_to_plain", false),
        "hop.fault.foreign_answer"
    );
}
