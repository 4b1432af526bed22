//! Which origins the gateway itself lets in, by its own configuration file.
//!
//! Source: `origin-check.ts` of the gateway, version 2026.9.6. It compares its entries as text,
//! only trimmed and lower-cased, with the normalised origin; in addition it lets in pages that it
//! has served itself at a private address. Where its rules depend on something that only the
//! gateway can know, this module errs on the strict side: a client that might not be local is
//! treated as remote.

use std::net::{IpAddr, Ipv4Addr};

use super::{Origin, OriginError, normalise};
use crate::session::record::Miss;
use crate::session::text::PeerText;

/// Maximum length of a shown entry.
const SHOWN: usize = 120;

/// What `gateway.controlUi` says about origins.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct GatewayList {
    any: bool,
    live: Vec<Origin>,
    dead: Vec<DeadEntry>,
    host_fallback: bool,
}

/// An entry that never matches anything that a browser sends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadEntry {
    /// As written in the file, without parts that may be secret.
    pub text: PeerText,
    /// Why it never matches.
    pub why: Miss,
    /// The origin that was meant, if that is clear: the corrected line.
    pub meant: Option<Origin>,
}

/// The parts of a request, besides its origin, that the gateway's rules read.
#[derive(Debug, Clone, Copy, Default)]
pub struct Around<'a> {
    /// The Host header.
    pub host: Option<&'a [u8]>,
    /// The gateway sees this client as one on its own machine.
    pub local_client: bool,
}

/// The gateway's rule that lets an origin in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GatewayRule {
    /// An entry of the list, including `*`.
    Entry(String),
    /// `dangerouslyAllowHostHeaderOriginFallback`.
    HostFallback,
    /// The page comes from the same address that it connects to, and that address is private.
    SameOrigin,
    /// A page on the gateway's own machine.
    LocalLoopback,
}

impl std::fmt::Display for GatewayRule {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("gateway: ")?;
        match self {
            Self::Entry(entry) => f.write_str(entry),
            Self::HostFallback => f.write_str("host header fallback"),
            Self::SameOrigin => f.write_str("same origin"),
            Self::LocalLoopback => f.write_str("local loopback"),
        }
    }
}

impl GatewayList {
    /// Built from the texts of the list, and whether `dangerouslyAllowHostHeaderOriginFallback` is
    /// set.
    pub fn new<'e>(entries: impl IntoIterator<Item = &'e str>, host_fallback: bool) -> Self {
        let mut list = Self {
            host_fallback,
            ..Self::default()
        };
        for entry in entries {
            match understand(entry) {
                Understood::Any => list.any = true,
                Understood::Live(origin) if list.live.contains(&origin) => {}
                Understood::Live(origin) => list.live.push(origin),
                Understood::Dead(dead) => list.dead.push(dead),
                Understood::Nothing => {}
            }
        }
        list
    }

    /// Whether the list holds `"*"`.
    #[must_use]
    pub fn allows_any(&self) -> bool {
        self.any
    }

    /// The entries that can match.
    #[must_use]
    pub fn live(&self) -> &[Origin] {
        &self.live
    }

    /// The entries that never match.
    #[must_use]
    pub fn dead(&self) -> &[DeadEntry] {
        &self.dead
    }

    /// Whether nothing is listed, not even an entry that never matches.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        !self.any && self.live.is_empty() && self.dead.is_empty()
    }

    /// The first rule that lets this origin in, in the order in which the gateway tries them.
    #[must_use]
    pub fn rule(&self, origin: &Origin, around: Around<'_>) -> Option<GatewayRule> {
        if let Some(entry) = self.live.iter().find(|entry| *entry == origin) {
            return Some(GatewayRule::Entry(entry.to_string()));
        }
        if self.any {
            return Some(GatewayRule::Entry("*".to_owned()));
        }
        let same = around
            .host
            .is_some_and(|host| same_host(host, origin.authority()));
        if same && self.host_fallback {
            return Some(GatewayRule::HostFallback);
        }
        if same && is_private(origin, around.local_client) {
            return Some(GatewayRule::SameOrigin);
        }
        (around.local_client && origin.is_loopback()).then_some(GatewayRule::LocalLoopback)
    }
}

