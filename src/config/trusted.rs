//! `trusted_proxies` and `proxy_protocol.from`: addresses and networks, written exactly, and `unix`
//! for any process that connects to a unix socket.
//!
//! A network with host bits, a name or a port may mean more than one thing, and a wrong guess lets
//! strangers claim any address. So each is an error that shows the correct form.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use schemars::{Schema, json_schema};

use super::error::{Complaint, quoted};
use super::scalar::FromScalar;
use crate::admission::forwarded::Trusted;

/// One entry of the list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ProxyNetwork {
    /// Addresses.
    Net(IpNet),
    /// Any process that connects to a unix socket.
    Unix,
}

/// Builds the list from these entries.
pub(super) fn list(entries: impl IntoIterator<Item = ProxyNetwork>) -> Trusted {
    let mut networks = Vec::new();
    let mut unix = false;
    for entry in entries {
        match entry {
            ProxyNetwork::Net(net) => networks.push(net),
            ProxyNetwork::Unix => unix = true,
        }
    }
    let list = Trusted::new(networks);
    if unix { list.with_unix() } else { list }
}

impl FromScalar for ProxyNetwork {
    fn expected() -> String {
        "an IP address or a network, such as `10.0.0.5` or `10.0.0.0/8`, or `unix`".to_owned()
    }

    fn from_text(text: &str) -> Result<Self, Complaint> {
        let rather = |corrected: String| Err(Complaint::new(corrected, shown(text)));
        if let Ok(ip) = text.parse::<IpAddr>() {
            let plain = ip.to_canonical();
            if plain != ip {
                return rather(format!("`{plain}`"));
            }
            return Ok(Self::Net(plain.into()));
        }
        if text == "unix" {
            return Ok(Self::Unix);
        }
        if let Ok(net) = text.parse::<IpNet>() {
            return Self::exact(net, text);
        }
        if text == "*" {
            let expected = "the addresses or networks of your proxies, each on a line of its own";
            return Err(Complaint::new(
                expected,
                "`*`, which would believe everybody",
            ));
        }
        if let Ok(socket) = text.parse::<SocketAddr>() {
            let expected = format!("`{}` (the address alone)", socket.ip().to_canonical());
            return Err(Complaint::new(
                expected,
                format!("{} with a port", quoted(text)),
            ));
        }
        let bare = text.trim().trim_start_matches('[').trim_end_matches(']');
        if let Ok(ip) = bare.parse::<IpAddr>() {
            return rather(format!("`{}`", ip.to_canonical()));
        }
        if let Some(net) = with_mask(text) {
            return rather(format!("`{}`", net.trunc()));
        }
        Err(Complaint::new(
            format!("{} (names are not resolved here)", Self::expected()),
            shown(text),
        ))
    }

    fn schema() -> Schema {
        json_schema!({ "type": "string", "examples": ["10.0.0.5", "10.0.0.0/8", "fd00::/8", "unix"] })
    }
}

impl ProxyNetwork {
    /// A network without host bits, in the family of its addresses.
    fn exact(net: IpNet, text: &str) -> Result<Self, Complaint> {
        if let Some(plain) = unmapped(net) {
            return Err(Complaint::new(format!("`{}`", plain.trunc()), quoted(text)));
        }
        if net.trunc() != net {
            let expected = format!(
                "`{}` for the network, or `{}` for the one address",
                net.trunc(),
                net.addr()
            );
            return Err(Complaint::new(expected, quoted(text)));
        }
        Ok(Self::Net(net))
    }
}

/// The IPv4 form of a network that is written as an IPv6 one (`::ffff:10.0.0.0/104`).
fn unmapped(net: IpNet) -> Option<IpNet> {
    let IpNet::V6(net) = net else { return None };
    let ip = net.addr().to_ipv4_mapped()?;
    let prefix = net.prefix_len().checked_sub(96)?;
    Ipv4Net::new(ip, prefix).ok().map(IpNet::V4)
}

/// `10.0.0.0/255.0.0.0`
fn with_mask(text: &str) -> Option<IpNet> {
    let (ip, mask) = text.split_once('/')?;
    let ip: Ipv4Addr = ip.parse().ok()?;
    let net = Ipv4Net::with_netmask(ip, mask.parse().ok()?).ok()?;
    Some(IpNet::V4(net))
}

/// Hides a text with `@`, which may contain a password.
fn shown(text: &str) -> String {
    if text.contains('@') {
        "a text with `@`".to_owned()
    } else {
        quoted(text)
    }
}

