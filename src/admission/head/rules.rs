//! What the lines of a head mean together: where the request ends, which host it is for, and what
//! it asks for. Anything that two parsers could understand differently is refused.

use super::checked::Asks;
use super::octets::{is_token, trim};
use super::raw::{RawHead, Version};
use super::refusal::Refusal;
use crate::admission::hop::{is_protected, nominated};
use crate::session::record::HeadFault;
use crate::ws::handshake::{is_key, list_has_token};

/// How long the body is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Framing {
    Length(u64),
    Chunked,
}

/// What a head asks for (RFC 6455 section 4.1).
pub(super) fn asks(head: &RawHead) -> Asks {
    let upgrade = list_has_token(head.values("upgrade"), "websocket");
    let connection = list_has_token(head.values("connection"), "upgrade");
    let key = head.values("sec-websocket-key").next().is_some();
    if upgrade && connection {
        Asks::WebSocket
    } else if key || upgrade {
        Asks::StrippedWebSocket
    } else {
        Asks::Nothing
    }
}

/// Whether a head may pass, and what follows it.
pub(super) fn check(head: &RawHead, asks: Asks) -> Result<Framing, Refusal> {
    host(head)?;
    origin(head)?;
    connection(head)?;
    let framing = framing(head)?;
    if asks == Asks::WebSocket {
        websocket(head, framing)?;
    }
    Ok(framing)
}

fn refuse<T>(fault: HeadFault, detail: impl Into<String>) -> Result<T, Refusal> {
    Err(Refusal::new(fault, detail))
}

/// Exactly one Host (RFC 9112 section 3.2), in a form that every parser reads alike.
fn host(head: &RawHead) -> Result<(), Refusal> {
    let mut values = head.values("host");
    match (values.next(), values.next()) {
        (None, _) if head.version() == Some(Version::Http10) => Ok(()),
        (None, _) => refuse(HeadFault::HostMissing, "there is no Host header"),
        (Some(_), Some(_)) => refuse(HeadFault::HostDuplicate, "there are two Host headers"),
        (Some(host), None) if is_host(host) => Ok(()),
        _ => refuse(HeadFault::HostInvalid, "the Host header is no host[:port]"),
    }
}

/// `uri-host [":" port]` (RFC 9110 section 7.2). An empty one is legal and says nothing.
fn is_host(value: &[u8]) -> bool {
    let (name, port) = if value.starts_with(b"[") {
        let Some(end) = value.iter().position(|byte| *byte == b']') else {
            return false;
        };
        let (inside, behind) = value.split_at(end);
        let inside = inside.get(1..).unwrap_or_default();
        // Zone identifiers (RFC 6874) mean something only on the host that they belong to.
        let literal = |byte: &u8| byte.is_ascii_alphanumeric() || b":.%-_~".contains(byte);
        if inside.is_empty() || !inside.iter().all(literal) {
            return false;
        }
        (b"".as_slice(), behind.get(1..).unwrap_or_default())
    } else {
        let colon = value.iter().position(|byte| *byte == b':');
        value.split_at(colon.unwrap_or(value.len()))
    };
    let of_name = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~%!$&'()*+;=".contains(byte);
    name.iter().all(of_name) && is_port(port)
}

/// Nothing, or a colon and a number of at most 65535.
fn is_port(port: &[u8]) -> bool {
    let Some(digits) = port.strip_prefix(b":") else {
        return port.is_empty();
    };
    digits.iter().all(u8::is_ascii_digit)
        && digits.len() <= 5
        && digits
            .iter()
            .fold(0_u32, |sum, digit| sum * 10 + u32::from(digit - b'0'))
            <= 65535
}

/// At most one Origin header, with one origin in it. Whether it may pass is decided elsewhere.
fn origin(head: &RawHead) -> Result<(), Refusal> {
    let mut values = head.values("origin");
    let (Some(origin), more) = (values.next(), values.next()) else {
        return Ok(());
    };
    if more.is_some() {
        return refuse(HeadFault::OriginList, "there are two Origin headers");
    }
    if origin.iter().any(|byte| b", \t".contains(byte)) {
        return refuse(HeadFault::OriginList, "the Origin header holds a list");
    }
    if !origin.is_ascii() {
        let detail = "the Origin header holds bytes that are not ASCII";
        return refuse(HeadFault::OriginInvalid, detail);
    }
    Ok(())
}

/// `Connection` nominates headers that end here (RFC 9110 section 7.6.1). A client must not use it
/// to have others removed.
fn connection(head: &RawHead) -> Result<(), Refusal> {
    for name in nominated(head.values("connection")) {
        if !is_token(name) {
            let detail = "the Connection header is no list of tokens";
            return refuse(HeadFault::ConnectionList, detail);
        }
        if is_protected(name) {
            let name = String::from_utf8_lossy(name);
            let detail = format!("the Connection header asks us to remove {name}");
            return refuse(HeadFault::Nominated, detail);
        }
    }
    Ok(())
}

