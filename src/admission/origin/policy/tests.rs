//! The table of origins: each row in every mode.

use proptest::prelude::*;

use super::*;
use crate::admission::origin::normalise;
use crate::session::record::Miss;

/// The result of a row in `mode: enforce`; those of the other modes follow from it.
#[derive(Clone, Copy, Debug)]
enum Expect {
    Allowed(&'static str),
    Denied(Option<Miss>),
    Absent,
}

use Expect::{Absent, Allowed, Denied};

const CLAW: Expect = Allowed("https://claw.example.com");

fn ours(entries: &[&str]) -> OriginList {
    let mut list = OriginList::default();
    for entry in entries {
        if *entry == "*" {
            list.add_any();
        } else {
            list.add(normalise(entry.as_bytes()).unwrap());
        }
    }
    list
}

fn list() -> OriginList {
    ours(&[
        "https://claw.example.com",
        "https://port.example:8443",
        "http://localhost:5173",
        "https://[fd12::7]:8443",
        "https://xn--bcher-kva.example",
        "tauri://localhost",
        "chrome-extension://abcdefghijklmnopabcdefghijklmnop",
    ])
}

fn policy(ours: &OriginList, mode: Mode) -> Policy<'_> {
    Policy {
        ours,
        gateway: None,
        mode: Some(mode),
        deny_missing: false,
    }
}

