//! The nftables table and the policy rules of an attached tap, as text. Pure.
//!
//! The port is an element of a set with a timeout, which the running tap renews; without renewal the
//! redirect expires. Only first packets of connections match, so that established ones are never
//! touched. Our own connections to the gateway carry [`MARK`]: the redirect skips them; their
//! original direction is tracked in a separate zone, because a remote client's connection to the
//! tap has the same addresses and ports; and replies to them are marked, so that a policy rule
//! brings them back.

use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use crate::transport::redirected::MARK;

/// The table, in the family for IPv4 and IPv6.
pub(super) const TABLE: &str = "inet wstap_attach";

/// The set that the gateway's port is in while connections are redirected.
pub(super) const SET: &str = "inet wstap_attach ports";

/// Conntrack mark of redirected connections; our connections to the gateway have [`MARK`]. Both
/// marks serve to remove the entries when the tap is gone: they must not affect a client that
/// reuses a port.
pub(super) const CLIENT: u32 = MARK + 1;

/// Conntrack zone of the original direction of our connections to the gateway.
const ZONE: u16 = 30_580;

/// Policy routing table, and the priority of the rules that lead to it: before those of VPNs.
const ROUTES: u32 = 77_746;
const PRIORITY: u32 = 77;

/// `protocol` value of our policy rules and routes, by which leftovers are found.
const PROTOCOL: u8 = 77;

/// A table that no rule looks up. A route in it records that this tap switched `tcp_fwmark_accept` on.
const MARKER: u32 = 77_747;

/// The arguments of `ip` that add the marker route.
pub(super) fn add_marker() -> String {
    format!("-4 route replace throw default table {MARKER} protocol {PROTOCOL}")
}

/// The arguments that show it.
pub(super) fn show_marker() -> String {
    format!("-4 route show table {MARKER}")
}

/// The arguments that remove it.
pub(super) fn flush_marker() -> String {
    format!("-4 route flush table {MARKER}")
}

/// Whether a policy rule, as `ip rule show` prints it, is ours.
pub(super) fn is_own(rule: &str) -> bool {
    rule.contains(&format!("fwmark {MARK:#x} "))
}

/// Where connections are redirected from, and where to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Plan {
    /// The gateway's port.
    pub(super) port: u16,
    /// The tap's own port.
    pub(super) tap_port: u16,
    /// The addresses that the gateway listens on. Empty means every address of this namespace,
    /// `0.0.0.0` every IPv4 address, and `::` every IPv6 address.
    pub(super) addresses: Vec<IpAddr>,
    /// Only connections that begin in this namespace.
    pub(super) local_only: bool,
    /// The kernel accepts timeouts for tracking ended connections ([`has_timeouts`]).
    pub(super) timeouts: bool,
}

/// How long ended connections to the gateway are tracked, in seconds. The default is two minutes: a
/// direct connection that reuses a port of one of them would be translated to another port, and
/// break when the table is removed.
const TRACKED: u32 = 2;

/// A timeout policy for each family: its name, its `l3proto`, and the `nfproto` of the packets.
const POLICIES: [(&str, &str, &str); 2] = [("over4", "ip", "ipv4"), ("over6", "ip6", "ipv6")];

/// A table with only the timeout policies, to test whether the kernel accepts them.
pub(super) fn has_timeouts() -> String {
    let mut text = format!("add table {TABLE}\n");
    policies(&mut text);
    text
}

fn policies(text: &mut String) {
    for (name, l3proto, _) in POLICIES {
        let _ = writeln!(
            text,
            "add ct timeout {TABLE} {name} {{ protocol tcp; l3proto {l3proto}; \
             policy = {{ time_wait : {TRACKED}, close : {TRACKED} }}; }}"
        );
    }
}

impl Plan {
    /// The commands for `nft` that create the table; the set is empty.
    pub(super) fn ruleset(&self) -> String {
        let mut text = String::new();
        let tap_port = self.tap_port;
        // Only the process that holds the table may change it, and the table dies with that process.
        let _ = writeln!(text, "add table {TABLE} {{ flags owner; }}");
        let _ = writeln!(
            text,
            "add set {SET} {{ type inet_service; flags timeout; }}"
        );
        chain(&mut text, "zone", "filter", "output", -310);
        let _ = writeln!(
            text,
            "add rule {TABLE} zone meta mark {MARK:#x} ct original zone set {ZONE}"
        );
        chain(&mut text, "replies", "route", "output", -150);
        if self.timeouts {
            policies(&mut text);
            for (name, _, family) in POLICIES {
                let _ = writeln!(
                    text,
                    "add rule {TABLE} replies meta mark {MARK:#x} ct state new meta nfproto {family} \
                     ct timeout set \"{name}\""
                );
            }
        }
        let _ = writeln!(
            text,
            "add rule {TABLE} replies meta mark {MARK:#x} ct mark set {MARK:#x} accept"
        );
        let _ = writeln!(
            text,
            "add rule {TABLE} replies ct direction reply ct mark {MARK:#x} meta mark set {MARK:#x}"
        );
        // Just before the usual place of NAT rules: the first one to redirect a connection wins.
        if !self.local_only {
            chain(&mut text, "remote", "nat", "prerouting", -101);
            self.redirects(&mut text, "remote");
        }
        chain(&mut text, "local", "nat", "output", -101);
        self.redirects(&mut text, "local");
        chain(&mut text, "own", "filter", "input", 0);
        let _ = writeln!(
            text,
            "add rule {TABLE} own tcp dport {tap_port} ct status & dnat == 0 meta mark != {MARK:#x} \
             reject with tcp reset"
        );
        text
    }