/// Where the request ends (RFC 9112 section 6): by one Content-Length, by the chunked coding, or
/// with its head.
fn framing(head: &RawHead) -> Result<Framing, Refusal> {
    let mut lengths = head.values("content-length");
    let (length, more_lengths) = (lengths.next(), lengths.next().is_some());
    let mut codings = head.values("transfer-encoding");
    let (coding, more_codings) = (codings.next(), codings.next().is_some());
    if more_lengths {
        return refuse(
            HeadFault::LengthDuplicate,
            "there are two Content-Length headers",
        );
    }
    if length.is_some() && coding.is_some() {
        let detail = "there are both Content-Length and Transfer-Encoding";
        return refuse(HeadFault::LengthAndEncoding, detail);
    }
    if let Some(length) = length {
        return match content_length(length) {
            Some(length) => Ok(Framing::Length(length)),
            None => refuse(HeadFault::LengthInvalid, "the Content-Length is no number"),
        };
    }
    let Some(coding) = coding else {
        return Ok(Framing::Length(0));
    };
    if more_codings || !trim(coding).eq_ignore_ascii_case(b"chunked") {
        let detail = "the Transfer-Encoding is not exactly `chunked`";
        return refuse(HeadFault::EncodingInvalid, detail);
    }
    if head.version() == Some(Version::Http10) {
        let detail = "there is a Transfer-Encoding in HTTP/1.0";
        return refuse(HeadFault::EncodingInvalid, detail);
    }
    Ok(Framing::Chunked)
}

/// Digits and nothing else, and a number of at most 63 bits.
fn content_length(value: &[u8]) -> Option<u64> {
    if value.is_empty() || value.len() > 18 || !value.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(value).ok()?.parse().ok()
}

/// The opening handshake's own rules (RFC 6455 section 4.2.1).
fn websocket(head: &RawHead, framing: Framing) -> Result<(), Refusal> {
    if head.method() != b"GET" {
        let detail = "a WebSocket is asked for with GET";
        return refuse(HeadFault::UpgradeMethod, detail);
    }
    if head.version() != Some(Version::Http11) {
        let detail = "a WebSocket is asked for with HTTP/1.1";
        return refuse(HeadFault::UpgradeHttp10, detail);
    }
    if framing != Framing::Length(0) {
        let detail = "the upgrade request announces a body";
        return refuse(HeadFault::UpgradeWithBody, detail);
    }
    websocket_version(head)?;
    websocket_key(head)?;
    websocket_lists(head)
}

/// A WebSocket by extended CONNECT (RFC 8441 section 5). The method itself asks for the WebSocket,
/// so no key is needed. Some clients, such as Node's, send a key anyway and expect an accept key.
pub(super) fn connect(head: &RawHead) -> Result<(), Refusal> {
    host(head)?;
    origin(head)?;
    if framing(head)? != Framing::Length(0) {
        let detail = "the upgrade request announces a body";
        return refuse(HeadFault::UpgradeWithBody, detail);
    }
    websocket_version(head)?;
    if head.values("sec-websocket-key").next().is_some() {
        websocket_key(head)?;
    }
    websocket_lists(head)
}

fn websocket_key(head: &RawHead) -> Result<(), Refusal> {
    let mut keys = head.values("sec-websocket-key");
    let detail = match (keys.next(), keys.next()) {
        (Some(key), None) if is_key(key) => return Ok(()),
        (None, _) => "there is no Sec-WebSocket-Key",
        (Some(_), None) => "Sec-WebSocket-Key is not the base64 form of 16 bytes",
        _ => "there are two Sec-WebSocket-Key headers",
    };
    refuse(HeadFault::WebsocketKey, detail)
}

fn websocket_version(head: &RawHead) -> Result<(), Refusal> {
    let mut versions = head.values("sec-websocket-version");
    match (versions.next(), versions.next()) {
        (Some(b"13"), None) => Ok(()),
        (Some(_), None) => {
            let detail = "Sec-WebSocket-Version is not 13";
            refuse(HeadFault::WebsocketVersion, detail)
        }
        (None, _) => {
            let detail = "there is no Sec-WebSocket-Version";
            refuse(HeadFault::WebsocketVersion, detail)
        }
        _ => {
            let detail = "there are two Sec-WebSocket-Version headers";
            refuse(HeadFault::WebsocketVersion, detail)
        }
    }
}

fn websocket_lists(head: &RawHead) -> Result<(), Refusal> {
    for name in ["sec-websocket-protocol", "sec-websocket-extensions"] {
        if head.values(name).any(<[u8]>::is_empty) {
            let detail = format!("there is an empty {name} header");
            return refuse(HeadFault::WebsocketList, detail);
        }
    }
    Ok(())
}
