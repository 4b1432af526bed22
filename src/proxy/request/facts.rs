//! A request's and a response's head as records show them.

use http::header::ORIGIN;
use http::{HeaderMap, HeaderName};

use crate::admission::head::{Asks, RawHead};
use crate::admission::mask;
use crate::admission::origin::policy::Ruling;
use crate::session::record::{HeaderFact, OriginFacts, RequestFacts};
use crate::session::text::PeerText;

/// Maximum length of a named header's value that is kept.
const VALUE_CAP: usize = 512;

/// Maximum total of value bytes that are kept of one head; values beyond it are recorded only as
/// lengths.
const VALUES_CAP: usize = 8 * 1024;

/// Maximum number of header lines that are kept.
const MAX_HEADERS: usize = 128;

/// A request head as it was on the wire.
pub(crate) fn request(head: &RawHead, asks: Asks) -> RequestFacts {
    let target = String::from_utf8_lossy(head.target());
    let one = |name: &str| {
        let value = head.values(name).next()?;
        Some(PeerText::new(
            &mask::mask_header(name.as_bytes(), value)?,
            VALUE_CAP,
        ))
    };
    let extensions = joined(head, "sec-websocket-extensions");
    RequestFacts {
        method: mask::mask_method(head.method()),
        http_version: head.http_version().to_owned(),
        host: one("host"),
        path: PeerText::new(&mask::mask_target(&target), mask::TARGET_CAP),
        origin: one("origin"),
        subprotocols: mask::mask_subprotocols(
            &joined(head, "sec-websocket-protocol").unwrap_or_default(),
        )
        .iter()
        .map(|item| PeerText::new(item, VALUE_CAP))
        .collect(),
        extensions: extensions.map(|text| PeerText::new(&text, VALUE_CAP)),
        user_agent: one("user-agent"),
        headers: header_lines(head.fields()),
        dropped: Vec::new(),
        wants_upgrade: asks == Asks::WebSocket,
        has_websocket_key: head.values("sec-websocket-key").next().is_some(),
    }
}

/// The lines of a head, masked, in their order and spelling.
pub(crate) fn header_lines<'a>(
    lines: impl Iterator<Item = (&'a [u8], &'a [u8])>,
) -> Vec<HeaderFact> {
    let mut room = VALUES_CAP;
    lines
        .take(MAX_HEADERS)
        .map(|(name, value)| {
            let masked = mask::mask_header(name, value).filter(|masked| masked.len() <= room);
            room -= masked.as_ref().map_or(0, String::len);
            HeaderFact {
                name: PeerText::from_bytes(name, 128),
                value: masked.map(|masked| PeerText::new(&masked, mask::VALUE_CAP)),
                length: value.len(),
            }
        })
        .collect()
}

/// The lines of a head that hyper has read.
pub(crate) fn lines_of(headers: &HeaderMap) -> impl Iterator<Item = (&[u8], &[u8])> {
    headers
        .iter()
        .map(|(name, value)| (name.as_str().as_bytes(), value.as_bytes()))
}

/// The `Origin` and the policy's decision about it.
pub(crate) fn origin_facts(headers: &HeaderMap, ruling: &Ruling) -> OriginFacts {
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
        error_kind: ruling.origin.as_ref().err().copied(),
        error: ruling.origin.as_ref().err().map(ToString::to_string),
    }
}

/// One header's value, masked.
pub(crate) fn masked(headers: &HeaderMap, name: &HeaderName) -> Option<PeerText> {
    let value = headers.get(name)?;
    let masked = mask::mask_header(name.as_str().as_bytes(), value.as_bytes())?;
    Some(PeerText::new(&masked, VALUE_CAP))
}

/// Several lines of a list header are one list (RFC 9110 section 5.3).
fn joined(head: &RawHead, name: &str) -> Option<String> {
    let lines: Vec<_> = head.values(name).map(String::from_utf8_lossy).collect();
    (!lines.is_empty()).then(|| lines.join(", "))
}
