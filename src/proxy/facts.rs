//! A request's and a response's head as records show them.

use http::header::{HOST, ORIGIN, SEC_WEBSOCKET_EXTENSIONS, SEC_WEBSOCKET_PROTOCOL, USER_AGENT};
use http::{HeaderMap, HeaderName, Version};

use super::headers::{Asks, values};
use crate::admission::mask;
use crate::admission::origin::policy::Ruling;
use crate::session::record::{HeaderFact, OriginFacts, RequestFacts};
use crate::session::text::PeerText;

/// Longest value that is kept of a named header.
const VALUE_CAP: usize = 512;

/// Most bytes of values that are kept of one head; longer ones are recorded by length alone.
const VALUES_CAP: usize = 8 * 1024;

/// Most header lines that are kept.
const MAX_HEADERS: usize = 128;

/// A request head.
pub(super) fn request(parts: &http::request::Parts, asks: Asks) -> RequestFacts {
    let headers = &parts.headers;
    let target = parts
        .uri
        .path_and_query()
        .map_or("/", http::uri::PathAndQuery::as_str);
    RequestFacts {
        method: PeerText::new(parts.method.as_str(), 32).as_str().to_owned(),
        http_version: version(parts.version).to_owned(),
        host: masked(headers, &HOST),
        path: PeerText::new(&mask::mask_target(target), mask::TARGET_CAP),
        origin: masked(headers, &ORIGIN),
        subprotocols: mask::mask_subprotocols(&joined(headers, &SEC_WEBSOCKET_PROTOCOL))
            .iter()
            .map(|item| PeerText::new(item, VALUE_CAP))
            .collect(),
        extensions: headers
            .contains_key(SEC_WEBSOCKET_EXTENSIONS)
            .then(|| PeerText::new(&joined(headers, &SEC_WEBSOCKET_EXTENSIONS), VALUE_CAP)),
        user_agent: masked(headers, &USER_AGENT),
        headers: header_lines(headers),
        wants_upgrade: asks == Asks::WebSocket,
        has_websocket_key: headers.contains_key(http::header::SEC_WEBSOCKET_KEY),
    }
}

/// All header lines, masked.
pub(super) fn header_lines(headers: &HeaderMap) -> Vec<HeaderFact> {
    let mut room = VALUES_CAP;
    headers
        .iter()
        .take(MAX_HEADERS)
        .map(|(name, value)| {
            let masked = mask::mask_header(name.as_str().as_bytes(), value.as_bytes())
                .filter(|masked| masked.len() <= room);
            room -= masked.as_ref().map_or(0, String::len);
            HeaderFact {
                name: PeerText::new(name.as_str(), 128),
                value: masked.map(|masked| PeerText::new(&masked, mask::VALUE_CAP)),
                length: value.len(),
            }
        })
        .collect()
}

/// What the `Origin` is and what the policy says of it.
pub(super) fn origin_facts(headers: &HeaderMap, ruling: &Ruling) -> OriginFacts {
    OriginFacts {
        // An empty header counts as none.
        value: masked(headers, &ORIGIN).filter(|_| ruling.origin != Ok(None)),
        normalised: match &ruling.origin {
            Ok(Some(origin)) => Some(origin.to_string()),
            _ => None,
        },
        decision: ruling.decision,
        rule: ruling.rule.clone(),
        nearest: ruling.nearest.clone(),
        error: ruling.origin.as_ref().err().map(ToString::to_string),
    }
}

/// One header's value, masked.
pub(super) fn masked(headers: &HeaderMap, name: &HeaderName) -> Option<PeerText> {
    let value = headers.get(name)?;
    let masked = mask::mask_header(name.as_str().as_bytes(), value.as_bytes())?;
    Some(PeerText::new(&masked, VALUE_CAP))
}

/// Several lines of a list are one list (RFC 9110 section 5.3).
fn joined(headers: &HeaderMap, name: &HeaderName) -> String {
    values(headers, name)
        .map(String::from_utf8_lossy)
        .collect::<Vec<_>>()
        .join(", ")
}

fn version(version: Version) -> &'static str {
    match version {
        Version::HTTP_09 => "HTTP/0.9",
        Version::HTTP_10 => "HTTP/1.0",
        Version::HTTP_2 => "HTTP/2",
        _ => "HTTP/1.1",
    }
}