fn upgrade<'a>(origins: &'a [&'a [u8]]) -> Asked<'a> {
    Asked {
        origins,
        around: Around::default(),
        upgrade: true,
    }
}

/// The header's value, and its result in `mode: enforce`.
const SINGLE: &[(&str, Expect)] = &[
    // The entry itself, in every spelling that means the same.
    ("https://claw.example.com", CLAW),
    ("https://claw.example.com/", CLAW),
    ("HTTPS://claw.example.com", CLAW),
    ("https://CLAW.Example.COM", CLAW),
    ("  https://claw.example.com \t", CLAW),
    ("https://claw.example.com:443", CLAW),
    ("https://claw.example.com:0443", CLAW),
    ("https://claw.example.com:", CLAW),
    (
        "https://port.example:8443",
        Allowed("https://port.example:8443"),
    ),
    ("http://localhost:5173", Allowed("http://localhost:5173")),
    ("http://LOCALHOST:5173", Allowed("http://localhost:5173")),
    // Scheme and port.
    ("http://claw.example.com", Denied(Some(Miss::Scheme))),
    ("http://claw.example.com:443", Denied(Some(Miss::Scheme))),
    ("wss://claw.example.com", Denied(Some(Miss::Scheme))),
    ("https://claw.example.com:8443", Denied(Some(Miss::Port))),
    ("https://claw.example.com:80", Denied(Some(Miss::Port))),
    ("https://port.example", Denied(Some(Miss::Port))),
    ("https://port.example:84430", Denied(None)),
    ("http://localhost", Denied(Some(Miss::Port))),
    ("http://localhost:5174", Denied(Some(Miss::Port))),
    ("https://localhost:5173", Denied(Some(Miss::Scheme))),
    // The same machine by another name.
    ("http://127.0.0.1:5173", Denied(Some(Miss::HostAlias))),
    ("http://127.1:5173", Denied(Some(Miss::HostAlias))),
    ("http://[::1]:5173", Denied(Some(Miss::HostAlias))),
    (
        "http://[::ffff:127.0.0.1]:5173",
        Denied(Some(Miss::HostAlias)),
    ),
    ("http://localhost.:5173", Denied(Some(Miss::TrailingDot))),
    // IPv6.
    ("https://[fd12::7]:8443", Allowed("https://[fd12::7]:8443")),
    (
        "https://[FD12:0:0:0:0:0:0:7]:8443",
        Allowed("https://[fd12::7]:8443"),
    ),
    ("https://[fd12::7]", Denied(Some(Miss::Port))),
    ("https://[fd12::8]:8443", Denied(Some(Miss::Similar))),
    ("https://fd12::7:8443", Denied(None)),
    ("https://[fd12::7", Denied(None)),
    // International names.
    (
        "https://xn--bcher-kva.example",
        Allowed("https://xn--bcher-kva.example"),
    ),
    (
        "https://XN--BCHER-KVA.example",
        Allowed("https://xn--bcher-kva.example"),
    ),
    ("https://bcher.example", Denied(None)),
    // A trailing dot is another host.
    ("https://claw.example.com.", Denied(Some(Miss::TrailingDot))),
    (
        "https://claw.example.com./",
        Denied(Some(Miss::TrailingDot)),
    ),
    (
        "https://claw.example.com.:443",
        Denied(Some(Miss::TrailingDot)),
    ),
    // User information, paths, and values that are no origin.
    ("https://ana@claw.example.com", Denied(None)),
    ("https://ana:pw@claw.example.com", Denied(None)),
    ("https://claw.example.com/chat", Denied(Some(Miss::Path))),
    ("https://claw.example.com//", Denied(Some(Miss::Path))),
    ("https://claw.example.com?a=b", Denied(Some(Miss::Path))),
    ("https://claw.example.com#a", Denied(Some(Miss::Path))),
    ("https://claw.example.com\\@evil.example", Denied(None)),
    ("claw.example.com", Denied(Some(Miss::Scheme))),
    ("//claw.example.com", Denied(None)),
    ("https:claw.example.com", Denied(None)),
    ("https://claw.example.com:x", Denied(None)),
    ("https://claw.example.com:65536", Denied(None)),
    ("https://", Denied(None)),
    ("*", Denied(None)),
    ("https://*", Denied(None)),
    ("https://*.example.com", Denied(None)),
    ("garbage", Denied(None)),
    // Opaque origins.
    ("null", Denied(None)),
    ("NULL", Denied(None)),
    ("file://", Denied(None)),
    ("file:///tmp/page.html", Denied(None)),
    ("data:text/html,x", Denied(None)),
    ("about:blank", Denied(None)),
    // Apps.
    ("tauri://localhost", Allowed("tauri://localhost")),
    ("TAURI://localhost/", Allowed("tauri://localhost")),
    ("https://tauri.localhost", Denied(None)),
    ("http://tauri.localhost", Denied(None)),
    ("capacitor://localhost", Denied(Some(Miss::Scheme))),
    (
        "chrome-extension://abcdefghijklmnopabcdefghijklmnop",
        Allowed("chrome-extension://abcdefghijklmnopabcdefghijklmnop"),
    ),
    ("moz-extension://0b5d6f1c-1111", Denied(None)),
    // Hosts that only look like the entry.
    (
        "https://claw.example.com.evil.example",
        Denied(Some(Miss::Prefix)),
    ),
    (
        "https://claw.example.comevil.example",
        Denied(Some(Miss::Prefix)),
    ),
    ("https://claw.example.community", Denied(Some(Miss::Prefix))),
    ("https://evilclaw.example.com", Denied(Some(Miss::Suffix))),
    ("https://a.claw.example.com", Denied(Some(Miss::Subdomain))),
    ("https://example.com", Denied(Some(Miss::Subdomain))),
    (
        "https://www.claw.example.com",
        Denied(Some(Miss::Subdomain)),
    ),
    ("https://claw.exarnple.com", Denied(Some(Miss::Similar))),
    ("https://claww.example.com", Denied(Some(Miss::Similar))),
    (
        "https://xn--clw-8cd.example.com",
        Denied(Some(Miss::LookAlike)),
    ),
    ("https://xn--80ak6aa92e.com", Denied(None)),
    ("https://evil.example", Denied(None)),
    ("https://127.0.0.1", Denied(Some(Miss::HostAlias))),
    // Lists in one header.
    (
        "https://claw.example.com https://evil.example",
        Denied(Some(Miss::List)),
    ),
    (
        "https://evil.example, https://claw.example.com",
        Denied(Some(Miss::List)),
    ),
    (
        "https://claw.example.com,https://claw.example.com",
        Denied(Some(Miss::List)),
    ),
    ("https://a.b, https://c.d", Denied(None)),
    // None.
    ("", Absent),
    ("  ", Absent),
];

fn check(policy: Policy<'_>, lines: &[&[u8]], expect: Expect) {
    let shown: Vec<_> = lines
        .iter()
        .map(|line| String::from_utf8_lossy(line))
        .collect();
    for mode in [Mode::Enforce, Mode::Report, Mode::Off] {
        let policy = Policy {
            mode: Some(mode),
            ..policy
        };
        let found = policy.decide(upgrade(lines));
        let at = format!("{shown:?} under {mode:?}: {found:?}");
        let decision = match (expect, mode) {
            (Absent, _) => Decision::Absent,
            (_, Mode::Off) => Decision::Off,
            (Allowed(_), _) => Decision::Allowed,
            (Denied(_), Mode::Enforce) => Decision::Denied,
            (Denied(_), Mode::Report) => Decision::WouldDeny,
        };
        assert_eq!(found.decision, decision, "{at}");
        let (rule, why, key) = match (expect, mode) {
            (_, Mode::Off) | (Absent, _) => (None, None, None),
            (Allowed(rule), _) => (Some(rule), None, None),
            (Denied(why), _) => (None, why, Some(Key::Allowed)),
        };
        assert_eq!(found.rule.as_deref(), rule, "{at}");
        assert_eq!(
            found.nearest.as_ref().map(|nearest| nearest.why),
            why,
            "{at}"
        );
        assert_eq!(found.key, key, "{at}");
        // A plain request is never refused, whatever the mode.
        let plain = policy.decide(Asked {
            upgrade: false,
            ..upgrade(lines)
        });
        assert!(
            matches!(plain.decision, Decision::Off | Decision::Absent) && plain.key.is_none(),
            "{at}"
        );
        assert_eq!(plain.origin, found.origin, "{at}");
    }
}

#[test]
fn the_table_of_origins_in_every_mode() {
    let list = list();
    assert!(SINGLE.len() > 60, "{} rows", SINGLE.len());
    for (value, expect) in SINGLE {
        check(policy(&list, Mode::Enforce), &[value.as_bytes()], *expect);
    }
}

#[test]
fn several_headers_no_header_and_raw_bytes() {
    let list = list();
    let policy = policy(&list, Mode::Enforce);
    let claw = b"https://claw.example.com".as_slice();
    let rows: &[(&[&[u8]], Expect)] = &[
        (&[], Absent),
        (&[claw, claw], Denied(None)),
        (&[claw, b"https://evil.example"], Denied(None)),
        (&[b"", claw], Denied(None)),
        (&[claw, b""], Denied(None)),
        (&[b"https://claw.example.com\xff"], Denied(None)),
        (&[b"https://claw\0.example.com"], Denied(None)),
        (&[b"https://claw.example.com\r\nX: y"], Denied(None)),
        // Raw UTF-8 is refused even where its punycode is on the list.
        (
            &["https://bücher.example".as_bytes()],
            Denied(Some(Miss::Spelling)),
        ),
        (&[&[b'a'; 600]], Denied(None)),
    ];
    for (lines, expect) in rows {
        check(policy, lines, *expect);
    }
}

#[test]
fn any_allows_every_origin_that_is_one_and_nothing_else() {
    let list = ours(&["*"]);
    for (value, expect) in SINGLE.iter().copied() {
        let is_origin = normalise(value.as_bytes()).is_ok() && value.is_ascii();
        let expect = match expect {
            Absent => Absent,
            _ if is_origin => Allowed("*"),
            _ if value.eq_ignore_ascii_case("null") => Denied(Some(Miss::Null)),
            _ => Denied(None),
        };
        check(policy(&list, Mode::Enforce), &[value.as_bytes()], expect);
    }
}

#[test]
fn a_missing_origin_is_refused_only_where_that_is_asked_for() {
    let list = list();
    for (mode, decision, key) in [
        (Mode::Enforce, Decision::Denied, Some(Key::Missing)),
        (Mode::Report, Decision::WouldDeny, Some(Key::Missing)),
        (Mode::Off, Decision::Absent, None),
    ] {
        for lines in [&[][..], &[b"".as_slice()], &[b" \t".as_slice()]] {
            let policy = Policy {
                deny_missing: true,
                ..policy(&list, mode)
            };
            let found = policy.decide(upgrade(lines));
            assert_eq!((found.decision, found.key), (decision, key), "{mode:?}");
            let plain = policy.decide(Asked {
                upgrade: false,
                ..upgrade(lines)
            });
            assert_eq!(plain.decision, Decision::Absent);
        }
    }
}

#[test]
fn the_default_mode_follows_both_lists() {
    let (empty, full) = (OriginList::default(), list());
    let none = GatewayList::default();
    let some = GatewayList::new(["https://a.b"], false);
    let dead = GatewayList::new(["https://a.b/"], false);
    let rows = [
        (&empty, None, Mode::Report),
        (&empty, Some(&none), Mode::Report),
        (&empty, Some(&some), Mode::Enforce),
        (&empty, Some(&dead), Mode::Enforce),
        (&full, None, Mode::Enforce),
        (&full, Some(&none), Mode::Enforce),
    ];
    for (ours, gateway, mode) in rows {
        let default = Policy {
            ours,
            gateway,
            mode: None,
            deny_missing: false,
        };
        assert_eq!(default.mode(), mode);
        for set in [Mode::Enforce, Mode::Report, Mode::Off] {
            let policy = Policy {
                mode: Some(set),
                ..default
            };
            assert_eq!(policy.mode(), set);
        }
    }
}

/// With both lists: decision, rule, the nearest entry and whether the gateway would refuse.
#[test]
fn the_gateways_list_and_rules_count_too() {
    let ours = ours(&["https://ours.example"]);
    let gateway = GatewayList::new(
        [
            "https://theirs.example",
            "https://slash.example/",
            "https://port.example:443",
            "https://*.wild.example",
            "null",
            "${CLAW_ORIGIN}",
        ],
        false,
    );
    let policy = Policy {
        gateway: Some(&gateway),
        ..policy(&ours, Mode::Enforce)
    };
    let decide = |origin: &str, host: &str, local_client: bool| {
        let around = Around {
            host: Some(host.as_bytes()),
            local_client,
        };
        policy.decide(Asked {
            around,
            ..upgrade(&[origin.as_bytes()])
        })
    };
    let found = decide("https://ours.example", "gw", false);
    assert_eq!(found.rule.as_deref(), Some("https://ours.example"));
    assert!(found.gateway_refuses, "the gateway's list lacks it");
    for (origin, host, local, rule) in [
        (
            "https://theirs.example",
            "gw",
            false,
            "gateway: https://theirs.example",
        ),
        (
            "http://192.168.1.5:8443",
            "192.168.1.5:8443",
            false,
            "gateway: same origin",
        ),
        (
            "http://localhost:5173",
            "127.0.0.1:8443",
            true,
            "gateway: local loopback",
        ),
    ] {
        let found = decide(origin, host, local);
        assert_eq!(found.decision, Decision::Allowed, "{origin}");
        assert_eq!(found.rule.as_deref(), Some(rule));
        assert!(!found.gateway_refuses);
    }
    for (origin, entry, why) in [
        (
            "https://slash.example",
            "https://slash.example/",
            Miss::TrailingSlash,
        ),
        (
            "https://port.example",
            "https://port.example:443",
            Miss::DefaultPort,
        ),
        (
            "https://a.wild.example",
            "https://*.wild.example",
            Miss::Wildcard,
        ),
        (
            "http://theirs.example",
            "https://theirs.example",
            Miss::Scheme,
        ),
        ("null", "null", Miss::Null),
    ] {
        let found = decide(origin, "gw", false);
        assert_eq!(found.decision, Decision::Denied, "{origin}");
        let nearest = found.nearest.unwrap();
        assert_eq!((nearest.entry.as_str(), nearest.why), (entry, why));
    }
    assert_eq!(
        decide("http://localhost:1", "x", false).decision,
        Decision::Denied
    );
}

fn denied(list: &[&str], value: &str) -> NearestEntry {
    let list = ours(list);
    let found = policy(&list, Mode::Enforce).decide(upgrade(&[value.as_bytes()]));
    assert_eq!(found.decision, Decision::Denied, "{value}");
    found.nearest.expect("a nearest entry")
}

#[test]
fn a_suffix_attack_is_refused_and_named() {
    let nearest = denied(
        &["https://claw.example.com"],
        "https://evilclaw.example.com",
    );
    assert_eq!(nearest.why, Miss::Suffix);
    assert!(nearest.text.as_str().contains("no dot"), "{nearest:?}");
}

#[test]
fn a_prefix_attack_is_refused_and_named() {
    let nearest = denied(
        &["https://claw.example.com"],
        "https://claw.example.com.evil.example",
    );
    assert_eq!(nearest.why, Miss::Prefix);
    assert!(
        nearest.text.as_str().contains("another domain"),
        "{nearest:?}"
    );
}

#[test]
fn null_is_refused_even_under_any() {
    let nearest = denied(&["*"], "null");
    assert_eq!((nearest.entry.as_str(), nearest.why), ("*", Miss::Null));
}

#[test]
fn the_userinfo_trick_is_refused_and_named() {
    let value = "https://claw.example.com@evil.example";
    let nearest = denied(&["https://claw.example.com"], value);
    assert_eq!(nearest.why, Miss::Userinfo);
    let list = ours(&["*"]);
    let any = policy(&list, Mode::Enforce).decide(upgrade(&[value.as_bytes()]));
    assert_eq!(any.decision, Decision::Denied, "not under any, either");
}

#[test]
fn a_unicode_look_alike_is_refused_and_named() {
    // A Cyrillic а, as a browser sends it and as raw UTF-8.
    for value in [
        "https://xn--clw-8cd.example.com",
        "https://clаw.example.com",
    ] {
        let nearest = denied(&["https://claw.example.com"], value);
        assert_eq!(nearest.why, Miss::LookAlike, "{value}");
    }
}

#[test]
fn nothing_of_what_a_client_sent_beside_an_origin_is_echoed() {
    let list = list();
    for value in [
        "https://claw.example.com@s3cret.example",
        "https://s3cret:s3cret@claw.example.com",
        "https://claw.example.com/s3cret",
        "https://claw.example.com s3cret",
    ] {
        let found = policy(&list, Mode::Enforce).decide(upgrade(&[value.as_bytes()]));
        let nearest = found.nearest.map(|nearest| format!("{nearest:?}"));
        assert!(!nearest.unwrap_or_default().contains("s3cret"), "{value}");
    }
}

proptest! {
    /// Bytes like an origin, and any others: what passes is equal to an entry, and nothing panics.
    #[test]
    fn only_what_equals_an_entry_passes(
        lines in proptest::collection::vec(
            prop_oneof![
                "(https?|wss|null)?(://)?(claw\\.example\\.com|evil|\\[::1\\]|@|\\.|/|:443|:8443|,| ){0,6}/?"
                    .prop_map(String::into_bytes),
                proptest::collection::vec(any::<u8>(), 0..40),
            ],
            0..3,
        ),
        any in any::<bool>(),
    ) {
        let list = if any { ours(&["*"]) } else { list() };
        let gateway = GatewayList::new(["https://theirs.example", "https://*.x/", "null"], true);
        let lines: Vec<&[u8]> = lines.iter().map(Vec::as_slice).collect();
        let policy = Policy { gateway: Some(&gateway), ..policy(&list, Mode::Enforce) };
        let found = policy.decide(upgrade(&lines));
        match (&found.origin, found.decision) {
            (Ok(None), decision) => prop_assert_eq!(decision, Decision::Absent),
            (Err(_), decision) => prop_assert_eq!(decision, Decision::Denied),
            (Ok(Some(origin)), Decision::Allowed) => prop_assert!(
                any || list.origins().contains(origin) || gateway.live().contains(origin)
            ),
            (Ok(Some(origin)), decision) => {
                prop_assert_eq!(decision, Decision::Denied);
                prop_assert!(!any && !list.origins().contains(origin));
            }
        }
        prop_assert!(super::super::refusal::reason(&found).len() <= 123);
    }
}
