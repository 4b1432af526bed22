//! The client behind trusted proxies (RFC 7239, and the X-Forwarded-For that came before it).
//!
//! Each proxy appends the address that it was called from, so only the right end of the chain is
//! reliable: it is read from there as long as the hops are trusted, and anything further left may
//! have been made up by the client. An entry that cannot be read ends the walk: the client is then
//! the nearest known hop.
//!
//! The input is hostile: at most [`MAX_HOPS`] hops are read, whatever the length of the chain. Only
//! a line of `Forwarded` is read whole, because a quote in it can only be understood from the left.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use http::{HeaderMap, HeaderValue};

use super::trusted::Trusted;
use crate::admission::mask;
use crate::admission::peer::Peer;
use crate::session::record::client::{ChainHeader, Via, ViaKind};
use crate::session::text::PeerText;

/// Maximum number of hops that are read.
pub(crate) const MAX_HOPS: usize = 100;

/// Maximum number of hops that a record keeps.
const KEPT_HOPS: usize = 8;

/// Maximum length of a hop that a record keeps, and how much of it is read for that.
const HOP_CAP: usize = 64;
const HOP_LOOK: usize = 512;

const X_FORWARDED_FOR: &str = "x-forwarded-for";
const X_REAL_IP: &str = "x-real-ip";
const FORWARDED: &str = "forwarded";

/// The client of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Client {
    /// Its address, canonical.
    pub ip: IpAddr,
    /// Its port, where that is known.
    pub port: Option<u16>,
    /// How the client was found, when it is not the TCP peer itself.
    pub via: Option<Via>,
}

impl Client {
    /// As records show it: `address:port`, or the address alone.
    #[must_use]
    pub(crate) fn shown(&self) -> String {
        match self.port {
            Some(port) => SocketAddr::new(self.ip, port).to_string(),
            None => self.ip.to_string(),
        }
    }
}

/// The client of a request: the peer, or, when the peer is a trusted proxy that names its client,
/// that client. X-Forwarded-For takes precedence over Forwarded, and Forwarded over X-Real-IP; only
/// one of them is read.
#[must_use]
pub(crate) fn client_of(peer: &Peer, headers: &HeaderMap, trusted: &Trusted) -> Client {
    let own = Client {
        ip: peer.ip(),
        port: peer.port(),
        via: None,
    };
    if !peer.is_in(trusted) {
        return own;
    }
    if headers.contains_key(X_FORWARDED_FOR) {
        let hops = lines(headers, X_FORWARDED_FOR)
            .flat_map(|line| line.as_bytes().rsplit(|byte| *byte == b','))
            .map(Hop::Text);
        walk(&own, peer, ChainHeader::XForwardedFor, hops, trusted)
    } else if headers.contains_key(FORWARDED) {
        let hops =
            lines(headers, FORWARDED).flat_map(|line| elements(line.as_bytes()).into_iter().rev());
        walk(&own, peer, ChainHeader::Forwarded, hops, trusted)
    } else if headers.contains_key(X_REAL_IP) {
        let hops = lines(headers, X_REAL_IP).map(|line| Hop::Text(line.as_bytes()));
        walk(&own, peer, ChainHeader::XRealIp, hops, trusted)
    } else {
        own
    }
}

/// The lines of a header, last first: all lines are one list (RFC 9110 section 5.3).
fn lines<'a>(headers: &'a HeaderMap, name: &'static str) -> impl Iterator<Item = &'a HeaderValue> {
    headers.get_all(name).iter().rev()
}

/// One entry of a chain.
enum Hop<'a> {
    /// As it was sent.
    Text(&'a [u8]),
    /// A `for` that was quoted, without its quotes.
    Unquoted(Vec<u8>),
    /// An element without exactly one `for`, or a line that is not well-formed.
    Unreadable(&'a [u8]),
}

impl Hop<'_> {
    fn text(&self) -> &[u8] {
        match self {
            Self::Text(text) | Self::Unreadable(text) => text,
            Self::Unquoted(text) => text,
        }
    }

    fn node(&self) -> Option<(IpAddr, Option<u16>)> {
        match self {
            Self::Text(text) => node(text),
            Self::Unquoted(text) => node(text),
            Self::Unreadable(_) => None,
        }
    }
}

/// Walks right to left, past the trusted hops, to the first untrusted one.
fn walk<'a>(
    own: &Client,
    peer: &Peer,
    header: ChainHeader,
    hops: impl Iterator<Item = Hop<'a>>,
    trusted: &Trusted,
) -> Client {
    let (mut ip, mut port) = (own.ip, own.port);
    let mut resolved = true;
    let mut kept = Vec::new();
    for (index, hop) in hops.enumerate() {
        if index >= MAX_HOPS {
            resolved = false;
            break;
        }
        if index < KEPT_HOPS {
            kept.push(shown(header, hop.text()));
        }
        let Some((next, its_port)) = hop.node() else {
            resolved = false;
            break;
        };
        (ip, port) = (next, its_port);
        if !trusted.contains(ip) {
            break;
        }
    }
    kept.reverse();
    Client {
        ip,
        port,
        via: Some(Via {
            kind: ViaKind::ForwardedChain,
            peer: peer.to_string(),
            header: Some(header),
            chain: kept,
            resolved,
        }),
    }
}

