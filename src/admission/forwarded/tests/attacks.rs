//! Chains as proxies write them, and as clients forge them.

use std::net::SocketAddr;

use proptest::prelude::*;

use super::super::chain::{Client, MAX_HOPS};
use super::*;
use crate::admission::peer::Peer;
use crate::session::record::client::ChainHeader;
use crate::session::text::PeerText;

/// The proxy that calls us.
const PROXY: &str = "10.0.0.5:4242";

fn trusted() -> Trusted {
    ["10.0.0.0/8", "fd00::/8", "127.0.0.1/32"]
        .iter()
        .map(|net| net.parse().unwrap())
        .collect()
}

fn peer(text: &str) -> Peer {
    Peer::inet(text.parse().unwrap())
}

fn client(lines: &[(&'static str, &str)]) -> Client {
    client_of(&peer(PROXY), &head(lines), &trusted())
}

/// The client of this X-Forwarded-For, and whether the chain could be read down to it.
fn xff(value: &str) -> (String, bool) {
    let client = client(&[("x-forwarded-for", value)]);
    (client.shown(), client.via.unwrap().resolved)
}

fn forwarded(value: &str) -> (String, bool) {
    let client = client(&[("forwarded", value)]);
    (client.shown(), client.via.unwrap().resolved)
}

fn read(shown: &str) -> (String, bool) {
    (shown.to_owned(), true)
}

/// The nearest hop that is known is the proxy itself.
fn unread() -> (String, bool) {
    ("10.0.0.5".to_owned(), false)
}

/// As `unread`, with the proxy's port.
fn only_proxy() -> (String, bool) {
    (PROXY.to_owned(), false)
}

#[test]
fn the_first_hop_from_the_right_that_is_no_proxy_is_the_client() {
    for (value, wanted) in [
        ("203.0.113.7", "203.0.113.7"),
        ("203.0.113.7, 10.1.1.1, 10.2.2.2", "203.0.113.7"),
        (" 203.0.113.7 ,\t10.1.1.1", "203.0.113.7"),
        ("203.0.113.7:50344", "203.0.113.7:50344"),
        ("2001:db8::7", "2001:db8::7"),
        ("[2001:db8::7]", "2001:db8::7"),
        ("[2001:db8::7]:443", "[2001:db8::7]:443"),
        ("::ffff:203.0.113.7", "203.0.113.7"),
        ("[::ffff:203.0.113.7]:80", "203.0.113.7:80"),
        ("203.0.113.7, ::ffff:10.1.1.1", "203.0.113.7"),
    ] {
        assert_eq!(xff(value), read(wanted), "{value}");
    }
}

#[test]
fn all_lines_are_one_list() {
    let client = client(&[
        ("x-forwarded-for", "192.0.2.66, 203.0.113.7"),
        ("x-forwarded-for", "10.1.1.1, 10.2.2.2"),
    ]);
    assert_eq!(client.shown(), "203.0.113.7");
    let via = client.via.unwrap();
    assert_eq!(via.peer, PROXY);
    let chain: Vec<&str> = via.chain.iter().map(PeerText::as_str).collect();
    assert_eq!(chain, ["203.0.113.7", "10.1.1.1", "10.2.2.2"]);
}

#[test]
fn where_all_hops_are_proxies_the_leftmost_is_the_client() {
    assert_eq!(xff("10.9.9.9, 10.1.1.1"), read("10.9.9.9"));
    assert_eq!(xff("127.0.0.1"), read("127.0.0.1"));
}

#[test]
fn a_stranger_is_never_believed() {
    let headers = head(&[
        ("x-forwarded-for", "127.0.0.1"),
        ("forwarded", "for=127.0.0.1"),
        ("x-real-ip", "127.0.0.1"),
    ]);
    for peer in ["203.0.113.9:5", "127.0.0.2:5", "[::1]:5"] {
        let peer: SocketAddr = peer.parse().unwrap();
        let client = client_of(&Peer::inet(peer), &headers, &trusted());
        assert_eq!((client.ip, client.via), (peer.ip(), None));
    }
}

#[test]
fn a_v4_mapped_peer_is_found_in_the_list() {
    let client = client_of(
        &peer("[::ffff:10.0.0.5]:4242"),
        &head(&[("x-forwarded-for", "203.0.113.7")]),
        &trusted(),
    );
    assert_eq!(client.shown(), "203.0.113.7");
}

#[test]
fn chain_spoof_left_of_the_trusted_hop() {
    for spoof in [
        "127.0.0.1",
        "::1",
        "10.0.0.1",
        "unknown",
        "",
        "\u{1f}",
        "127.0.0.1, 10.0.0.1",
    ] {
        let mut headers = HeaderMap::new();
        let value = format!("{spoof}, 203.0.113.7, 10.1.1.1");
        if let Ok(value) = value.parse() {
            headers.append("x-forwarded-for", value);
            let client = client_of(&peer(PROXY), &headers, &trusted());
            assert_eq!(client.shown(), "203.0.113.7", "{spoof:?}");
            assert!(client.via.unwrap().resolved);
        }
    }
}

#[test]
fn a_spoofed_first_line_changes_nothing() {
    let client = client(&[
        ("x-forwarded-for", "127.0.0.1"),
        ("x-forwarded-for", "203.0.113.7"),
    ]);
    assert_eq!(client.shown(), "203.0.113.7");
}

#[test]
fn forwarded_and_x_real_ip_beside_x_forwarded_for_are_ignored() {
    let named = client(&[
        ("forwarded", "for=127.0.0.1"),
        ("x-real-ip", "127.0.0.1"),
        ("x-forwarded-for", "203.0.113.7"),
    ]);
    assert_eq!(named.shown(), "203.0.113.7");
    assert_eq!(named.via.unwrap().header, Some(ChainHeader::XForwardedFor));
    // Even if it is useless: the next header may come from the client itself.
    let empty = client(&[("forwarded", "for=127.0.0.1"), ("x-forwarded-for", "")]);
    assert_eq!(empty.shown(), PROXY);
    let real = client(&[("x-real-ip", "127.0.0.1"), ("forwarded", "for=203.0.113.7")]);
    assert_eq!(real.shown(), "203.0.113.7");
}

#[test]
fn x_real_ip_counts_when_it_stands_alone() {
    let named = client(&[("x-real-ip", "203.0.113.7")]);
    assert_eq!(named.shown(), "203.0.113.7");
    assert_eq!(named.via.unwrap().header, Some(ChainHeader::XRealIp));
    let list = client(&[("x-real-ip", "127.0.0.1, 203.0.113.7")]);
    assert_eq!(list.shown(), PROXY);
}

#[test]
fn what_is_no_address_ends_the_chain_at_the_nearest_known_hop() {
    for entry in [
        "",
        "unknown",
        "_hidden",
        "localhost",
        "client.example",
        "256.0.0.1",
        "1.2.3",
        "[::1",
        "::1]",
        "127.0.0.1;x",
        "\"127.0.0.1\"",
        "127.0.0.1 127.0.0.1",
    ] {
        assert_eq!(xff(&format!("127.0.0.1, {entry}")), only_proxy(), "{entry}");
        let behind_another = xff(&format!("127.0.0.1, {entry}, 10.1.1.1"));
        assert_eq!(behind_another, ("10.1.1.1".to_owned(), false), "{entry}");
    }
}

#[test]
fn ipv6_zone() {
    for entry in ["fe80::1%eth0", "[fe80::1%eth0]:80", "::1%lo"] {
        assert_eq!(xff(entry), only_proxy(), "{entry}");
    }
}

#[test]
fn garbage_port() {
    for port in ["", "x", "-1", "+80", "65536", "000080", "80:80", "80 "] {
        for host in ["127.0.0.1", "[::1]"] {
            let (shown, resolved) = xff(&format!("{host}:{port}"));
            // White space at the end belongs to the list, not to the port.
            if port == "80 " {
                assert!(resolved);
            } else {
                assert_eq!((shown, resolved), only_proxy(), "{host}:{port}");
            }
        }
    }
    assert_eq!(xff("[::1]80"), only_proxy());
}

#[test]
fn a_thousand_hops() {
    let mut chain = vec!["127.0.0.1"; 2];
    chain.extend(vec!["10.1.1.1"; 1000]);
    let client = client(&[("x-forwarded-for", &chain.join(", "))]);
    assert_eq!(client.shown(), "10.1.1.1");
    let via = client.via.unwrap();
    assert_eq!((via.chain.len(), via.resolved), (8, false));

    let mut elements = vec!["for=127.0.0.1"];
    elements.extend(vec!["for=10.1.1.1"; 1000]);
    assert_eq!(
        forwarded(&elements.join(",")),
        ("10.1.1.1".to_owned(), false)
    );

    let mut near = vec!["127.0.0.1", "203.0.113.7"];
    near.extend(vec!["10.1.1.1"; MAX_HOPS - 1]);
    assert_eq!(xff(&near.join(",")), read("203.0.113.7"));
}

#[test]
fn a_huge_header_costs_what_is_looked_at() {
    // Ten megabytes of commas: read from the left, this would be slow in a debug build.
    let mut value = ",".repeat(10_000_000);
    value.push_str("203.0.113.7");
    let headers = head(&[("x-forwarded-for", &value)]);
    let started = std::time::Instant::now();
    for _ in 0..1000 {
        let client = client_of(&peer(PROXY), &headers, &trusted());
        assert_eq!(client.shown(), "203.0.113.7");
    }
    assert!(started.elapsed() < std::time::Duration::from_secs(5));
}

#[test]
fn rfc_7239_forms_of_forwarded() {
    for (value, wanted) in [
        ("for=203.0.113.7", "203.0.113.7"),
        ("For=\"203.0.113.7:4711\"", "203.0.113.7:4711"),
        ("for=\"[2001:db8:cafe::17]\"", "2001:db8:cafe::17"),
        (
            "FOR=\"[2001:db8:cafe::17]:4711\"",
            "[2001:db8:cafe::17]:4711",
        ),
        ("proto=https;for=203.0.113.7;by=10.0.0.5", "203.0.113.7"),
        ("for=203.0.113.7, for=10.1.1.1", "203.0.113.7"),
        (
            "for=203.0.113.7;host=\"a,b;c=d\" ; proto=http,for=10.1.1.1",
            "203.0.113.7",
        ),
        ("for=\"203\\.0.113.7\"", "203.0.113.7"),
    ] {
        assert_eq!(forwarded(value), read(wanted), "{value}");
    }
    for value in [
        "for=unknown",
        "for=_hidden",
        "for=\"_SEVKISEK\"",
        "proto=https",
        "for=",
        "for=\"\"",
        "",
        "for",
        "for=127.0.0.1;for=203.0.113.7",
        "for=203.0.113.7,",
        "for=2001:db8::1%eth0",
    ] {
        assert_eq!(forwarded(value), only_proxy(), "{value}");
    }
    assert_eq!(
        forwarded("for=unknown, for=10.1.1.1"),
        ("10.1.1.1".to_owned(), false)
    );
}

#[test]
fn an_open_quote_does_not_swallow_what_the_proxy_appended() {
    for appended in [
        "for=203.0.113.7",
        "for=\"203.0.113.7\"",
        "for=\"[2001:db8::7]:1\";by=\"x\"",
    ] {
        for spoof in [
            "for=127.0.0.1;x=\"",
            "for=\"127.0.0.1",
            "for=127.0.0.1;x=\"\\",
            "\"",
        ] {
            let (shown, _) = forwarded(&format!("{spoof}, {appended}"));
            assert!(!shown.contains("127.0.0.1"), "{spoof} {appended}: {shown}");
        }
    }
    // On a line of its own, the proxy's entry is read by itself.
    let named = client(&[
        ("forwarded", "for=127.0.0.1;x=\""),
        ("forwarded", "for=203.0.113.7"),
    ]);
    assert_eq!(named.shown(), "203.0.113.7");
}

#[test]
fn what_records_keep_is_bounded_and_inert() {
    let long = "x".repeat(60_000);
    let named = client(&[("x-forwarded-for", &long)]);
    assert!(named.via.unwrap().chain[0].as_str().len() <= 80);
    let secret = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJvd25lciJ9.c2lnbmF0dXJlc2lnbmF0dXJl";
    let named = client(&[("x-forwarded-for", secret)]);
    assert!(!named.via.unwrap().chain[0].as_str().contains("eyJ"));
    let mut headers = HeaderMap::new();
    let hostile = http::HeaderValue::from_bytes(b"\xff\xfe\t203.0.113.7").unwrap();
    headers.insert("x-forwarded-for", hostile);
    let named = client_of(&peer(PROXY), &headers, &trusted());
    assert_eq!((named.shown(), false), unread_with_port());
}

fn unread_with_port() -> (String, bool) {
    let (_, resolved) = unread();
    (PROXY.to_owned(), resolved)
}

proptest! {
    /// Whatever a client writes, its proxy's own entry is to the right of it.
    #[test]
    fn nothing_left_of_the_clients_own_address_counts(
        junk in proptest::collection::vec(any::<u8>(), 0..200),
    ) {
        let mut value = junk;
        value.retain(|byte| *byte >= 0x20 && *byte != 0x7f);
        value.extend_from_slice(b", 203.0.113.7");
        let mut headers = HeaderMap::new();
        headers.insert("x-forwarded-for", http::HeaderValue::from_bytes(&value).unwrap());
        let named = client_of(&peer(PROXY), &headers, &trusted());
        prop_assert_eq!(named.shown(), "203.0.113.7");
    }

    /// In one line of `Forwarded` a client can make its own address unreadable, no more.
    #[test]
    fn a_client_of_forwarded_is_itself_or_its_proxy(
        junk in proptest::collection::vec(any::<u8>(), 0..60),
        quoted in any::<bool>(),
    ) {
        let mut value = junk;
        value.retain(|byte| *byte >= 0x20 && *byte != 0x7f);
        let own: &[u8] = if quoted { b", for=\"203.0.113.7\"" } else { b", for=203.0.113.7" };
        value.extend_from_slice(own);
        let mut headers = HeaderMap::new();
        headers.insert("forwarded", http::HeaderValue::from_bytes(&value).unwrap());
        let named = client_of(&peer(PROXY), &headers, &trusted());
        let shown = named.shown();
        prop_assert!(shown == "203.0.113.7" || shown == PROXY, "{}", shown);
    }
}
