//! Tables of shown and masked values, and a canary in every place.

use proptest::prelude::*;

use super::*;

#[test]
fn a_method_is_shown_if_it_is_one() {
    for method in [
        "GET",
        "get",
        "PROPFIND",
        "M-SEARCH",
        "SECRETKKK",
        "",
        "\u{1b}[2J",
    ] {
        let shown = mask_method(method.as_bytes());
        let expected = match method {
            "M-SEARCH" => "[masked 8]",
            "SECRETKKK" | "\u{1b}[2J" => "[masked 9]",
            known => known,
        };
        assert_eq!(shown, expected);
    }
}

const HEX: &str = "0123456789abcdef0123456789abcdef";
const JWT: &str = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2ln";

fn header(name: &str, value: &str) -> String {
    mask_header(name.as_bytes(), value.as_bytes()).unwrap()
}

#[test]
fn targets() {
    let table = [
        ("/", "/"),
        ("/ws", "/ws"),
        ("*", "*"),
        ("/a/b.js?v=1&w=1", "/a/b.js?v=1&w=[masked 1]"),
        (
            "/?token=s3cr%65t&room=&flag",
            "/?token=[masked 6]&room=&flag",
        ),
        ("/?a=b=c&d=%26", "/?a=[masked 3]&d=[masked 1]"),
        ("/?a=x?y=z", "/?a=[masked 5]"),
        ("/?", "/?"),
        ("/?hunter2hunter2hunter2", "/?[masked 21]"),
        ("/x#access_token=s3cret", "/x#[masked 19]"),
        (
            "/__openclaw__/cap/s3cret/canvas/",
            "/__openclaw__/cap/[masked 6]/canvas/",
        ),
        (
            "/__openclaw__//cap/./s3cret",
            "/__openclaw__//cap/./[masked 6]",
        ),
        ("/__openclaw__%2fcap%2Fs3cret/x", "/[masked 23]/x"),
        ("/__openclaw__/worker", "/__openclaw__/worker"),
        ("/page;jsessionid=s3cret/x", "/page;jsessionid=[masked 6]/x"),
        (
            "http://ana:s3cret@gw:80/x?y=z",
            "http://[masked 10]@gw:80/x?y=[masked 1]",
        ),
        ("//ana:s3cret@gw/x", "//[masked 10]@gw/x"),
        ("gw.example:443", "gw.example:443"),
        ("/a\u{1b}[2J\r\n", "/a\\u{1b}[2J\\u{d}\\u{a}"),
    ];
    for (target, shown) in table {
        assert_eq!(mask_target(target), shown, "{target}");
    }
    assert_eq!(
        mask_target(&format!("/s/{HEX}/history?{HEX}=1")),
        "/s/[masked 32]/history?[masked 32]=[masked 1]"
    );
    assert_eq!(
        mask_target(&format!("/s/x.{JWT}")),
        format!("/s/[masked {}]", JWT.len() + 2)
    );
    assert!(mask_target(&"/a".repeat(5000)).ends_with("…(+7952)"));
}

