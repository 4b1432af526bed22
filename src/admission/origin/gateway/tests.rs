//! The gateway's rules, one row for each input that decides.

use super::*;

fn origin(text: &str) -> Origin {
    normalise(text.as_bytes()).unwrap()
}

fn rule(list: &GatewayList, text: &str, host: &str, local_client: bool) -> Option<String> {
    let around = Around {
        host: Some(host.as_bytes()),
        local_client,
    };
    list.rule(&origin(text), around)
        .map(|rule| rule.to_string())
}

/// Origin, Host, client is local, the rule.
type Row = (&'static str, &'static str, bool, Option<&'static str>);

#[test]
fn what_the_gateway_lets_in_beside_its_list() {
    const SAME: Option<&str> = Some("gateway: same origin");
    const LOCAL: Option<&str> = Some("gateway: local loopback");
    let rows: &[Row] = &[
        // A private address, for any client, if the page comes from there.
        ("http://192.168.1.5:8443", "192.168.1.5:8443", false, SAME),
        ("https://192.168.1.5:8443", "192.168.1.5:8443", false, SAME),
        ("http://10.0.0.9", "10.0.0.9", false, SAME),
        ("http://172.16.0.1", "172.16.0.1", false, SAME),
        ("http://172.32.0.1", "172.32.0.1", false, None),
        ("http://169.254.1.1", "169.254.1.1", false, SAME),
        ("http://100.64.0.7", "100.64.0.7", false, SAME),
        ("http://100.128.0.7", "100.128.0.7", false, None),
        ("http://[fd12::1]:8443", "[fd12::1]:8443", false, SAME),
        ("http://[fe80::1]", "[fe80::1]", false, SAME),
        (
            "http://[::ffff:192.168.1.5]",
            "[::ffff:c0a8:105]",
            false,
            SAME,
        ),
        ("http://192.168.1.5:8443", "192.168.1.5:8444", false, None),
        ("http://192.168.1.5", "192.168.1.5:80", false, None),
        ("http://192.168.1.6", "192.168.1.5", false, None),
        // A public one never.
        ("http://203.0.113.9", "203.0.113.9", false, None),
        ("http://203.0.113.9", "203.0.113.9", true, None),
        ("http://[2001:db8::1]", "[2001:db8::1]", false, None),
        ("http://0.0.0.0", "0.0.0.0", true, None),
        // Names that only the local network or the tailnet can answer.
        ("http://claw.local:8443", "claw.local:8443", false, SAME),
        ("http://CLAW.local", "Claw.Local", false, SAME),
        ("https://box.tail1.ts.net", "box.tail1.ts.net", false, SAME),
        (
            "https://box.ts.net.evil.example",
            "box.ts.net.evil.example",
            false,
            None,
        ),
        ("https://evil-ts.net", "evil-ts.net", false, None),
        ("https://notlocal", "notlocal", false, None),
        ("https://claw.local.", "claw.local.", false, None),
        // Not a public name, even if it is the same.
        ("https://claw.example.com", "claw.example.com", false, None),
        ("https://claw.example.com", "claw.example.com", true, None),
        // Loopback names, for local clients alone: the first rule that fits is named.
        ("http://localhost:18789", "localhost:18789", true, SAME),
        ("http://localhost:18789", "localhost:18789", false, None),
        ("http://127.0.0.1:18789", "127.0.0.1:18789", true, SAME),
        ("http://127.0.0.1:18789", "127.0.0.1:18789", false, None),
        ("http://[::1]:18789", "[::1]:18789", false, None),
        ("http://localhost:5173", "localhost:18789", true, LOCAL),
        ("http://127.0.0.1:5173", "claw.example.com", true, LOCAL),
        ("http://[::1]:5173", "localhost:18789", true, LOCAL),
        ("http://localhost:5173", "localhost:18789", false, None),
        ("tauri://localhost", "127.0.0.1:18789", true, LOCAL),
        ("tauri://localhost", "127.0.0.1:18789", false, None),
        ("http://localhost.evil.example", "a", true, None),
        ("http://127.0.0.1.evil.example", "a", true, None),
        ("http://10.0.0.9", "localhost:18789", true, None),
    ];
    let list = GatewayList::default();
    for (text, host, local, expected) in rows {
        let found = rule(&list, text, host, *local);
        assert_eq!(
            found.as_deref(),
            *expected,
            "{text} at {host}, local {local}"
        );
    }
    let without_host = list.rule(&origin("http://10.0.0.9"), Around::default());
    assert_eq!(without_host, None);
}

#[test]
fn the_dangerous_fallback_lets_in_any_page_of_the_same_host() {
    const FALLBACK: Option<&str> = Some("gateway: host header fallback");
    let list = GatewayList::new([], true);
    for (text, host, expected) in [
        ("https://claw.example.com", "claw.example.com", FALLBACK),
        ("http://claw.example.com", "claw.example.com", FALLBACK),
        ("https://evil.example", "evil.example", FALLBACK),
        ("https://evil.example", "claw.example.com", None),
        ("https://claw.example.com:8443", "claw.example.com", None),
    ] {
        assert_eq!(
            rule(&list, text, host, false).as_deref(),
            expected,
            "{text}"
        );
    }
}

#[test]
fn entries_are_compared_as_text() {
    let list = GatewayList::new(
        [
            " https://Claw.example.com ",
            "https://slash.example/",
            "https://port.example:443",
            "http://port.example:80",
            "https://*.wild.example",
            "",
        ],
        false,
    );
    for (text, expected) in [
        (
            "https://claw.example.com",
            Some("gateway: https://claw.example.com"),
        ),
        ("https://slash.example", None),
        ("https://port.example", None),
        ("https://a.wild.example", None),
        ("https://*.wild.example", None),
    ] {
        assert_eq!(rule(&list, text, "h", false).as_deref(), expected, "{text}");
    }
    assert_eq!((list.live().len(), list.dead().len()), (1, 4));
    let any = GatewayList::new(["*", "https://a.b"], false);
    assert_eq!(
        rule(&any, "https://a.b", "h", false).as_deref(),
        Some("gateway: https://a.b")
    );
    assert_eq!(
        rule(&any, "https://c.d", "h", false).as_deref(),
        Some("gateway: *")
    );
}

#[test]
fn dead_entries_say_why_and_what_was_meant() {
    for (entry, why, meant) in [
        ("https://a.b/", Miss::TrailingSlash, Some("https://a.b")),
        ("https://a.b:443/", Miss::TrailingSlash, Some("https://a.b")),
        ("https://a.b:443", Miss::DefaultPort, Some("https://a.b")),
        ("http://a.b:80", Miss::DefaultPort, Some("http://a.b")),
        ("http://127.1", Miss::Spelling, Some("http://127.0.0.1")),
        (
            "https://bücher.example",
            Miss::Spelling,
            Some("https://xn--bcher-kva.example"),
        ),
        ("https://a.b/chat", Miss::Path, Some("https://a.b")),
        ("https://a.b?x", Miss::Path, Some("https://a.b")),
        ("https://me:pw@a.b", Miss::Userinfo, Some("https://a.b")),
        ("a.b", Miss::Scheme, Some("https://a.b")),
        ("a.b:8443", Miss::Scheme, Some("https://a.b:8443")),
        ("https://*.a.b", Miss::Wildcard, None),
        ("https://a.b:*", Miss::Wildcard, None),
        ("null", Miss::Null, None),
        ("${CLAW_ORIGIN}", Miss::Placeholder, None),
        ("https://a.b, https://c.d", Miss::List, None),
        ("https://a<b", Miss::Invalid, None),
    ] {
        let list = GatewayList::new([entry], false);
        let [dead] = list.dead() else {
            panic!("{entry} is not dead");
        };
        let found = dead.meant.as_ref().map(Origin::as_str);
        assert_eq!((dead.why, found), (why, meant), "{entry}");
        assert!(!dead.text.as_str().contains("pw"));
        assert!(!list.is_empty());
    }
}
