//! The list entry that a refused origin nearly matched, and why it did not.
//!
//! Most refusals are one detail away from an entry: a scheme, a port, a slash. Naming that detail
//! saves a search, and naming an origin that only looks like an entry
//! (`claw.example.com.evil.example`) warns of it.

use super::gateway::DeadEntry;
use super::{Origin, OriginError, normalise};
use crate::session::record::{Miss, NearestEntry};
use crate::session::text::PeerText;

/// Maximum number of entries that are compared: the work for one request is bounded.
const MOST: usize = 256;

/// Maximum length of an entry, and of a sentence, that is kept.
const SHOWN: usize = 300;

/// Hosts longer than this are not compared letter by letter.
const LONG: usize = 64;

/// The entries that an origin is compared with.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Entries<'a> {
    /// Our list.
    pub ours: &'a [Origin],
    /// The gateway's entries that can match.
    pub live: &'a [Origin],
    /// The gateway's entries that never match.
    pub dead: &'a [DeadEntry],
    /// One of the lists holds `"*"`.
    pub any: bool,
}

impl<'a> Entries<'a> {
    fn live(self) -> impl Iterator<Item = &'a Origin> {
        self.ours.iter().chain(self.live).take(MOST)
    }

    fn dead(self) -> impl Iterator<Item = &'a DeadEntry> {
        self.dead.iter().take(MOST)
    }
}

/// The nearest entry of an origin that no entry allows.
#[must_use]
pub(crate) fn of_origin(origin: &Origin, entries: Entries<'_>) -> Option<NearestEntry> {
    let live = entries
        .live()
        .filter_map(|entry| Some((rank(origin, entry)?, entry.as_str(), entry)))
        .map(|((rank, why), text, entry)| (rank, said(text, why, &words(origin, entry, why))));
    let dead = entries.dead().filter_map(|entry| of_dead(origin, entry));
    live.chain(dead)
        .min_by_key(|(rank, _)| *rank)
        .map(|(_, found)| found)
}

/// The nearest entry of a value that is not an origin.
#[must_use]
pub(crate) fn of_error(
    raw: &[u8],
    error: OriginError,
    entries: Entries<'_>,
) -> Option<NearestEntry> {
    let exact = |value: &[u8]| {
        let origin = normalise(value).ok()?;
        entries.live().find(|entry| **entry == origin)
    };
    match error {
        OriginError::Null => {
            let dead = entries.dead().find(|dead| dead.why == Miss::Null);
            let entry = match dead {
                Some(dead) => dead.text.as_str(),
                None if entries.any => "*",
                None => return None,
            };
            let why = "`null` is what any sandboxed frame or file sends: no entry covers it";
            Some(said(entry, Miss::Null, why))
        }
        OriginError::Userinfo => {
            // `https://claw.example.com@evil.example` is a page of evil.example.
            let text = std::str::from_utf8(raw).ok()?.trim();
            let (before, _) = text.rsplit_once('@')?;
            let entry = exact(before.as_bytes())?;
            let why = "the part before the @ is a user name; the host comes after it";
            Some(said(entry.as_str(), Miss::Userinfo, why))
        }
        OriginError::Path => {
            let text = std::str::from_utf8(raw).ok()?.trim();
            let host_at = text.find("://")? + 3;
            let end = text.get(host_at..)?.find(['/', '?', '#', '\\'])? + host_at;
            let entry = exact(text.get(..end)?.as_bytes())?;
            let why = "an origin has no path; browsers never send one";
            Some(said(entry.as_str(), Miss::Path, why))
        }
        OriginError::NoScheme => {
            let text = std::str::from_utf8(raw).ok()?.trim();
            let wanted = |entry: &&Origin| entry.authority().eq_ignore_ascii_case(text);
            let entry = entries.live().find(wanted)?;
            let why = format!("the scheme is missing: {}://", entry.scheme());
            Some(said(entry.as_str(), Miss::Scheme, &why))
        }
        OriginError::List => {
            let mut parts = raw.split(|byte| matches!(byte, b' ' | b','));
            let entry = parts.find_map(exact)?;
            let why = "it is one of several in the header; a browser sends one";
            Some(said(entry.as_str(), Miss::List, why))
        }
        // Raw letters of another alphabet: as the browser would have sent them.
        OriginError::Bytes => of_origin(&normalise(raw).ok()?, entries),
        _ => None,
    }
}

fn said(entry: &str, why: Miss, text: &str) -> NearestEntry {
    NearestEntry {
        entry: PeerText::new(entry, SHOWN),
        why,
        text: PeerText::new(text, SHOWN),
    }
}

/// How near an entry is (lower is nearer) and what the difference is.
fn rank(origin: &Origin, entry: &Origin) -> Option<(u8, Miss)> {
    let scheme = origin.scheme() != entry.scheme();
    let port = origin.port() != entry.port();
    // Other parts may differ besides the host: such an entry is a little farther away.
    let beside = u8::from(scheme) + u8::from(port);
    let (host, other) = (origin.host(), entry.host());
    if origin == entry {
        // Only as raw letters, which is why it was refused.
        return Some((0, Miss::Spelling));
    }
    if host == other {
        // Another scheme means another default port; the scheme is the cause.
        return Some(if scheme {
            (beside, Miss::Scheme)
        } else {
            (1, Miss::Port)
        });
    }
    let why = different_host(origin, entry)?;
    let base = match why {
        Miss::TrailingDot => 0,
        Miss::HostAlias => 10,
        Miss::LookAlike => 20,
        Miss::Prefix | Miss::Suffix => 30,
        Miss::Subdomain => 40,
        _ => 50,
    };
    Some((base + beside, why))
}