/// A hop as records keep it. Text that is not an address may be anything, even a secret.
fn shown(header: ChainHeader, hop: &[u8]) -> PeerText {
    let name = match header {
        ChainHeader::XForwardedFor => X_FORWARDED_FOR,
        ChainHeader::Forwarded => FORWARDED,
        ChainHeader::XRealIp => X_REAL_IP,
    };
    let front = hop.get(..HOP_LOOK).unwrap_or(hop).trim_ascii();
    let masked = mask::mask_header(name.as_bytes(), front).unwrap_or_default();
    PeerText::new(&masked, HOP_CAP)
}

/// `ip`, `ip:port`, `[ip]` or `[ip]:port`; never a name, an obfuscated node or an IPv6 zone.
fn node(text: &[u8]) -> Option<(IpAddr, Option<u16>)> {
    let text = std::str::from_utf8(text).ok()?.trim_matches([' ', '\t']);
    if let Ok(ip) = text.parse::<IpAddr>() {
        return Some((ip.to_canonical(), None));
    }
    let (host, rest) = if let Some(inner) = text.strip_prefix('[') {
        let (inside, rest) = inner.split_once(']')?;
        (IpAddr::from(inside.parse::<Ipv6Addr>().ok()?), rest)
    } else {
        let (host, _) = text.split_once(':')?;
        (host.parse().ok()?, text.get(host.len()..)?)
    };
    let host = host.to_canonical();
    if rest.is_empty() {
        return Some((host, None));
    }
    let digits = rest.strip_prefix(':')?;
    let plain = digits.len() <= 5 && digits.bytes().all(|byte| byte.is_ascii_digit());
    let port = digits.parse().ok().filter(|_| plain)?;
    Some((host, Some(port)))
}

/// The `for` of each element of a `Forwarded` line, left to right (RFC 7239 section 4); the last
/// [`MAX_HOPS`] and one more. A line that is not well-formed is one unreadable hop: a quote that a
/// client leaves open must not swallow what a proxy appended.
fn elements(line: &[u8]) -> Vec<Hop<'_>> {
    let mut found = std::collections::VecDeque::new();
    let mut rest = line;
    loop {
        let Some((hop, after)) = element(rest) else {
            return vec![Hop::Unreadable(line)];
        };
        if found.len() > MAX_HOPS {
            found.pop_front();
        }
        found.push_back(hop);
        match after {
            Some(after) => rest = after,
            None => return found.into(),
        }
    }
}

/// One element, and the rest after its comma; `None` if it is not well-formed.
fn element(mut rest: &[u8]) -> Option<(Hop<'_>, Option<&[u8]>)> {
    let mut node: Option<Hop<'_>> = None;
    loop {
        let whole = rest;
        rest = rest.trim_ascii_start();
        let end = rest
            .iter()
            .position(|byte| matches!(byte, b'=' | b';' | b',' | b'"'))
            .unwrap_or(rest.len());
        let (name, after) = rest.split_at_checked(end)?;
        let mut after = after;
        if let Some(value) = after.strip_prefix(b"=") {
            let (value, behind) = value_of(value)?;
            if name.trim_ascii().eq_ignore_ascii_case(b"for") {
                // Twice in one element is not allowed; neither can be believed.
                node = Some(if node.is_some() {
                    Hop::Unreadable(whole)
                } else {
                    value
                });
            }
            after = behind.trim_ascii_start();
        } else if !name.trim_ascii().is_empty() {
            return None;
        }
        let hop = |node: Option<_>| node.unwrap_or(Hop::Unreadable(b""));
        match after.split_first() {
            None => return Some((hop(node), None)),
            Some((b';', more)) => rest = more,
            Some((b',', more)) => return Some((hop(node), Some(more))),
            Some(_) => return None,
        }
    }
}

/// A token or a quoted string, and the rest after it.
fn value_of(text: &[u8]) -> Option<(Hop<'_>, &[u8])> {
    let Some(quoted) = text.strip_prefix(b"\"") else {
        let end = text
            .iter()
            .position(|byte| matches!(byte, b';' | b',' | b'"'))
            .unwrap_or(text.len());
        let (token, rest) = text.split_at_checked(end)?;
        return Some((Hop::Text(token), rest));
    };
    let mut value = Vec::new();
    let mut bytes = quoted.iter();
    loop {
        match bytes.next()? {
            b'"' => return Some((Hop::Unquoted(value), bytes.as_slice())),
            b'\\' => value.push(*bytes.next()?),
            byte => value.push(*byte),
        }
    }
}
