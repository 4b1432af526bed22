//! Hop-by-hop headers (RFC 9110 section 7.6.1).

use http::header::{
    CONNECTION, HeaderName, PROXY_AUTHENTICATE, PROXY_AUTHORIZATION, TE, TRAILER,
    TRANSFER_ENCODING, UPGRADE,
};
use http::{HeaderMap, HeaderValue};

use crate::admission::hop;

const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");
const HTTP2_SETTINGS: HeaderName = HeaderName::from_static("http2-settings");

/// Headers that concern one connection even if `Connection` does not nominate them.
const HOP_BY_HOP: [HeaderName; 9] = [
    CONNECTION,
    KEEP_ALIVE,
    PROXY_CONNECTION,
    PROXY_AUTHENTICATE,
    PROXY_AUTHORIZATION,
    TE,
    TRANSFER_ENCODING,
    UPGRADE,
    HTTP2_SETTINGS,
];

/// Whether a header concerns one connection only.
pub(crate) fn is_hop_by_hop(name: &HeaderName) -> bool {
    HOP_BY_HOP.contains(name)
}

/// Removes the headers that concern only one connection: those of a fixed list, and those that
/// `Connection` nominates. An upgrade to WebSocket is put back as it came; any other is dropped.
///
/// A client that nominates a header which decides who it is was refused before this; in a gateway's
/// answer such a header is kept.
pub(crate) fn strip_hop_by_hop(headers: &mut HeaderMap, keep_upgrade: bool) {
    let nominated: Vec<HeaderName> = hop::nominated(values(headers, &CONNECTION))
        .filter_map(|name| HeaderName::from_bytes(name).ok())
        // `Trailer` describes the message, not the connection.
        .filter(|name| *name != TRAILER && !hop::is_protected(name.as_str().as_bytes()))
        .collect();
    // In the client's spelling, unless it also offers something else: h2c never goes out.
    let mut offers = headers.get_all(UPGRADE).iter();
    let upgrade = match (offers.next(), offers.next()) {
        (Some(one), None) if one.as_bytes().eq_ignore_ascii_case(b"websocket") => Some(one.clone()),
        (Some(_), _) => Some(HeaderValue::from_static("websocket")),
        (None, _) => None,
    };
    for name in nominated.iter().chain(&HOP_BY_HOP) {
        headers.remove(name);
    }
    if let Some(upgrade) = upgrade.filter(|_| keep_upgrade) {
        headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
        headers.insert(UPGRADE, upgrade);
    }
}

/// Removes the headers that a program behind us may mistake for others, and returns their names.
pub(crate) fn drop_underscore_twins(headers: &mut HeaderMap) -> Vec<HeaderName> {
    let twins: Vec<HeaderName> = headers
        .keys()
        .filter(|name| hop::is_underscore_twin(name.as_str()))
        .cloned()
        .collect();
    for twin in &twins {
        headers.remove(twin);
    }
    twins
}

/// A header's values as bytes.
pub(crate) fn values<'a>(
    headers: &'a HeaderMap,
    name: &HeaderName,
) -> impl Iterator<Item = &'a [u8]> {
    headers.get_all(name).iter().map(HeaderValue::as_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(lines: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in lines {
            map.append(
                HeaderName::from_static(name),
                HeaderValue::from_static(value),
            );
        }
        map
    }

    fn names(map: &HeaderMap) -> Vec<&str> {
        let mut names: Vec<&str> = map.keys().map(HeaderName::as_str).collect();
        names.sort_unstable();
        names
    }

    #[test]
    fn rfc_9110_7_6_1_nominated_headers_go_and_protected_ones_stay() {
        let mut map = headers(&[
            ("connection", "x-private, close, Origin, X-Forwarded-For"),
            ("x-private", "1"),
            ("origin", "https://a.example"),
            ("x-forwarded-for", "203.0.113.9"),
            ("keep-alive", "timeout=5"),
            ("te", "trailers"),
        ]);
        strip_hop_by_hop(&mut map, false);
        assert_eq!(names(&map), ["origin", "x-forwarded-for"]);
    }

    #[test]
    fn h2c_is_dropped_with_its_settings_and_websocket_stays() {
        let mut h2c = headers(&[
            ("connection", "Upgrade, HTTP2-Settings"),
            ("upgrade", "h2c"),
            ("http2-settings", "AAMAAABkAAQAAP__"),
        ]);
        strip_hop_by_hop(&mut h2c, false);
        assert!(h2c.is_empty());
        let mut ws = headers(&[
            ("connection", "keep-alive, Upgrade"),
            ("upgrade", "websocket"),
        ]);
        strip_hop_by_hop(&mut ws, true);
        assert_eq!(ws.get("connection").unwrap(), "Upgrade");
        assert_eq!(ws.get("upgrade").unwrap(), "websocket");
        let mut both = headers(&[("connection", "Upgrade"), ("upgrade", "h2c, WebSocket")]);
        strip_hop_by_hop(&mut both, true);
        assert_eq!(both.get("upgrade").unwrap(), "websocket");
    }
}