fn different_host(origin: &Origin, entry: &Origin) -> Option<Miss> {
    let (host, other) = (origin.host(), entry.host());
    if host.trim_end_matches('.') == other.trim_end_matches('.') {
        return Some(Miss::TrailingDot);
    }
    if origin.is_loopback() && entry.is_loopback() {
        return Some(Miss::HostAlias);
    }
    if looks_alike(host, other) {
        return Some(Miss::LookAlike);
    }
    let name = |origin: &Origin| origin.ip().is_none() && origin.host().contains('.');
    if name(entry) {
        if host.starts_with(other) {
            return Some(Miss::Prefix);
        }
        if let Some(front) = host.strip_suffix(other) {
            return Some(if front.ends_with('.') {
                Miss::Subdomain
            } else {
                Miss::Suffix
            });
        }
        if name(origin)
            && other
                .strip_suffix(host)
                .is_some_and(|front| front.ends_with('.'))
        {
            return Some(Miss::Subdomain);
        }
    }
    is_similar(host, other).then_some(Miss::Similar)
}

/// Whether all labels are the same, except international ones whose ASCII letters all occur, in
/// order, in their counterpart: `xn--clw-8cd` (`clаw` with a Cyrillic а) and `claw`.
fn looks_alike(host: &str, other: &str) -> bool {
    let (mut ours, mut theirs) = (host.split('.'), other.split('.'));
    let mut alike = false;
    loop {
        match (ours.next(), theirs.next()) {
            (None, None) => return alike,
            (Some(one), Some(two)) if one == two => {}
            (Some(one), Some(two)) => {
                let Some(plain) = one.strip_prefix("xn--").and_then(plain_letters) else {
                    return false;
                };
                let mut letters = two.chars();
                if !plain.chars().all(|c| letters.any(|letter| letter == c)) {
                    return false;
                }
                alike = true;
            }
            _ => return false,
        }
    }
}

/// The ASCII letters of a punycode label (RFC 3492 section 3.1): those before its last hyphen. A
/// label without any does not show what it looks like.
fn plain_letters(label: &str) -> Option<&str> {
    let (plain, _) = label.rsplit_once('-')?;
    (plain.chars().count() > 1).then_some(plain)
}

/// Whether the hosts differ by a typing error: one or two letters.
fn is_similar(host: &str, other: &str) -> bool {
    let least = host.len().min(other.len());
    if host.len().max(other.len()) > LONG || least < 6 || host.len().abs_diff(other.len()) > 2 {
        return false;
    }
    strsim::levenshtein(host, other) <= if least < 12 { 1 } else { 2 }
}

fn words(origin: &Origin, entry: &Origin, why: Miss) -> String {
    let port = |origin: &Origin| {
        origin.port().map_or_else(
            || "the default port".to_owned(),
            |port| format!("port {port}"),
        )
    };
    let what = match why {
        Miss::Scheme => format!(
            "the scheme differs: {} in the origin, {} in the entry",
            origin.scheme(),
            entry.scheme()
        ),
        Miss::Port => format!(
            "the port differs: {} in the origin, {} in the entry",
            port(origin),
            port(entry)
        ),
        Miss::Spelling => {
            "the origin came as raw Unicode; browsers send the entry's punycode".to_owned()
        }
        Miss::TrailingDot => "only one of the two host names ends with a dot".to_owned(),
        Miss::HostAlias => format!(
            "{} and {} are the same machine, but different origins",
            origin.host(),
            entry.host()
        ),
        Miss::Subdomain => "one host is below the other; each needs an entry of its own".to_owned(),
        Miss::Prefix => {
            "its host only begins like the entry's and belongs to another domain".to_owned()
        }
        Miss::Suffix => "its host only ends like the entry's, with no dot between".to_owned(),
        Miss::LookAlike => {
            "its host has letters of another alphabet that look like the entry's".to_owned()
        }
        _ => "a few letters of the host differ".to_owned(),
    };
    if matches!(why, Miss::Scheme | Miss::Port) {
        // The host is the same.
        return if why == Miss::Scheme && origin.port() != entry.port() {
            format!("{what}, and so does the port")
        } else {
            what
        };
    }
    match (
        origin.scheme() != entry.scheme(),
        origin.port() != entry.port(),
    ) {
        (false, false) => what,
        (true, false) => format!("{what}; the scheme differs too"),
        (false, true) => format!("{what}; the port differs too"),
        (true, true) => format!("{what}; scheme and port differ too"),
    }
}

/// An entry of the gateway's that never matches, if it was meant for this origin.
fn of_dead(origin: &Origin, dead: &DeadEntry) -> Option<(u8, NearestEntry)> {
    let text = dead.text.as_str();
    if dead.why == Miss::Wildcard {
        let (front, back) = text.split_once('*')?;
        let fits = |front: &str| {
            origin.as_str().starts_with(&front.to_lowercase())
                && origin.as_str().ends_with(&back.to_lowercase())
        };
        let why = "the gateway knows no wildcard except \"*\" alone: each host needs an entry";
        return fits(front).then(|| (5, said(text, Miss::Wildcard, why)));
    }
    if dead.meant.as_ref() != Some(origin) {
        return None;
    }
    let why = match dead.why {
        Miss::TrailingSlash => "the entry ends with a slash, so the gateway never matches it",
        Miss::DefaultPort => "the entry names the default port, which browsers leave out",
        Miss::Path => "the entry has more than an origin, so the gateway never matches it",
        Miss::Scheme => "the entry has no scheme, so the gateway never matches it",
        Miss::Userinfo => "the entry has a user name, so the gateway never matches it",
        _ => "the entry is not written as browsers write it, so the gateway never matches it",
    };
    Some((0, said(text, dead.why, why)))
}