/// The gateway compares the whole Host header, port included, as text.
fn same_host(host: &[u8], authority: &str) -> bool {
    host.trim_ascii().eq_ignore_ascii_case(authority.as_bytes())
}

/// Hosts at which a page that talks to its own address cannot have come from a stranger's site:
/// nobody else's DNS can point there. Loopback names prove that only for a client of this machine.
fn is_private(origin: &Origin, local_client: bool) -> bool {
    if origin.is_loopback() {
        return local_client;
    }
    match origin.ip().map(|ip| ip.to_canonical()) {
        Some(IpAddr::V4(ip)) => ip.is_private() || ip.is_link_local() || is_shared(ip),
        Some(IpAddr::V6(ip)) => ip.is_unique_local() || ip.is_unicast_link_local(),
        None => [".local", ".ts.net"]
            .iter()
            .any(|zone| origin.host().ends_with(zone)),
    }
}

/// 100.64.0.0/10 (RFC 6598), where Tailscale's addresses are.
fn is_shared(ip: Ipv4Addr) -> bool {
    let [first, second, ..] = ip.octets();
    first == 100 && second & 0xc0 == 64
}

enum Understood {
    Nothing,
    Any,
    Live(Origin),
    Dead(DeadEntry),
}

/// Reads an entry as the gateway does.
fn understand(entry: &str) -> Understood {
    let text = entry.trim().to_lowercase();
    if text.is_empty() {
        return Understood::Nothing;
    }
    if text == "*" {
        return Understood::Any;
    }
    let (why, meant) = match fault(&text) {
        Ok(origin) => return Understood::Live(origin),
        Err(fault) => fault,
    };
    let shown = if text.contains(['@', '?', '#']) {
        PeerText::new("an entry with more than an origin", SHOWN)
    } else {
        PeerText::new(entry.trim(), SHOWN)
    };
    Understood::Dead(DeadEntry {
        text: shown,
        why,
        meant,
    })
}

/// The origin that a lower-cased entry names, or why no origin ever equals it.
fn fault(text: &str) -> Result<Origin, (Miss, Option<Origin>)> {
    let meant = |text: &str| normalise(text.as_bytes()).ok();
    if text.contains("${") {
        return Err((Miss::Placeholder, None));
    }
    if text.contains('*') {
        return Err((Miss::Wildcard, None));
    }
    match normalise(text.as_bytes()) {
        Ok(origin) if origin.as_str() == text => Ok(origin),
        Ok(origin) => {
            let why = match text.strip_suffix('/') {
                Some(_) => Miss::TrailingSlash,
                // The port is gone and the rest is as it was.
                None if text
                    .strip_prefix(origin.as_str())
                    .is_some_and(|rest| rest.starts_with(':')) =>
                {
                    Miss::DefaultPort
                }
                None => Miss::Spelling,
            };
            Err((why, Some(origin)))
        }
        Err(OriginError::Null) => Err((Miss::Null, None)),
        Err(OriginError::NoScheme) => Err((Miss::Scheme, meant(&format!("https://{text}")))),
        Err(OriginError::Path) => {
            let host_at = text.find("://").map_or(0, |at| at + 3);
            let rest = text.get(host_at..).unwrap_or_default();
            let end = rest.find(['/', '?', '#', '\\']).unwrap_or(rest.len());
            Err((
                Miss::Path,
                meant(text.get(..host_at + end).unwrap_or_default()),
            ))
        }
        Err(OriginError::Userinfo) => {
            let corrected = text
                .split_once("://")
                .and_then(|(scheme, rest)| Some((scheme, rest.rsplit_once('@')?.1)))
                .and_then(|(scheme, host)| meant(&format!("{scheme}://{host}")));
            Err((Miss::Userinfo, corrected))
        }
        Err(OriginError::List) => Err((Miss::List, None)),
        Err(_) => Err((Miss::Invalid, None)),
    }
}

#[cfg(test)]
mod tests;