/// The warning about a network of this list.
pub(super) fn oddity(net: IpNet) -> Option<String> {
    if net.prefix_len() == 0 {
        return Some(format!(
            "{net} believes everybody: any client can then name any address as its own"
        ));
    }
    if net.addr().is_loopback() {
        return Some(format!(
            "{net}: every process of this host is believed when it says who a client is; without \
             this entry a gateway on this host decides by its own gateway.trustedProxies"
        ));
    }
    wide(net).then(|| {
        format!("{net} is a wide public network: whoever is in it can name any address as its own")
    })
}

/// The warning about a network of `proxy_protocol.from`. Loopback needs none: a PROXY header makes
/// no client local.
pub(super) fn oddity_of_header(net: IpNet) -> Option<String> {
    if net.prefix_len() == 0 {
        return Some(format!(
            "{net} lets everybody name any address as its own, and refuses whoever sends no header"
        ));
    }
    wide(net).then(|| {
        format!("{net} is a wide public network: whoever is in it can name any address as its own")
    })
}

/// Whether a network is larger than anybody's own: public and wider than /16 (IPv6: /32), or wider
/// than the private networks.
fn wide(net: IpNet) -> bool {
    let private = |inner: &IpNet| {
        let v4 = |a, b, prefix| Ipv4Net::new_assert(Ipv4Addr::new(a, b, 0, 0), prefix);
        let v6 =
            |first, prefix| Ipv6Net::new_assert(Ipv6Addr::new(first, 0, 0, 0, 0, 0, 0, 0), prefix);
        match inner {
            IpNet::V4(inner) => [
                v4(10, 0, 8),
                v4(172, 16, 12),
                v4(192, 168, 16),
                v4(100, 64, 10),
                v4(169, 254, 16),
            ]
            .iter()
            .any(|net| net.contains(inner)),
            IpNet::V6(inner) => [v6(0xfc00, 7), v6(0xfe80, 10)]
                .iter()
                .any(|net| net.contains(inner)),
        }
    };
    let least = if net.addr().is_ipv4() { 16 } else { 32 };
    net.prefix_len() < least && !private(&net)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_and_networks_are_read() {
        for (text, net) in [
            ("10.0.0.5", "10.0.0.5/32"),
            ("10.0.0.0/8", "10.0.0.0/8"),
            ("::1", "::1/128"),
            ("fd00::/8", "fd00::/8"),
            ("0.0.0.0/0", "0.0.0.0/0"),
        ] {
            let ProxyNetwork::Net(read) = ProxyNetwork::from_text(text).unwrap() else {
                panic!("{text} is no network");
            };
            assert_eq!(read.to_string(), net);
        }
    }

    #[test]
    fn anything_else_gets_the_corrected_value() {
        for (text, expected) in [
            ("10.0.0.5/8", "`10.0.0.0/8` for the network, or `10.0.0.5`"),
            ("fd00::1/64", "`fd00::/64` for the network, or `fd00::1`"),
            ("10.0.0.5:443", "`10.0.0.5` (the address alone)"),
            ("[fd00::1]:443", "`fd00::1` (the address alone)"),
            ("[fd00::1]", "`fd00::1`"),
            (" 10.0.0.5", "`10.0.0.5`"),
            ("::ffff:10.0.0.5", "`10.0.0.5`"),
            ("::ffff:10.0.0.0/104", "`10.0.0.0/8`"),
            ("10.0.0.0/255.0.0.0", "`10.0.0.0/8`"),
            ("*", "the addresses or networks of your proxies"),
            ("proxy.internal", "names are not resolved"),
            ("10.0.0.0/33", "names are not resolved"),
            ("10.0.0.*", "names are not resolved"),
            ("", "an IP address or a network"),
        ] {
            let complaint = ProxyNetwork::from_text(text).unwrap_err();
            assert!(
                complaint.expected.contains(expected),
                "{text}: {complaint:?}"
            );
        }
        let complaint = ProxyNetwork::from_text("me:hunter2@proxy").unwrap_err();
        assert!(!format!("{complaint:?}").contains("hunter2"));
    }

    #[test]
    fn what_believes_too_many_is_odd() {
        for (net, odd) in [
            ("0.0.0.0/0", true),
            ("::/0", true),
            ("127.0.0.1/32", true),
            ("::1/128", true),
            ("203.0.0.0/8", true),
            ("8.0.0.0/7", true),
            ("2000::/3", true),
            ("10.0.0.0/8", false),
            ("100.64.0.0/10", false),
            ("172.16.0.0/12", false),
            ("203.0.113.0/24", false),
            ("fd00::/8", false),
            ("2001:db8::/32", false),
        ] {
            assert_eq!(oddity(net.parse().unwrap()).is_some(), odd, "{net}");
        }
    }
}
