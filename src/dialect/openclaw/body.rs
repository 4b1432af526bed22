//! The gateway's HTTP answers, recognised by the beginning of their bodies (gateway 2026.9.6).

use super::page::is_control_ui;
use crate::session::record::BodyKind;

/// Answers of the gateway's WebSocket library to a malformed handshake, as `text/html`.
const LIBRARY: [&str; 4] = [
    "Invalid Sec-WebSocket-Protocol header",
    "Invalid Upgrade header",
    "Missing or invalid Sec-WebSocket-Key header",
    "Missing or invalid Sec-WebSocket-Version header",
];

/// Answer of that library when its server is closing, also as `text/html`.
const LIBRARY_CLOSING: &[u8] = b"Service Unavailable";

/// Answers of the gateway to an upgrade when one of its other services is not available.
const SERVICES: [&str; 4] = [
    "Worker websocket ingress unavailable",
    "desktop observe unavailable",
    "node desktop attach unavailable",
    "node portal attach unavailable",
];

/// The kind of an answer, judged by the beginning of its body, if the gateway itself certainly made
/// it.
pub(super) fn kind_of(front: &[u8], content_type: &str) -> Option<BodyKind> {
    let contains = |needle: &str| contains(front, needle);
    Some(if contains(REFUSED) {
        BodyKind::Attribution
    } else if front.ends_with(b" websocket admission closed") {
        BodyKind::AdmissionClosed
    } else if front == b"Too many unauthenticated sockets" {
        BodyKind::TooManySockets
    } else if front.ends_with(b" websocket handlers unavailable") {
        BodyKind::HandlersUnavailable
    } else if SERVICES.iter().any(|text| front == text.as_bytes()) {
        BodyKind::ServiceUnavailable
    } else if is_control_ui(front) {
        BodyKind::ControlUi
    } else if contains("\"type\":\"unauthorized\"")
        || contains("\"type\":\"rate_limited\"")
        || LIBRARY.iter().any(|text| front == text.as_bytes())
    {
        BodyKind::Gateway
    } else if front == LIBRARY_CLOSING && content_type == "text/html" {
        BodyKind::LibraryClosing
    } else {
        return None;
    })
}

/// The type of the error for attribution headers that the gateway does not accept.
const REFUSED: &str = "\"proxy_attribution_required\"";

/// Whether the gateway accepted a request with attribution headers. `None` if the answer may not be
/// its own: the gateway may be starting behind another proxy.
pub(super) fn takes_attribution(status: u16, body: &[u8]) -> Option<bool> {
    match status {
        403 if contains(body, REFUSED) => Some(false),
        // A gateway without this path, before 2026.3, answers with the page of its Control UI.
        200 if contains(body, "\"ready\":true") || is_control_ui(body) => Some(true),
        _ => None,
    }
}

/// Whether an answer to a request without attribution headers shows that the gateway takes us for
/// local: only then does it give details. A hop in between, such as a port forwarding, may reach it
/// over loopback, whatever our own address is.
pub(super) fn takes_us_for_local(status: u16, body: &[u8]) -> bool {
    status == 200 && contains(body, "\"failing\"")
}

fn contains(text: &[u8], needle: &str) -> bool {
    text.windows(needle.len())
        .any(|window| window == needle.as_bytes())
}
