//! Hop-by-hop headers (RFC 9110 section 7.6.1).

use http::header::{
    CONNECTION, HeaderName, PROXY_AUTHENTICATE, PROXY_AUTHORIZATION, TE, TRAILER,
    TRANSFER_ENCODING, UPGRADE,
};
use http::{HeaderMap, HeaderValue};

use crate::admission::forwarded::is_attribution;
use crate::ws::handshake::list_has_token;

const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");
const HTTP2_SETTINGS: HeaderName = HeaderName::from_static("http2-settings");

/// What a request asks to switch to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asks {
    /// A WebSocket, by `Upgrade: websocket` that `Connection` nominates.
    WebSocket,
    /// A WebSocket key without that: a hop before us has stripped something.
    StrippedWebSocket,
    /// Nothing that we pass on.
    Nothing,
}

/// What a request's head asks for (RFC 6455 section 4.1).
pub(super) fn asks(headers: &HeaderMap) -> Asks {
    let upgrade = list_has_token(values(headers, &UPGRADE), "websocket");
    let nominated = list_has_token(values(headers, &CONNECTION), "upgrade");
    let key = headers.contains_key(http::header::SEC_WEBSOCKET_KEY);
    if upgrade && nominated {
        Asks::WebSocket
    } else if key || upgrade {
        Asks::StrippedWebSocket
    } else {
        Asks::Nothing
    }
}

/// Takes out what concerns only one connection: the named headers, and those that `Connection`
/// nominates. An upgrade to WebSocket is put back as it came; any other is dropped.
///
/// Headers that decide who a client is are never taken out on a client's word.
pub(super) fn strip_hop_by_hop(headers: &mut HeaderMap, keep_upgrade: bool) {
    let nominated: Vec<HeaderName> = values(headers, &CONNECTION)
        .flat_map(|value| value.split(|byte| *byte == b','))
        .filter_map(|name| HeaderName::from_bytes(name.trim_ascii()).ok())
        .filter(|name| !is_protected(name))
        .collect();
    // As the client spelled it, unless it offers something else beside: h2c never goes out.
    let mut offers = headers.get_all(UPGRADE).iter();
    let upgrade = match (offers.next(), offers.next()) {
        (Some(one), None) if one.as_bytes().eq_ignore_ascii_case(b"websocket") => Some(one.clone()),
        (Some(_), _) => Some(HeaderValue::from_static("websocket")),
        (None, _) => None,
    };
    for name in nominated.iter().chain(&[
        CONNECTION,
        KEEP_ALIVE,
        PROXY_CONNECTION,
        PROXY_AUTHENTICATE,
        PROXY_AUTHORIZATION,
        TE,
        TRANSFER_ENCODING,
        UPGRADE,
        HTTP2_SETTINGS,
    ]) {
        headers.remove(name);
    }
    if let Some(upgrade) = upgrade.filter(|_| keep_upgrade) {
        headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
        headers.insert(UPGRADE, upgrade);
    }
}

/// Never removed by nomination: they say where a request goes and who sends it.
fn is_protected(name: &HeaderName) -> bool {
    matches!(
        name.as_str(),
        "host" | "origin" | "authorization" | "cookie" | "content-length"
    ) || *name == TRAILER
        || is_attribution(name)
}

/// A header's values as bytes.
pub(super) fn values<'a>(
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
    fn what_a_head_asks_for() {
        let ws = [
            ("connection", "keep-alive, Upgrade"),
            ("upgrade", "WebSocket"),
        ];
        assert_eq!(asks(&headers(&ws)), Asks::WebSocket);
        let key = [("sec-websocket-key", "x")];
        assert_eq!(asks(&headers(&key)), Asks::StrippedWebSocket);
        assert_eq!(
            asks(&headers(&[("upgrade", "websocket")])),
            Asks::StrippedWebSocket
        );
        assert_eq!(
            asks(&headers(&[("upgrade", "h2c"), ("connection", "upgrade")])),
            Asks::Nothing
        );
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
