//! Which server names (SNI, RFC 6066 section 3) a certificate is for, and which certificate is used
//! if several are for the same name.
//!
//! Names are compared as in RFC 6125 section 6.4: without regard to case, and with `*` for exactly
//! one whole label, the first one. SNI never contains addresses.

use std::collections::BTreeSet;
use std::net::IpAddr;

use super::{Identity, KeyKind};

/// The form in which names are compared: lower case, no dot at the end.
#[must_use]
pub fn normal(name: &str) -> String {
    name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase()
}

/// Whether two names are for different hosts.
#[must_use]
pub fn differ(one: &str, other: &str) -> bool {
    normal(one) != normal(other)
}

/// The part after `*.` if a certificate's name is a wildcard.
#[must_use]
pub fn wildcard(pattern: &str) -> Option<&str> {
    pattern.strip_prefix("*.").filter(|rest| !rest.is_empty())
}

/// Whether a certificate's name covers this one; neither needs to be normalised.
#[must_use]
pub fn covers(pattern: &str, name: &str) -> bool {
    let (pattern, name) = (normal(pattern), normal(name));
    match wildcard(&pattern) {
        Some(parent) => name
            .split_once('.')
            .is_some_and(|(label, rest)| !label.is_empty() && rest == parent),
        None => pattern == name,
    }
}

/// The names of a certificate that a client can ask for by SNI.
pub fn asked_for(identity: &Identity) -> impl Iterator<Item = String> {
    identity
        .names
        .iter()
        .filter(|name| name.parse::<IpAddr>().is_err())
        .map(|name| normal(name))
}

/// The certificates for a client that asks for no name, or for one that no certificate has: the
/// first, then those that share a name with it and have another type of key.
#[must_use]
pub fn defaults(identities: &[Identity]) -> Vec<usize> {
    let Some(first) = identities.first() else {
        return Vec::new();
    };
    let names: BTreeSet<String> = first.names.iter().map(|name| normal(name)).collect();
    let mut kinds = vec![first.kind];
    let mut chosen = vec![0];
    for (index, other) in identities.iter().enumerate().skip(1) {
        let shares = other.names.iter().any(|name| names.contains(&normal(name)));
        if shares && !kinds.contains(&other.kind) {
            kinds.push(other.kind);
            chosen.push(index);
        }
    }
    chosen
}

/// Names of a certificate that have no effect, because an earlier certificate with the same type of
/// key has them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Clash {
    /// Position of the certificate, counted from 0.
    pub position: usize,
    /// The first earlier certificate that has one of the names.
    pub earlier: usize,
    /// The names.
    pub names: Vec<String>,
    /// Whether no client can ever get this certificate.
    pub never_chosen: bool,
}

/// Every certificate of a listener that clashes with an earlier one.
#[must_use]
pub fn clashes(identities: &[Identity]) -> Vec<Clash> {
    let defaults = defaults(identities);
    let mut taken: Vec<(String, KeyKind, usize)> = Vec::new();
    let mut clashes = Vec::new();
    for (position, identity) in identities.iter().enumerate() {
        let (mut lost, mut won, mut earlier) = (Vec::new(), Vec::new(), position);
        for name in asked_for(identity) {
            let by = taken
                .iter()
                .find(|(other, kind, _)| *other == name && *kind == identity.kind);
            match by {
                // One certificate may name the same host twice.
                Some((_, _, by)) if *by != position => {
                    earlier = earlier.min(*by);
                    lost.push(name);
                }
                _ => {
                    taken.push((name.clone(), identity.kind, position));
                    won.push(name);
                }
            }
        }
        let never_chosen = won.is_empty() && !defaults.contains(&position);
        if never_chosen || !lost.is_empty() {
            clashes.push(Clash {
                position,
                earlier: if earlier == position { 0 } else { earlier },
                names: lost,
                never_chosen,
            });
        }
    }
    clashes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_is_one_whole_label() {
        for (pattern, name) in [
            ("claw.example", "CLAW.example."),
            ("*.claw.example", "a.claw.EXAMPLE"),
            ("*.claw.example.", "a.claw.example"),
        ] {
            assert!(covers(pattern, name), "{pattern} {name}");
        }
        for (pattern, name) in [
            ("*.claw.example", "claw.example"),
            ("*.claw.example", ".claw.example"),
            ("*.claw.example", "a.b.claw.example"),
            ("a*.claw.example", "ab.claw.example"),
            ("*", "claw"),
            ("*.", "claw."),
            ("claw.example", "a.claw.example"),
        ] {
            assert!(!covers(pattern, name), "{pattern} {name}");
        }
    }
}
