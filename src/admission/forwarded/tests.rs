//! The rule as a table, its invariants, and every attack by name.

mod attacks;
mod plan;

use std::fmt::Write as _;

use super::write::{Keep, write};
use super::*;

const LOOPBACK: &str = "127.0.0.1";
const REMOTE: &str = "203.0.113.9";
const CHAIN: &str = "198.51.100.7";
const OURS: &str = "192.0.2.4";

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// Every combination of the inputs of a decision.
fn situations() -> Vec<Situation> {
    let mut all = Vec::new();
    let modes = [Mode::Auto, Mode::Pass, Mode::Overwrite, Mode::None];
    let answers = [
        Acceptance::Accepted,
        Acceptance::Refused,
        Acceptance::Unknown,
        Acceptance::NotChecked,
    ];
    for mode in modes {
        for peer in [LOOPBACK, "::1", REMOTE, OURS] {
            for (trusted, brought) in [(false, false), (false, true), (true, false), (true, true)] {
                let named = [peer, CHAIN, LOOPBACK];
                let clients = if trusted && brought {
                    &named[..]
                } else {
                    &named[..1]
                };
                for client in clients {
                    for gateway_local in [true, false] {
                        for acceptance in answers {
                            for our_ip in [None, Some(ip(OURS))] {
                                for allow_remote_as_local in [false, true] {
                                    for local_page in [false, true] {
                                        let direct = Situation {
                                            mode,
                                            allow_remote_as_local,
                                            peer: ip(peer),
                                            relayed: false,
                                            trusted,
                                            brought,
                                            client: ip(client),
                                            gateway_local,
                                            acceptance,
                                            our_ip,
                                            local_page,
                                        };
                                        all.push(direct);
                                        all.push(Situation {
                                            relayed: true,
                                            ..direct
                                        });
                                    }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
    all
}

/// Without the tap, the request would be local to this gateway.
fn local_without_us(situation: &Situation) -> bool {
    situation.peer.is_loopback() && !situation.relayed && !situation.brought
}

/// No attribution header goes out.
fn bare(situation: &Situation, action: Action) -> bool {
    match action {
        Action::Pass => !situation.brought,
        Action::Strip => true,
        Action::Overwrite(_) | Action::Refuse => false,
    }
}

#[test]
fn nobody_who_is_remote_without_the_tap_looks_local_with_it() {
    for situation in situations() {
        let decision = decide(&situation);
        let told_to =
            situation.allow_remote_as_local && matches!(situation.mode, Mode::Pass | Mode::None);
        if !bare(&situation, decision.action) || local_without_us(&situation) || told_to {
            continue;
        }
        assert!(!situation.gateway_local, "{situation:?} {decision:?}");
        // Nor on a connection that turns out to be local.
        assert!(decision.only_remote, "{situation:?} {decision:?}");
        // Nor as a page of localhost from our private address.
        let private = is_private(situation.client);
        assert!(
            !situation.local_page || private,
            "{situation:?} {decision:?}"
        );
    }
}

#[test]
fn a_page_of_localhost_from_elsewhere_goes_out_by_its_address_or_not_at_all() {
    let strip = Situation {
        mode: Mode::Auto,
        allow_remote_as_local: false,
        peer: ip(REMOTE),
        relayed: false,
        trusted: false,
        brought: false,
        client: ip(REMOTE),
        gateway_local: false,
        acceptance: Acceptance::Refused,
        our_ip: Some(ip(OURS)),
        local_page: true,
    };
    let decision = decide(&strip);
    assert_eq!(
        (decision.action, decision.why),
        (Action::Refuse, Why::LocalPage)
    );
    let written = decide(&Situation {
        acceptance: Acceptance::Accepted,
        ..strip
    });
    assert_eq!(written.action, Action::Overwrite(ip(REMOTE)));
    // The gateway would believe a private client on its own.
    let private = ip("10.0.0.9");
    let private = decide(&Situation {
        peer: private,
        client: private,
        ..strip
    });
    assert_eq!(private.action, Action::Strip);
    let told_to = Situation {
        mode: Mode::None,
        allow_remote_as_local: true,
        ..strip
    };
    assert_eq!(decide(&told_to).action, Action::Strip);
}

#[test]
fn who_is_local_without_the_tap_stays_so() {
    for situation in situations() {
        if situation.mode == Mode::Auto && situation.gateway_local && local_without_us(&situation) {
            let decision = decide(&situation);
            assert_eq!(decision.action, Action::Pass, "{situation:?}");
            assert_eq!(decision.why, Why::LocalClient);
        }
    }
}

#[test]
fn a_gateway_elsewhere_is_never_told_our_loopback_address_for_a_client_of_our_host() {
    for situation in situations() {
        let named_by_chain = situation.trusted && situation.brought;
        if situation.gateway_local || named_by_chain || situation.our_ip.is_none() {
            continue;
        }
        if let Action::Overwrite(client) = decide(&situation).action {
            assert!(!client.is_loopback(), "{situation:?}");
        }
    }
}

#[test]
fn a_client_of_our_host_is_one_by_whichever_address_it_comes() {
    for situation in situations() {
        let asked = situation.mode == Mode::Auto
            && !situation.gateway_local
            && !(situation.trusted && situation.brought)
            && situation.acceptance == Acceptance::Accepted
            && situation.our_ip.is_some();
        if asked {
            let decision = decide(&situation);
            let own = situation.peer != ip(REMOTE);
            assert_eq!(decision.why == Why::OwnHost, own, "{situation:?}");
            assert!(!own || decision.action == Action::Overwrite(ip(OURS)));
        }
    }
}

#[test]
fn auto_falls_back_only_before_a_gateway_elsewhere_that_refuses() {
    for situation in situations() {
        let decision = decide(&situation);
        if decision.why == Why::GatewayRefusedOverwrite {
            assert_eq!(situation.mode, Mode::Auto);
            assert_eq!(situation.acceptance, Acceptance::Refused);
            assert!(!situation.gateway_local);
        }
    }
}

#[test]
fn whatever_address_a_proxy_claims_its_client_goes_out_with_headers_or_not_to_this_host() {
    for situation in situations() {
        let decision = decide(&situation);
        let told_to =
            situation.allow_remote_as_local && matches!(situation.mode, Mode::Pass | Mode::None);
        if situation.relayed && situation.gateway_local && !told_to {
            assert!(!bare(&situation, decision.action), "{situation:?}");
        }
    }
}

/// One line per situation, for people: what goes out, and why.
#[test]
fn the_table() {
    let mut table = String::new();
    for situation in situations() {
        let shown = situation.our_ip.is_some()
            && !situation.relayed
            && !situation.allow_remote_as_local
            && [LOOPBACK, REMOTE].map(ip).contains(&situation.peer)
            && matches!(situation.acceptance, Acceptance::Accepted | Acceptance::Refused)
            && (!(situation.trusted && situation.brought) || situation.client == ip(CHAIN))
            && !situation.local_page
            // Only `auto` looks at the answer of the check.
            && (situation.mode == Mode::Auto || situation.acceptance == Acceptance::Accepted);
        if !shown {
            continue;
        }
        let decision = decide(&situation);
        let peer = if situation.peer.is_loopback() {
            "loopback"
        } else {
            "remote"
        };
        let brought = match (situation.brought, situation.trusted) {
            (false, false) => "-",
            (true, false) => "headers",
            (false, true) => "trusted",
            (true, true) => "trusted, headers",
        };
        let gateway = if situation.gateway_local {
            "here"
        } else {
            "elsewhere"
        };
        let refuses = match situation.acceptance {
            Acceptance::Refused => "refuses",
            _ => "",
        };
        let only = if decision.only_remote {
            "only elsewhere"
        } else {
            ""
        };
        let line = format!(
            "{:<9} peer {peer:<8} {brought:<16} gateway {gateway:<9} {refuses:<7} -> {:<25} {:?} {only}",
            situation.mode.as_str(),
            format!("{:?}", decision.action),
            decision.why,
        );
        let _ = writeln!(table, "{}", line.trim_end());
    }
    insta::assert_snapshot!(table);
}

fn head(lines: &[(&'static str, &str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in lines {
        headers.append(*name, value.parse().unwrap());
    }
    headers
}

fn shown(headers: &HeaderMap) -> Vec<String> {
    let mut lines: Vec<String> = headers
        .iter()
        .map(|(name, value)| format!("{name}: {}", value.to_str().unwrap()))
        .collect();
    lines.sort();
    lines
}

const STRANGER: Keep = Keep {
    place: false,
    identity: false,
};
const PROXY: Keep = Keep {
    place: true,
    identity: true,
};

fn brought() -> HeaderMap {
    head(&[
        ("host", "claw.example:8443"),
        ("x-forwarded-for", "127.0.0.1"),
        ("x-forwarded-for", "127.0.0.2"),
        ("x-forwarded-proto", "wss"),
        ("x-forwarded-host", "edge.example"),
        ("x-forwarded-user", "ada"),
        ("x-real-ip", "127.0.0.1"),
        ("forwarded", "for=127.0.0.1"),
        ("tailscale-user-login", "me@example.com"),
        ("via", "1.1 edge"),
    ])
}

#[test]
fn one_set_is_written_and_a_strangers_headers_are_gone() {
    let mut headers = brought();
    let sent = write(&mut headers, Action::Overwrite(ip(REMOTE)), true, STRANGER);
    assert_eq!(
        shown(&headers),
        [
            "forwarded: for=203.0.113.9;proto=https",
            "host: claw.example:8443",
            "via: 1.1 edge",
            "x-forwarded-for: 203.0.113.9",
            "x-forwarded-host: claw.example:8443",
            "x-forwarded-proto: https",
        ]
    );
    assert_eq!(sent.len(), 4);
    assert_eq!(sent[0].value.as_str(), REMOTE);
}

#[test]
fn a_trusted_proxy_names_the_place_and_the_user() {
    let mut headers = brought();
    write(&mut headers, Action::Overwrite(ip(REMOTE)), false, PROXY);
    assert_eq!(
        shown(&headers),
        [
            "forwarded: for=203.0.113.9;proto=https",
            "host: claw.example:8443",
            "tailscale-user-login: me@example.com",
            "via: 1.1 edge",
            "x-forwarded-for: 203.0.113.9",
            "x-forwarded-host: edge.example",
            "x-forwarded-proto: https",
            "x-forwarded-user: ada",
        ]
    );
    // `overwrite` lets nothing through but its own set.
    let keep = Keep {
        identity: false,
        ..PROXY
    };
    let mut headers = brought();
    write(&mut headers, Action::Overwrite(ip(REMOTE)), false, keep);
    assert!(!headers.contains_key("x-forwarded-user"));
    assert!(!headers.contains_key("tailscale-user-login"));
}

#[test]
fn pass_changes_nothing_and_strip_leaves_nothing() {
    let mut headers = brought();
    assert!(write(&mut headers, Action::Pass, true, PROXY).is_empty());
    assert_eq!(headers, brought());
    assert!(write(&mut headers, Action::Strip, true, PROXY).is_empty());
    assert_eq!(
        shown(&headers),
        ["host: claw.example:8443", "via: 1.1 edge"]
    );
}

#[test]
fn a_proto_or_host_that_makes_no_sense_is_replaced_by_our_own() {
    for (name, value, own) in [
        ("x-forwarded-proto", "javascript", "https"),
        ("x-forwarded-proto", "", "https"),
        ("x-forwarded-proto", "https, ftp", "https"),
        ("x-forwarded-host", "a b", "tap:8443"),
        ("x-forwarded-host", "user@host", "tap:8443"),
        ("x-forwarded-host", "host/path", "tap:8443"),
        ("x-forwarded-host", "", "tap:8443"),
    ] {
        let mut headers = head(&[("host", "tap:8443"), (name, value)]);
        write(&mut headers, Action::Overwrite(ip(REMOTE)), true, PROXY);
        assert_eq!(headers.get(name).unwrap(), own, "{value}");
    }
    // Without a Host there is nothing to put in its place.
    let mut headers = head(&[("x-forwarded-host", "user@host")]);
    write(&mut headers, Action::Overwrite(ip(REMOTE)), true, PROXY);
    assert!(!headers.contains_key("x-forwarded-host"));
    for (name, value, kept) in [
        ("x-forwarded-proto", "http", "http"),
        ("x-forwarded-proto", "https, ws", "http"),
        (
            "x-forwarded-host",
            "[2001:db8::1]:8443",
            "[2001:db8::1]:8443",
        ),
        (
            "x-forwarded-host",
            "evil.example, edge.example",
            "edge.example",
        ),
    ] {
        let mut headers = head(&[("host", "tap:8443"), (name, value)]);
        write(&mut headers, Action::Overwrite(ip(REMOTE)), true, PROXY);
        assert_eq!(headers.get(name).unwrap(), kept, "{value}");
    }
}

#[test]
fn rfc_7239_section_6_ipv6_is_quoted() {
    let mut headers = HeaderMap::new();
    write(
        &mut headers,
        Action::Overwrite(ip("2001:db8::1")),
        true,
        STRANGER,
    );
    assert_eq!(
        headers.get("forwarded").unwrap(),
        "for=\"[2001:db8::1]\";proto=https"
    );
    assert_eq!(headers.get("x-forwarded-for").unwrap(), "2001:db8::1");
}
