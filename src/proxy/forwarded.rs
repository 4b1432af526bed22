//! What the gateway is told about who the client is.
//!
//! The gateway decides by these headers and by the peer's address who is local, and trusts local
//! clients more. So: it must see every client with the locality that it would have without the
//! tap. In this version a loopback client of a loopback gateway passes as it is, and any other
//! client is written down by its real address.

use std::net::{IpAddr, SocketAddr};

use http::{HeaderMap, HeaderName, HeaderValue};

use super::headers::is_attribution;
use crate::config::{Gateway, Target};
use crate::session::record::gateway::{ForwardedFacts, ForwardedMode};
use crate::session::text::PeerText;

/// Longest header name that is kept in a record.
const NAME_CAP: usize = 64;

/// Most names that are kept in a record.
const MAX_NAMES: usize = 16;

/// Whether the gateway sees our connections as coming from its own host.
pub(super) fn gateway_is_local(gateway: &Gateway) -> bool {
    match gateway.target() {
        Target::Tcp { host, .. } => host.is_loopback(),
        Target::Unix(_) => true,
    }
}

/// Writes the attribution headers of a request that goes to the gateway.
pub(super) fn apply(
    headers: &mut HeaderMap,
    client: SocketAddr,
    client_tls: bool,
    gateway_local: bool,
) -> ForwardedFacts {
    let names: Vec<HeaderName> = headers
        .keys()
        .filter(|name| is_attribution(name))
        .cloned()
        .collect();
    let brought = names
        .iter()
        .take(MAX_NAMES)
        .map(|name| PeerText::new(name.as_str(), NAME_CAP))
        .collect();
    let ip = client.ip().to_canonical();
    if gateway_local && ip.is_loopback() {
        return ForwardedFacts {
            mode: ForwardedMode::Pass,
            brought,
        };
    }
    for name in &names {
        headers.remove(name);
    }
    let scheme = if client_tls { "https" } else { "http" };
    let host = headers.get(http::header::HOST).cloned();
    let mut set = |name: &'static str, value: String| {
        if let Ok(value) = HeaderValue::from_str(&value) {
            headers.insert(HeaderName::from_static(name), value);
        }
    };
    set("x-forwarded-for", ip.to_string());
    set("x-forwarded-proto", scheme.to_owned());
    set("forwarded", format!("for={};proto={scheme}", node(ip)));
    if let Some(host) = host {
        headers.insert(HeaderName::from_static("x-forwarded-host"), host);
    }
    ForwardedFacts {
        mode: ForwardedMode::Overwrite,
        brought,
    }
}

/// A node of `Forwarded`: IPv6 in brackets and quotes (RFC 7239 section 6).
fn node(ip: IpAddr) -> String {
    match ip {
        IpAddr::V4(ip) => ip.to_string(),
        IpAddr::V6(ip) => format!("\"[{ip}]\""),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn apply_to(client: &str, gateway_local: bool) -> (HeaderMap, ForwardedFacts) {
        let mut headers = HeaderMap::new();
        headers.insert("host", HeaderValue::from_static("claw.example:8443"));
        headers.insert("x-forwarded-for", HeaderValue::from_static("127.0.0.1"));
        headers.insert(
            "tailscale-user-login",
            HeaderValue::from_static("me@example.com"),
        );
        let facts = apply(&mut headers, client.parse().unwrap(), true, gateway_local);
        (headers, facts)
    }

    #[test]
    fn a_loopback_client_of_a_loopback_gateway_passes_unchanged() {
        for client in ["127.0.0.1:5", "[::1]:5", "[::ffff:127.0.0.1]:5"] {
            let (headers, facts) = apply_to(client, true);
            assert_eq!(facts.mode, ForwardedMode::Pass);
            assert_eq!(headers.get("x-forwarded-for").unwrap(), "127.0.0.1");
            assert_eq!(headers.len(), 3);
        }
    }

    #[test]
    fn any_other_client_is_named_by_its_real_address_alone() {
        for (client, local) in [
            ("203.0.113.9:5", true),
            ("203.0.113.9:5", false),
            ("127.0.0.1:5", false),
        ] {
            let (headers, facts) = apply_to(client, local);
            assert_eq!(facts.mode, ForwardedMode::Overwrite);
            assert_eq!(facts.brought.len(), 2);
            let ip = client.split(':').next().unwrap();
            assert_eq!(headers.get("x-forwarded-for").unwrap(), ip);
            assert_eq!(headers.get("x-forwarded-proto").unwrap(), "https");
            assert_eq!(
                headers.get("x-forwarded-host").unwrap(),
                "claw.example:8443"
            );
            assert_eq!(
                headers.get("forwarded").unwrap(),
                &format!("for={ip};proto=https")
            );
            assert!(headers.get("tailscale-user-login").is_none());
        }
    }

    #[test]
    fn rfc_7239_section_6_ipv6_is_quoted() {
        let (headers, _) = apply_to("[2001:db8::1]:5", false);
        assert_eq!(
            headers.get("forwarded").unwrap(),
            "for=\"[2001:db8::1]\";proto=https"
        );
        assert_eq!(headers.get("x-forwarded-for").unwrap(), "2001:db8::1");
    }
}
