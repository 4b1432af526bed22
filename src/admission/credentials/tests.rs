//! Each place once, the odd forms, the bounds, and a canary that must not appear in any output.

use proptest::prelude::*;

use super::*;

fn keyed() -> Fingerprinter {
    Fingerprinter::with_key(b"test key")
}

fn scan_with(headers: &[(&str, &str)], target: &str, websocket: bool, ignored: bool) -> Found {
    let headers = headers
        .iter()
        .map(|(name, value)| (name.as_bytes(), value.as_bytes()));
    scan(
        headers,
        Request {
            target,
            websocket,
            ignored,
        },
        &keyed(),
    )
}

fn headers(headers: &[(&str, &str)]) -> Vec<Credential> {
    scan_with(headers, "/", true, true).credentials
}

fn one(headers_in: &[(&str, &str)]) -> Credential {
    let mut found = headers(headers_in);
    assert_eq!(found.len(), 1, "{found:?}");
    found.remove(0)
}

fn target(target: &str) -> Vec<Credential> {
    scan_with(&[], target, true, true).credentials
}

fn print(secret: &str) -> String {
    keyed().fingerprint(secret.as_bytes()).into()
}

#[test]
fn bearer() {
    let seen = one(&[("Authorization", "Bearer s3cret")]);
    assert_eq!(seen.place, "header:authorization");
    assert_eq!(seen.scheme.as_deref(), Some("Bearer"));
    assert_eq!((seen.length, seen.fingerprint), (6, print("s3cret")));
    assert_eq!(seen.effective, Some(false));

    let http = scan_with(&[("authorization", "bearer s3cret")], "/", false, true).credentials;
    assert_eq!(http[0].effective, None);
    let plain = scan_with(
        &[("authorization", "bearer s3cret")],
        "/?token=a",
        true,
        false,
    )
    .credentials;
    assert_eq!(
        plain.iter().map(|c| c.effective).collect::<Vec<_>>(),
        [None, None]
    );
}

#[test]
fn authorization_oddities() {
    let spaced = one(&[("authorization", "Bearer  s3cret")]);
    assert_eq!(
        (spaced.shape, spaced.fingerprint),
        (vec![Shape::Whitespace], print("s3cret"))
    );
    assert_eq!(one(&[("authorization", "Bearer")]).shape, [Shape::Empty]);
    assert_eq!(
        one(&[("authorization", "Bearer ${TOKEN}")]).shape,
        [Shape::Placeholder]
    );
    assert_eq!(
        one(&[("authorization", "Bearer \"s3cret\"")]).shape,
        [Shape::Quoted]
    );

    // The first word of an unknown form may be the secret: nothing of it is kept.
    let bare = one(&[("authorization", "hunter two")]);
    assert_eq!((bare.scheme, bare.fingerprint), (None, print("hunter two")));
    let digest = one(&[("authorization", "Digest username=\"u\", response=\"x\"")]);
    assert_eq!(digest.scheme.as_deref(), Some("Digest"));
    assert_eq!(digest.fingerprint, print("username=\"u\", response=\"x\""));
}

#[test]
fn basic_keeps_the_user_and_prints_the_password() {
    // "ana:s3cret:x": only the first colon separates.
    let seen = one(&[("Proxy-Authorization", "Basic YW5hOnMzY3JldDp4")]);
    assert_eq!(seen.place, "header:proxy-authorization");
    assert_eq!(
        (seen.user.as_deref(), seen.fingerprint),
        (Some("ana"), print("s3cret:x"))
    );
    assert_eq!(seen.effective, None);
    // "an\x1b[0ma:" escaped, and an empty password
    let odd = one(&[("authorization", "Basic YW4bWzBtYTo=")]);
    assert_eq!(
        (odd.user.as_deref(), odd.shape),
        (Some("an\\u{1b}[0ma"), vec![Shape::Empty])
    );
    // Not base64, and base64 without a colon.
    assert_eq!(
        one(&[("authorization", "Basic !!!")]).fingerprint,
        print("!!!")
    );
    assert_eq!(
        one(&[("authorization", "Basic czNjcmV0")]).fingerprint,
        print("s3cret")
    );
    // A token as the user name ("0123456789abcdef0123456789abcdef:").
    let token = one(&[(
        "authorization",
        "Basic MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY6",
    )]);
    assert_eq!(
        (token.user, token.fingerprint),
        (None, print("0123456789abcdef0123456789abcdef"))
    );
}

