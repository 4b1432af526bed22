//! Tables of what counts as a secret and what does not.

use super::*;
use proptest::prelude::*;

#[test]
fn header_names() {
    for name in [
        "x-api-key",
        "x_api_key",
        "x-openclaw-token",
        "x-amz-security-token",
        "x-admin-secret",
        "x-gateway-password",
        "token",
        "cf-access-jwt-assertion",
        "x-original-authorization",
    ] {
        assert!(header_name(name), "{name}");
    }
    for name in [
        "sec-websocket-key",
        "host",
        "authorization",
        "proxy-authorization",
        "keep-alive",
        "idempotency-key",
        "accept",
    ] {
        assert!(!header_name(name), "{name}");
    }
}

#[test]
fn cookie_and_query_names() {
    for name in [
        "session",
        "connect.sid",
        "PHPSESSID",
        "auth_token",
        "__Host-x",
        "csrftoken",
        "sid",
        "id",
    ] {
        assert!(cookie_name(name), "{name}");
    }
    for name in ["theme", "lang", "sidebar", "_ga", "width"] {
        assert!(!cookie_name(name), "{name}");
    }
    for name in [
        "token",
        "access_token",
        "accessToken",
        "api_key",
        "api-key",
        "apikey",
        "key",
        "code",
        "X-Amz-Signature",
        "sig",
        "password",
        "jwt",
        "sessionKey",
        "auth",
    ] {
        assert!(query_name(name), "{name}");
    }
    for name in ["room", "v", "monkey", "page", "decode", "transport"] {
        assert!(!query_name(name), "{name}");
    }
}

#[test]
fn values_that_look_random() {
    for text in [
        "0123456789abcdef0123456789abcdef",
        "aGVsbG8gd29ybGQgaGVsbG8gd29ybGQgaGVsbG8",
        "sk-proj-abcDEF0123456789abcDEF0123456789",
        "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2ln",
        "prefix:eyJhbGciOiJub25lIn0.eyJhIjoxfQ.",
    ] {
        assert!(looks_secret(text), "{text}");
    }
    for text in [
        "",
        "assets",
        "control-ui-config.json",
        "abcdefghijklmnopqrstuvwxyzabcdefghijkl",
        "eyJust.a.word",
    ] {
        assert!(!looks_secret(text), "{text}");
    }
}

#[test]
fn percent_decoding() {
    for (text, decoded) in [
        ("a%20b", "a b"),
        ("%5f%5F", "__"),
        ("100%", "100%"),
        ("%zz%4", "%zz%4"),
        ("%ff", "\u{fffd}"),
        ("%+1", "%+1"),
    ] {
        assert_eq!(percent_decode(text), decoded);
    }
}

#[test]
fn subprotocols() {
    let seen = |value| {
        subprotocol_items(value)
            .into_iter()
            .map(|item| (item.shown.to_owned(), item.secret.unwrap_or("-").to_owned()))
            .collect::<Vec<_>>()
    };
    let table: &[(&str, &[(&str, &str)])] = &[
        ("", &[]),
        ("chat, superchat", &[("chat", "-"), ("superchat", "-")]),
        ("bearer, s3cret", &[("bearer", "-"), ("", "s3cret")]),
        (
            "v1, Token, s3cret, chat",
            &[("v1", "-"), ("Token", "-"), ("", "s3cret"), ("chat", "-")],
        ),
        ("auth", &[("auth", "-")]),
        ("bearer.s3cret", &[("bearer.", "s3cret")]),
        ("bearer-s3cret", &[("bearer-", "s3cret")]),
        (
            "authorization.bearer.s3cret",
            &[("authorization.bearer.", "s3cret")],
        ),
        (
            "openai-insecure-api-key.s3cret",
            &[("openai-insecure-api-key.", "s3cret")],
        ),
        (
            "base64url.bearer.authorization.k8s.io.czNjcmV0",
            &[("base64url.bearer.authorization.k8s.io.", "czNjcmV0")],
        ),
        ("base64.channel.k8s.io", &[("base64.channel.k8s.io", "-")]),
        ("graphql-transport-ws", &[("graphql-transport-ws", "-")]),
        (
            "aaaaaaaaaaaaaaaaaaaaaaaa",
            &[("", "aaaaaaaaaaaaaaaaaaaaaaaa")],
        ),
        ("token-v2", &[("token-v2", "-")]),
    ];
    for (value, expected) in table {
        let expected: Vec<_> = expected
            .iter()
            .map(|(a, b)| ((*a).to_owned(), (*b).to_owned()))
            .collect();
        assert_eq!(seen(value), expected, "{value}");
    }
}

#[test]
fn capability_paths() {
    let tokens = |path: &str| {
        let mut walk = CapabilityPath::default();
        path.split('/')
            .filter(|segment| walk.next_is_token(&percent_decode(segment)))
            .collect::<Vec<_>>()
            .join(" ")
    };
    assert_eq!(tokens("/__openclaw__/cap/tok/a/b"), "tok");
    assert_eq!(tokens("/base/__OpenClaw__//./CAP//tok"), "tok");
    assert_eq!(tokens("/%5f_openclaw__/cap/tok"), "tok");
    assert_eq!(
        tokens("/__openclaw__%2Fcap%2Ftok/x"),
        "__openclaw__%2Fcap%2Ftok"
    );
    assert_eq!(tokens("/__openclaw__/worker/cap/tok"), "");
    assert_eq!(tokens("/__openclaw__/cap"), "");
}

proptest! {
    #[test]
    fn anything_goes(text in any::<String>()) {
        let _ = (header_name(&text), cookie_name(&text), query_name(&text), looks_secret(&text));
        let _ = (find_jwt(&text), percent_decode(&text));
        for item in subprotocol_items(&text) {
            prop_assert!(text.contains(item.shown));
        }
    }
}
