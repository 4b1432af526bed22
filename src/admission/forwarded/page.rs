//! Pages that claim to have been loaded from the machine that they connect to.
//!
//! For the sake of containers the gateway (2026.9.6, `browser_container_local`) takes its own page
//! for local when `Host` and `Origin` name loopback and the connection comes from *any private
//! address* without attribution headers. To a gateway that sees us under a private address,
//! everyone who passes through us looks like that, and the client sets both headers itself.

use std::net::IpAddr;

use http::HeaderMap;
use http::header::{HOST, ORIGIN};
use url::Url;

use crate::session::page::is_loopback;

/// Whether `Host` and `Origin` name loopback.
#[must_use]
pub(crate) fn claims_local_page(headers: &HeaderMap) -> bool {
    // Even with an invalid port: the gateway cuts it off without reading it.
    let host = |value: &str| {
        let bare = value.rsplit_once(':').map_or(value, |(host, _)| host);
        [value, bare]
            .iter()
            .any(|host| names_loopback(&format!("http://{host}")))
    };
    let any = |name, is_it: &dyn Fn(&str) -> bool| {
        let values = headers.get_all(name).iter();
        values.filter_map(|value| value.to_str().ok()).any(is_it)
    };
    // Programs send no origin.
    any(ORIGIN, &names_loopback) && any(HOST, &host)
}

/// Whether the gateway takes connections from this address for ones of a private network.
#[must_use]
pub(crate) fn is_private(ip: IpAddr) -> bool {
    match ip.to_canonical() {
        IpAddr::V4(ip) => {
            let [first, second, ..] = ip.octets();
            let shared = first == 100 && second & 0xc0 == 64;
            ip.is_loopback() || ip.is_private() || ip.is_link_local() || shared
        }
        IpAddr::V6(ip) => ip.is_loopback() || ip.is_unique_local() || ip.is_unicast_link_local(),
    }
}

/// Parses the URL as browsers do, which is also how the gateway parses it.
fn names_loopback(url: &str) -> bool {
    Url::parse(url.trim()).is_ok_and(|url| is_loopback(&url))
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn claims(host: &str, origin: &str) -> bool {
        let mut headers = HeaderMap::new();
        headers.insert(HOST, HeaderValue::from_str(host).unwrap());
        headers.insert(ORIGIN, HeaderValue::from_str(origin).unwrap());
        claims_local_page(&headers)
    }

    #[test]
    fn both_headers_must_name_loopback() {
        for (host, origin) in [
            ("localhost", "http://localhost"),
            ("localhost:18789", "http://127.0.0.1:5173"),
            ("LOCALHOST:1", "HTTPS://LocalHost"),
            ("localhost:99999", "http://localhost"),
            ("127.0.0.1", "http://[::1]:8443"),
            ("[::1]:80", "http://127.8.9.1"),
            ("[::ffff:127.0.0.1]", "http://localhost."),
            ("localhost", "app://localhost"),
            ("localhost", "app://127.0.0.1"),
        ] {
            assert!(claims(host, origin), "{host} {origin}");
        }
        for (host, origin) in [
            ("claw.example.com", "http://localhost"),
            ("localhost", "https://claw.example.com"),
            ("localhost.example.com", "http://localhost"),
            ("10.0.0.1", "http://10.0.0.1"),
            ("localhost", "null"),
            ("localhost", ""),
        ] {
            assert!(!claims(host, origin), "{host} {origin}");
        }
        assert!(!claims_local_page(&HeaderMap::new()));
    }

    #[test]
    fn private_as_the_gateway_has_it() {
        for private in [
            "127.0.0.1",
            "::1",
            "10.1.2.3",
            "172.16.0.1",
            "192.168.1.1",
            "169.254.1.1",
            "100.64.0.1",
            "fd00::1",
            "fe80::1",
            "::ffff:10.0.0.1",
        ] {
            assert!(is_private(private.parse().unwrap()), "{private}");
        }
        for public in [
            "192.0.2.1",
            "203.0.113.7",
            "100.128.0.1",
            "2001:db8::1",
            "8.8.8.8",
        ] {
            assert!(!is_private(public.parse().unwrap()), "{public}");
        }
    }
}