#[test]
fn base64_vectors_of_rfc_4648() {
    for (text, bytes) in [
        ("", ""),
        ("Zg==", "f"),
        ("Zm8=", "fo"),
        ("Zm9v", "foo"),
        ("Zm9vYg", "foob"),
        ("Zm9vYmE=", "fooba"),
    ] {
        assert_eq!(
            decode_base64(text.as_bytes()).unwrap().as_slice(),
            bytes.as_bytes()
        );
    }
    assert_eq!(
        decode_base64(b"-_-_").unwrap(),
        decode_base64(b"+/+/").unwrap()
    );
    assert!(
        decode_base64(b"A").is_none()
            && decode_base64(b"A===").is_none()
            && decode_base64(b"A b=").is_none()
    );
}

#[test]
fn other_headers() {
    let seen = headers(&[
        ("X-Api-Key", "k1"),
        ("X-OpenClaw-Token", "k2"),
        ("x-admin-secret", "k3"),
        ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
        ("Accept", "*/*"),
        ("x-odd", "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2ln"),
    ]);
    let places: Vec<_> = seen.iter().map(|c| c.place.as_str()).collect();
    assert_eq!(
        places,
        [
            "header:x-api-key",
            "header:x-openclaw-token",
            "header:x-admin-secret",
            "header:x-odd"
        ]
    );
}

#[test]
fn query() {
    let seen = target(
        "/ws?room=7&token=s3cr%65t&access_token=a+b&v=0123456789abcdef0123456789abcdef#token=x",
    );
    let places: Vec<_> = seen
        .iter()
        .map(|c| (c.place.as_str(), c.effective))
        .collect();
    assert_eq!(
        places,
        [
            ("query:token", Some(false)),
            ("query:access_token", None),
            ("query:v", None)
        ]
    );
    assert_eq!(seen[0].fingerprint, print("s3cret"));
    assert_eq!(seen[1].fingerprint, print("a b"));
    assert_eq!(target("/?token=")[0].shape, [Shape::Empty]);
    assert_eq!(
        target("/?token=%22x%22%0A")[0].shape,
        [Shape::Newline, Shape::Quoted]
    );
    // The token where the name should be.
    let bare = target("/?0123456789abcdef0123456789abcdef");
    assert_eq!((bare[0].place.as_str(), bare[0].length), ("query", 32));
    assert_eq!(
        target("/?0123456789abcdef0123456789abcdef=token-x1234567890123456789012345")[0].place,
        "query:[masked 32]"
    );
}

