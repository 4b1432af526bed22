//! Writes the attribution headers of an outgoing request.
//!
//! All of them are written as one set, because a gateway that believes two different ones can be
//! fooled by either. X-Forwarded-Proto is `http` or `https` also for a WebSocket.

use std::net::IpAddr;

use http::{HeaderMap, HeaderName, HeaderValue};

use super::{Action, is_attribution};
use crate::admission::{hop, mask};
use crate::session::record::gateway::SentHeader;
use crate::session::text::PeerText;

const X_FORWARDED_FOR: &str = "x-forwarded-for";
const X_FORWARDED_PROTO: &str = "x-forwarded-proto";
const X_FORWARDED_HOST: &str = "x-forwarded-host";
const FORWARDED: &str = "forwarded";

/// Longest value that a record keeps.
const VALUE_CAP: usize = 256;

/// Longest host that is taken from a proxy: a name of 253 bytes and a port.
const HOST_CAP: usize = 260;

/// Which incoming headers are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Keep {
    /// The peer is a trusted proxy: its X-Forwarded-Proto and X-Forwarded-Host are taken over.
    pub place: bool,
    /// The peer may also name the user: other X-Forwarded-*, Tailscale-* and the headers of
    /// identity-aware proxies are kept unchanged.
    pub identity: bool,
}

/// Changes the headers as decided, and returns what was written.
pub(crate) fn write(
    headers: &mut HeaderMap,
    action: Action,
    listener_tls: bool,
    keep: Keep,
) -> Vec<SentHeader> {
    let client = match action {
        Action::Pass | Action::Refuse => return Vec::new(),
        Action::Strip => {
            strip(headers, |_| false);
            return Vec::new();
        }
        Action::Overwrite(client) => client,
    };
    let own = HeaderValue::from_static(if listener_tls { "https" } else { "http" });
    let given = |name: &str, read: fn(&HeaderValue) -> Option<HeaderValue>| {
        headers
            .get_all(name)
            .iter()
            .next_back()
            .and_then(read)
            .filter(|_| keep.place)
    };
    let scheme = given(X_FORWARDED_PROTO, scheme).unwrap_or(own);
    let host = given(X_FORWARDED_HOST, host).or_else(|| headers.get(http::header::HOST).cloned());
    let node = node(client);
    let element = format!("for={node};proto={}", scheme.to_str().unwrap_or("http"));
    strip(headers, |name| keep.identity && is_identity(name));
    let set = [
        (
            X_FORWARDED_FOR,
            HeaderValue::from_str(&client.to_string()).ok(),
        ),
        (X_FORWARDED_PROTO, Some(scheme)),
        (X_FORWARDED_HOST, host),
        (FORWARDED, HeaderValue::from_str(&element).ok()),
    ];
    let mut written = Vec::new();
    for (name, value) in set {
        let Some(value) = value else { continue };
        let masked = mask::mask_header(name.as_bytes(), value.as_bytes());
        written.push(SentHeader {
            name: name.to_owned(),
            value: PeerText::new(&masked.unwrap_or_default(), VALUE_CAP),
        });
        headers.insert(HeaderName::from_static(name), value);
    }
    written
}

fn strip(headers: &mut HeaderMap, stays: impl Fn(&HeaderName) -> bool) {
    let names: Vec<HeaderName> = headers
        .keys()
        .filter(|name| is_attribution(name) || hop::names_user(name.as_str()))
        .filter(|name| !stays(name))
        .cloned()
        .collect();
    for name in names {
        headers.remove(name);
    }
}

/// Headers that name the user, or say something else that has nothing to do with the client's
/// address.
fn is_identity(name: &HeaderName) -> bool {
    let way = [
        X_FORWARDED_FOR,
        X_FORWARDED_PROTO,
        X_FORWARDED_HOST,
        FORWARDED,
        "x-real-ip",
    ];
    !way.contains(&name.as_str())
}

/// The last item of a list: the one that the peer itself wrote.
fn last(value: &HeaderValue) -> &[u8] {
    let items = value.as_bytes().rsplit(|byte| *byte == b',').next();
    items.unwrap_or_default().trim_ascii()
}

/// `http` or `https`; some proxies wrongly write `ws` and `wss` for them.
fn scheme(value: &HeaderValue) -> Option<HeaderValue> {
    let said = last(value);
    let is = |name: &str| said.eq_ignore_ascii_case(name.as_bytes());
    if is("https") || is("wss") {
        Some(HeaderValue::from_static("https"))
    } else if is("http") || is("ws") {
        Some(HeaderValue::from_static("http"))
    } else {
        None
    }
}

/// Accepts a host, with or without a port.
fn host(value: &HeaderValue) -> Option<HeaderValue> {
    let said = last(value);
    let plausible = |byte: &u8| byte.is_ascii_alphanumeric() || b".-_:[]".contains(byte);
    let fits = (1..=HOST_CAP).contains(&said.len()) && said.iter().all(plausible);
    HeaderValue::from_bytes(said).ok().filter(|_| fits)
}

/// A node of `Forwarded`: IPv6 in brackets and quotes (RFC 7239 section 6).
fn node(ip: IpAddr) -> String {
    match ip {
        IpAddr::V4(ip) => ip.to_string(),
        IpAddr::V6(ip) => format!("\"[{ip}]\""),
    }
}