#[test]
fn plain_headers_are_shown() {
    for (name, value) in [
        ("Host", "gw.example:8443"),
        ("connection", "keep-alive, Upgrade"),
        ("Origin", "https://claw.example.com"),
        ("user-agent", "Mozilla/5.0 (X11; Linux x86_64)"),
        (
            "sec-websocket-extensions",
            "permessage-deflate; client_max_window_bits",
        ),
        ("sec-websocket-accept", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="),
        ("x-forwarded-for", "203.0.113.7, 10.0.0.1"),
        ("forwarded", "for=\"[2001:db8::1]\";proto=https"),
        ("x-request-id", "0190163d-8694-739b-aea5-966c26f8ad91"),
        ("sec-fetch-mode", "websocket"),
        ("via", "1.1 varnish"),
        ("www-authenticate", "Basic realm=\"gw, inner\""),
    ] {
        assert_eq!(header(name, value), value, "{name}");
    }
}

#[test]
fn other_headers_are_not() {
    for name in [
        "authorization",
        "proxy-authorization",
        "x-api-key",
        "sec-websocket-key",
        "x-custom",
        "x-forwarded-access-token",
        "",
    ] {
        assert_eq!(mask_header(name.as_bytes(), b"value"), None, "{name}");
    }
    assert_eq!(mask_header(b"\xff", b"value"), None);
}

#[test]
fn masked_inside() {
    let table = [
        (
            "referer",
            "https://ana:pw@ui/x?token=s3cret#t=1",
            "https://[masked 6]@ui/x?token=[masked 6]#[masked 3]",
        ),
        (
            "location",
            "/login?next=%2Fa&ticket=s3cret",
            "/login?next=[masked 2]&ticket=[masked 6]",
        ),
        (
            "location",
            "http:\\\\ana:pw@ui\\x",
            "http:\\\\[masked 6]@ui\\x",
        ),
        (
            "location",
            "https:////ana:pw@ui/x",
            "https:////[masked 6]@ui/x",
        ),
        ("origin", "https://ana:pw@ui", "https://[masked 6]@ui"),
        (
            "origin",
            "https://ui?token=abc",
            "https://ui?token=[masked 3]",
        ),
        ("host", "ana:pw@gw", "[masked 6]@gw"),
        (
            "cookie",
            "a=1; sid=s3cret;b=",
            "a=[masked 1]; sid=[masked 6]; b=",
        ),
        ("cookie", "s3cret", "[masked 6]"),
        (
            "set-cookie",
            "sid=s3cret; Path=/__openclaw__/cap/s3cret; HttpOnly; Max-Age=3; SameSite=Lax; rest",
            "sid=[masked 6]; Path=/__openclaw__/cap/[masked 6]; HttpOnly; Max-Age=3; SameSite=Lax; [masked 4]",
        ),
        (
            "sec-websocket-protocol",
            "v1, bearer, s3cret",
            "v1, bearer, [masked 6]",
        ),
        (
            "sec-websocket-protocol",
            "bearer.s3cret",
            "bearer.[masked 6]",
        ),
        (
            "www-authenticate",
            "Bearer realm=\"gw\", error=\"invalid_token\", error_description=\"s3cret, x\", Negotiate s3cret==",
            "Bearer realm=\"gw\", Negotiate",
        ),
        (
            "x-forwarded-uri",
            "/ws?token=s3cret",
            "/ws?token=[masked 6]",
        ),
        (
            "user-agent",
            "curl Bearer s3cret, more",
            "curl Bearer [masked 6], more",
        ),
        (
            "user-agent",
            "Bearer=[maskedbearer=s3cret",
            "Bearer=[masked 20]",
        ),
        ("user-agent", "x bearer%20s3cret", "x bearer%20[masked 6]"),
        (
            "user-agent",
            "bot (https://a:b@x.y)",
            "bot (https://[masked 3]@x.y)",
        ),
        ("via", "a\x1b[0m\u{202e}", "a\\u{1b}[0m\\u{202e}"),
    ];
    for (name, value, shown) in table {
        assert_eq!(header(name, value), shown, "{name}: {value}");
    }
    let jwt = JWT.len();
    assert_eq!(
        header("user-agent", &format!("x {JWT} y {JWT}")),
        format!("x [masked {jwt}] y [masked {jwt}]")
    );
    assert_eq!(
        header("accept", &format!("bearer {JWT}")),
        format!("bearer [masked {jwt}]")
    );
    assert_eq!(mask_header(b"via", b"a\xff").unwrap(), "a\\xff");
}

#[test]
fn the_canary_never_comes_out() {
    const CANARY: &str = "CANARYq7Zk20v5Xw81Lm4Np93Rt6Yb2Hd";
    let targets = [
        format!("/{CANARY}"),
        format!("/__openclaw__/cap/{CANARY}/x"),
        format!("/x?token={CANARY}"),
        format!("/x?{CANARY}"),
        format!("/x?{CANARY}=1"),
        format!("/x#{CANARY}"),
        format!("/x;s={CANARY}"),
        format!("http://{CANARY}@x/"),
        format!("http://u:{CANARY}@x/?a=b&c={CANARY};d={CANARY}"),
    ];
    for target in &targets {
        let shown = format!(
            "{} {} {}",
            mask_target(target),
            header("referer", target),
            header("location", target)
        );
        assert!(!shown.contains("CANARY"), "{target} -> {shown}");
    }
    for (name, value) in [
        ("cookie", format!("x={CANARY}; {CANARY}; {CANARY}=y")),
        (
            "set-cookie",
            format!("x={CANARY}; {CANARY}; x={CANARY}; Path=/{CANARY}"),
        ),
        ("set-cookie", CANARY.to_owned()),
        (
            "sec-websocket-protocol",
            format!("bearer, {CANARY}, {CANARY}, token.{CANARY}"),
        ),
        (
            "www-authenticate",
            format!("Negotiate {CANARY}, Bearer {CANARY}, x=\"{CANARY}\", {CANARY}"),
        ),
        (
            "user-agent",
            format!("Bearer {CANARY} https://x:{CANARY}@y/"),
        ),
        ("x-forwarded-prefix", format!("/__openclaw__/cap/{CANARY}")),
        ("origin", format!("https://u:{CANARY}@x")),
        ("origin", format!("https://x?token={CANARY}")),
        ("origin", format!("https://x/{CANARY}#{CANARY}")),
    ] {
        let shown = header(name, &value);
        assert!(!shown.contains("CANARY"), "{name}: {shown}");
    }
    for name in ["authorization", "x-api-key", "x-openclaw-token"] {
        assert_eq!(mask_header(name.as_bytes(), CANARY.as_bytes()), None);
    }
}

#[test]
fn a_head_full_of_one_thing_stays_cheap() {
    // Such a repetition once took ten seconds: a search to the end of the value at each hit.
    let begun = std::time::Instant::now();
    for unit in [
        "eyJ",
        "eyJa.aaaaaaaaaaaaaa ",
        "bearer",
        "bearer.",
        "bearer=[masked",
        "://a@b ",
        "/cap/",
        "a;",
    ] {
        let value = unit.repeat(64 * 1024 / unit.len());
        for name in [
            "user-agent",
            "location",
            "sec-websocket-protocol",
            "cookie",
            "www-authenticate",
        ] {
            assert!(
                header(name, &value).chars().count() <= VALUE_CAP + 10,
                "{name}"
            );
        }
    }
    assert!(
        begun.elapsed() < std::time::Duration::from_secs(8),
        "{:?}",
        begun.elapsed()
    );
}

proptest! {
    #[test]
    fn arbitrary_input_is_inert_and_bounded(
        index in 0usize..12,
        value in proptest::collection::vec(any::<u8>(), 0..200),
        text in any::<String>(),
    ) {
        let names = ["referer", "location", "origin", "host", "cookie", "set-cookie", "sec-websocket-protocol",
            "www-authenticate", "user-agent", "x-forwarded-uri", "via", "authorization"];
        let shown = mask_header(names[index].as_bytes(), &value).unwrap_or_default();
        let target = mask_target(&text);
        let bare = mask_header(text.as_bytes(), text.as_bytes()).unwrap_or_default();
        for out in [&shown, &target, &bare] {
            prop_assert!(!out.chars().any(crate::session::text::must_escape));
            prop_assert!(out.chars().count() <= TARGET_CAP + 16);
        }
    }

    #[test]
    fn query_values_never_pass(value in "[A-Za-z0-9%+;=]{8,40}") {
        let shown = mask_target(&format!("/x?a={value}&b={value}"));
        prop_assert!(!shown.contains(&value), "{}", shown);
    }

    #[test]
    fn urls_with_secrets_everywhere(user in "[a-z@:]{9,20}", scheme in "(https?:|wss?:|)[/\\\\]{2,4}") {
        let shown = header("location", &format!("{scheme}{user}@h/"));
        prop_assert!(!shown.contains(&user), "{}", shown);
    }
}
