//! Translates a request of HTTP/2 into the HTTP/1.1 form that the stack and the gateway use.

use http::header::{CONNECTION, COOKIE, HOST, SEC_WEBSOCKET_KEY, UPGRADE};
use http::request::Parts;
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderValue, Method, Uri};
use tokio_tungstenite::tungstenite::handshake::client::generate_key;

use crate::admission::head::http2::{Pseudo, check};
use crate::admission::head::{Asks, Checked, Limits};
use crate::proxy::request::facts::lines_of;

/// Checks a request's head and translates it.
pub(super) fn translate(head: &mut Parts, limits: Limits) -> Checked {
    join_cookies(&mut head.headers);
    let protocol = head.extensions.remove::<h2::ext::Protocol>();
    let pseudo = Pseudo {
        method: head.method.as_str(),
        scheme: head.uri.scheme_str(),
        authority: head.uri.authority().map(http::uri::Authority::as_str),
        path: head.uri.path_and_query().map_or("", PathAndQuery::as_str),
        protocol: protocol.as_ref().map(h2::ext::Protocol::as_str),
    };
    let fields: Vec<_> = lines_of(&head.headers).collect();
    let checked = check(pseudo, &fields, limits);
    if let Some(authority) = pseudo.authority
        && let Ok(host) = HeaderValue::from_str(authority)
    {
        head.headers.insert(HOST, host);
    }
    if checked.asks == Asks::WebSocket {
        upgrade(&mut head.method, &mut head.headers);
    }
    let target = head.uri.path_and_query().cloned();
    head.uri = target.map_or_else(Uri::default, Uri::from);
    checked
}

/// Joins the parts of a Cookie, which HTTP/2 may send as separate fields, into one line (RFC 9113
/// section
/// 8.2.3).
fn join_cookies(headers: &mut HeaderMap) {
    let parts: Vec<_> = headers
        .get_all(COOKIE)
        .iter()
        .map(HeaderValue::as_bytes)
        .collect();
    if parts.len() < 2 {
        return;
    }
    if let Ok(mut joined) = HeaderValue::from_bytes(&parts.join(b"; ".as_slice())) {
        joined.set_sensitive(true);
        headers.insert(COOKIE, joined);
    }
}

/// Turns an extended CONNECT into the upgrade that it asks for (RFC 8441 section 5). HTTP/2
/// requires no key, but the gateway needs one to answer: if the client sends none, we make one.
fn upgrade(method: &mut Method, headers: &mut HeaderMap) {
    *method = Method::GET;
    headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    if !headers.contains_key(SEC_WEBSOCKET_KEY)
        && let Ok(key) = HeaderValue::from_str(&generate_key())
    {
        headers.insert(SEC_WEBSOCKET_KEY, key);
    }
}