#[test]
fn cookies() {
    let seen = headers(&[(
        "Cookie",
        "theme=dark; sid=s3cret; _ga=aaaaaaaaaaaaaaaaaaaaaaaaa; x=\"y\"; session=\"q\"",
    )]);
    let places: Vec<_> = seen.iter().map(|c| c.place.as_str()).collect();
    assert_eq!(places, ["cookie:sid", "cookie:_ga", "cookie:session"]);
    assert_eq!(seen[2].shape, [Shape::Quoted]);
    assert_eq!(
        headers(&[("cookie", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaa")])[0].place,
        "cookie:"
    );
}

#[test]
fn subprotocol() {
    let seen = one(&[("Sec-WebSocket-Protocol", "openclaw.v1, bearer, s3cret")]);
    assert_eq!(
        (seen.place.as_str(), seen.scheme.as_deref()),
        ("subprotocol", Some("bearer"))
    );
    assert_eq!(seen.fingerprint, print("s3cret"));
    // The list may be spread over lines.
    assert_eq!(
        one(&[
            ("sec-websocket-protocol", "bearer"),
            ("sec-websocket-protocol", "s3cret")
        ])
        .fingerprint,
        print("s3cret")
    );
    // Kubernetes encodes the token once more: the fingerprint is that of the token itself.
    assert_eq!(
        one(&[(
            "sec-websocket-protocol",
            "base64url.bearer.authorization.k8s.io.czNjcmV0, v1"
        )])
        .fingerprint,
        print("s3cret")
    );
}

#[test]
fn capability_path() {
    let seen = target("/__openclaw__/cap/s3cret/canvas/index.html");
    assert_eq!(
        (seen[0].place.as_str(), &seen[0].fingerprint),
        ("path", &print("s3cret"))
    );
    assert!(target("/__openclaw__/worker").is_empty());
}

#[test]
fn junk_is_bounded_counted_and_does_not_crowd_out() {
    let cookie = "sid_token=x; ".repeat(100);
    let found = scan_with(
        &[("cookie", &cookie), ("authorization", "Bearer s3cret")],
        "/?key=1",
        true,
        true,
    );
    assert_eq!(
        (found.credentials.len(), found.dropped),
        (MAX_CREDENTIALS, 100 + 2 - MAX_CREDENTIALS)
    );
    assert_eq!(found.credentials[0].place, "header:authorization");
    assert_eq!(found.credentials[1].place, "query:key");
}

#[test]
fn the_canary_never_comes_out() {
    // One long enough to be found by its length, and a short one for the places that are known by
    // name.
    for canary in ["CANARYq7Zk20v5Xw81Lm4Np93Rt6Yb2Hd", "CANARYq7Z"] {
        let bearer = format!("Bearer {canary}");
        let cookie = format!("session={canary}; theme=x");
        let protocol = format!("v1, bearer, {canary}, token.{canary}");
        let target = format!("/__openclaw__/cap/{canary}/x?token={canary}&code={canary}");
        let found = scan_with(
            &[
                ("authorization", &bearer),
                ("authorization", canary),
                ("authorization", &format!("{canary} tail")),
                ("proxy-authorization", &format!("Basic {canary}")),
                ("x-api-key", canary),
                ("x-gateway-password", canary),
                ("cookie", &cookie),
                ("sec-websocket-protocol", &protocol),
            ],
            &target,
            true,
            true,
        );
        assert_eq!(found.credentials.len(), 12, "{found:?}");
        let shown = format!(
            "{found:?} {}",
            serde_json::to_string(&found.credentials).unwrap()
        );
        assert!(!shown.contains("CANARY"), "{shown}");
        let prints = found
            .credentials
            .iter()
            .filter(|c| c.fingerprint == print(canary))
            .count();
        assert_eq!(
            prints, 11,
            "equal secrets give equal fingerprints wherever they stood"
        );
    }
}

proptest! {
    #[test]
    fn arbitrary_heads(
        lines in proptest::collection::vec(
            (
                prop_oneof![
                    Just(b"Authorization".to_vec()),
                    Just(b"Cookie".to_vec()),
                    Just(b"Sec-WebSocket-Protocol".to_vec()),
                    proptest::collection::vec(any::<u8>(), 0..12),
                ],
                proptest::collection::vec(any::<u8>(), 0..80),
            ),
            0..8,
        ),
        target in any::<String>(),
    ) {
        let head = lines.iter().map(|(name, value)| (name.as_slice(), value.as_slice()));
        let found = scan(head, Request { target: &target, websocket: true, ignored: true }, &keyed());
        prop_assert!(found.credentials.len() <= MAX_CREDENTIALS);
        for credential in &found.credentials {
            prop_assert!(!credential.place.chars().any(crate::session::text::must_escape));
        }
    }
}
