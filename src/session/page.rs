//! How a page was loaded, judged by its `Origin` (W3C Secure Contexts, section 3.1).
//!
//! The browser sets a page's origin, not the page's script, so it can be trusted. It shows how the
//! *page* was loaded; the WebSocket may be opened differently, for example with a `wss://` address.

use std::net::IpAddr;

use url::{Host, Url};

/// See [`of`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PageOrigin {
    /// `https://…`.
    Https,
    /// Loopback, which browsers trust without TLS: `localhost`, `*.localhost`, 127.0.0.0/8, `[::1]`.
    Loopback,
    /// `http://…` with another host: browsers disable features that need a secure context.
    PlainHttp,
}

/// How the page with this origin was loaded; `None` if the origin does not show it (`null`, the
/// scheme of an app or an extension).
#[must_use]
pub(crate) fn of(origin: &str) -> Option<PageOrigin> {
    let url = Url::parse(origin).ok()?;
    match url.scheme() {
        "https" => Some(PageOrigin::Https),
        "http" if is_loopback(&url) => Some(PageOrigin::Loopback),
        "http" => Some(PageOrigin::PlainHttp),
        _ => None,
    }
}

/// Whether a URL's host is loopback, by the rules of browsers.
#[must_use]
pub(crate) fn is_loopback(url: &Url) -> bool {
    // A numeric address with a scheme for which browsers do not parse hosts.
    let is_text = |name: &str| {
        let ip = name.trim_start_matches('[').trim_end_matches(']');
        ip.parse::<IpAddr>()
            .is_ok_and(|ip| ip.to_canonical().is_loopback())
    };
    match url.host() {
        Some(Host::Domain(name)) => {
            let name = name.trim_end_matches('.').to_ascii_lowercase();
            name == "localhost" || name.ends_with(".localhost") || is_text(&name)
        }
        Some(Host::Ipv4(ip)) => ip.is_loopback(),
        Some(Host::Ipv6(ip)) => IpAddr::V6(ip).to_canonical().is_loopback(),
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_shows_how_the_page_was_opened() {
        for (origin, expected) in [
            ("https://claw.example.com", Some(PageOrigin::Https)),
            ("https://192.168.1.20:8443", Some(PageOrigin::Https)),
            ("http://localhost:18789", Some(PageOrigin::Loopback)),
            ("http://ui.localhost", Some(PageOrigin::Loopback)),
            ("http://127.0.0.1:18789", Some(PageOrigin::Loopback)),
            ("http://127.8.0.1", Some(PageOrigin::Loopback)),
            ("http://[::1]:18789", Some(PageOrigin::Loopback)),
            ("http://192.168.1.20:8080", Some(PageOrigin::PlainHttp)),
            ("http://localhost.example.com", Some(PageOrigin::PlainHttp)),
            ("http://notlocalhost", Some(PageOrigin::PlainHttp)),
            ("null", None),
            ("app://localhost", None),
            ("chrome-extension://abcdef", None),
            ("file://", None),
            ("", None),
        ] {
            assert_eq!(of(origin), expected, "{origin}");
        }
    }
}