    fn redirects(&self, text: &mut String, chain: &str) {
        // A link-local address leads nowhere without its link, and the gateway's replies to one leave by that
        // link, past every policy rule: such clients go straight to the gateway.
        let _ = writeln!(text, "add rule {TABLE} {chain} ip6 saddr fe80::/10 accept");
        let mut destinations: Vec<String> = self
            .addresses
            .iter()
            .map(|ip| match ip {
                IpAddr::V4(Ipv4Addr::UNSPECIFIED) => {
                    "meta nfproto ipv4 fib daddr type local".to_owned()
                }
                IpAddr::V6(Ipv6Addr::UNSPECIFIED) => {
                    "meta nfproto ipv6 fib daddr type local".to_owned()
                }
                IpAddr::V4(ip) => format!("ip daddr {ip}"),
                IpAddr::V6(ip) => format!("ip6 daddr {ip}"),
            })
            .collect();
        if destinations.is_empty() {
            destinations.push("fib daddr type local".to_owned());
        }
        for destination in destinations {
            let _ = writeln!(
                text,
                "add rule {TABLE} {chain} meta mark != {MARK:#x} {destination} tcp dport @ports \
                 tcp flags & (fin|syn|rst|ack) == syn ct mark set {CLIENT:#x} dnat to :{}",
                self.tap_port
            );
        }
    }

    /// The arguments of `ip` that create the policy rules and routes; none if only local clients
    /// are tapped, whose replies come back anyway.
    pub(super) fn routes(&self) -> Vec<String> {
        if self.local_only {
            return Vec::new();
        }
        ["-4", "-6"]
            .into_iter()
            .flat_map(|family| {
                [
                    format!("{family} route add local default dev lo table {ROUTES} protocol {PROTOCOL}"),
                    format!(
                        "{family} rule add priority {PRIORITY} fwmark {MARK:#x} lookup {ROUTES} protocol \
                         {PROTOCOL}"
                    ),
                ]
            })
            .collect()
    }

    /// Redirects the port for this time from now on.
    pub(super) fn arm(&self, timeout: Duration) -> String {
        // Adding an existing element does not renew it.
        format!(
            "flush set {SET}; add element {SET} {{ {} timeout {}s }}",
            self.port,
            timeout.as_secs()
        )
    }
}

/// Stops the redirect; redirected connections are not affected.
pub(super) fn disarm() -> String {
    format!("flush set {SET}")
}

/// The arguments of `ip` that remove all of our policy rules and routes, including leftovers.
pub(super) fn sweep() -> [String; 4] {
    let rules = |family| format!("{family} rule flush protocol {PROTOCOL}");
    let routes = |family| format!("{family} route flush table {ROUTES}");
    [rules("-4"), rules("-6"), routes("-4"), routes("-6")]
}

fn chain(text: &mut String, name: &str, kind: &str, hook: &str, priority: i32) {
    let _ = writeln!(
        text,
        "add chain {TABLE} {name} {{ type {kind} hook {hook} priority {priority}; }}"
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(addresses: &[&str], local_only: bool) -> Plan {
        Plan {
            port: 18789,
            tap_port: 40_001,
            addresses: addresses.iter().map(|ip| ip.parse().unwrap()).collect(),
            local_only,
            timeouts: true,
        }
    }

    #[test]
    fn the_ruleset_of_a_gateway_on_every_address() {
        insta::assert_snapshot!(plan(&[], false).ruleset());
    }

    #[test]
    fn only_the_addresses_that_the_gateway_has_are_redirected() {
        let text = plan(&["127.0.0.1", "::1"], false).ruleset();
        assert!(
            text.contains("remote meta mark != 0x77746170 ip daddr 127.0.0.1 tcp"),
            "{text}"
        );
        assert!(
            text.contains("local meta mark != 0x77746170 ip6 daddr ::1 tcp"),
            "{text}"
        );
        assert!(!text.contains("fib daddr"), "{text}");
    }

    #[test]
    fn of_a_gateway_on_every_ipv4_address_only_ipv4_is_redirected() {
        let text = plan(&["0.0.0.0"], false).ruleset();
        let redirects = text.lines().filter(|line| line.contains("dnat to"));
        for line in redirects {
            let only_v4 = "meta nfproto ipv4 fib daddr type local";
            assert!(line.contains(only_v4), "{line}");
        }
    }

    #[test]
    fn local_clients_alone_need_no_prerouting_and_no_routes() {
        let plan = plan(&[], true);
        assert!(!plan.ruleset().contains("prerouting"));
        assert!(plan.routes().is_empty());
    }

    #[test]
    fn without_timeout_policies_nothing_else_is_missing() {
        let with = plan(&[], false);
        let without = Plan {
            timeouts: false,
            ..with.clone()
        };
        let (with, without) = (with.ruleset(), without.ruleset());
        let rest = with.lines().filter(|line| !line.contains("ct timeout"));
        assert!(without.lines().eq(rest), "{without}");
    }

    #[test]
    fn every_redirect_is_of_first_packets_of_others() {
        for local_only in [true, false] {
            let text = plan(&["10.0.0.1"], local_only).ruleset();
            for line in text.lines().filter(|line| line.contains("dnat to")) {
                assert!(line.contains("meta mark != 0x77746170"), "{line}");
                assert!(
                    line.contains("tcp flags & (fin|syn|rst|ack) == syn"),
                    "{line}"
                );
                assert!(line.contains("dport @ports"), "{line}");
            }
        }
    }
}
