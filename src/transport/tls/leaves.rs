//! The facts about a running listener's certificates that metrics, readiness and the log show. A
//! reload swaps in a new set; readers see it at once.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use jiff::Timestamp;

use crate::config::identity::expiry::{self, Stage};
use crate::config::identity::{Identity, KeyKind};
use crate::transport::listening::ListenAddr;

/// Interval at which expiry dates are checked.
const EVERY: Duration = Duration::from_hours(1);

/// Facts about one certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leaf {
    /// Its names.
    pub names: Vec<String>,
    /// Its SHA-256, 64 hexadecimal digits.
    pub sha256: String,
    /// The kind of its key.
    pub kind: KeyKind,
    /// Start of its validity.
    pub not_before: Timestamp,
    /// End of its validity.
    pub not_after: Timestamp,
}

impl Leaf {
    /// The facts about a served certificate.
    #[must_use]
    pub fn of(identity: &Identity) -> Self {
        Self {
            names: identity.names.clone(),
            sha256: identity.sha256_hex(),
            kind: identity.kind,
            not_before: identity.not_before,
            not_after: identity.not_after,
        }
    }
}

/// The certificates that a listener serves now, in their order. Clones share them.
#[derive(Clone, Debug)]
pub struct Leaves(Arc<ArcSwap<Vec<Leaf>>>);

impl Leaves {
    /// Starts with these certificates, until [`Self::swap`].
    #[must_use]
    pub fn new(leaves: Vec<Leaf>) -> Self {
        Self(Arc::new(ArcSwap::from_pointee(leaves)))
    }

    /// The current certificates.
    #[must_use]
    pub fn now(&self) -> Arc<Vec<Leaf>> {
        self.0.load_full()
    }

    /// Replaces them.
    pub fn swap(&self, leaves: Vec<Leaf>) {
        self.0.store(Arc::new(leaves));
    }
}

/// The warning to log when a reload changes certificates. Clients that pin a fingerprint (the
/// OpenClaw command line tool and its nodes can) refuse the new one until it is configured, and
/// report only that it differs. `None` when every certificate is still served.
#[must_use]
pub(crate) fn leaf_change(old: &[Leaf], new: &[Leaf]) -> Option<String> {
    let has = |all: &[Leaf], leaf: &Leaf| all.iter().any(|one| one.sha256 == leaf.sha256);
    let gone: Vec<&Leaf> = old.iter().filter(|leaf| !has(new, leaf)).collect();
    let mut come: Vec<&Leaf> = new.iter().filter(|leaf| !has(old, leaf)).collect();
    if gone.is_empty() {
        return None;
    }
    let mut text = String::from("the certificate changed: ");
    for (index, leaf) in gone.into_iter().enumerate() {
        let separator = if index > 0 { "; " } else { "" };
        // Writing to a `String` cannot fail.
        let _ = write!(
            text,
            "{separator}sha256 {} (for {})",
            leaf.sha256,
            leaf.names.join(", ")
        );
        let after = come
            .iter()
            .position(|one| one.kind == leaf.kind && shares_a_name(leaf, one))
            .or_else(|| come.iter().position(|one| shares_a_name(leaf, one)));
        let _ = match after.map(|position| come.remove(position)) {
            Some(new) => write!(text, " was replaced by sha256 {}", new.sha256),
            None => write!(text, " is gone"),
        };
    }
    for leaf in come {
        let _ = write!(
            text,
            "; new is sha256 {} (for {})",
            leaf.sha256,
            leaf.names.join(", ")
        );
    }
    text.push_str(
        "; clients that pin a fingerprint (OpenClaw: gateway.remote.tlsFingerprint, \
         --tls-fingerprint) refuse the tap until they are given the new one",
    );
    Some(text)
}

fn shares_a_name(one: &Leaf, other: &Leaf) -> bool {
    one.names.iter().any(|name| other.names.contains(name))
        || (one.names.is_empty() && other.names.is_empty())
}

/// Checks hourly for certificates that have reached the next stage before expiry, and logs a
/// warning; never returns. Stages already reached at the start have been reported.
pub(crate) async fn watch(listeners: Vec<(ListenAddr, Leaves)>) {
    let mut reported = ReportedStages::default();
    reported.news(&listeners, Timestamp::now());
    let mut every = tokio::time::interval(EVERY);
    loop {
        every.tick().await;
        for line in reported.news(&listeners, Timestamp::now()) {
            tracing::warn!("{line}");
        }
    }
}

/// The last reported stage of each certificate, by fingerprint.
#[derive(Debug, Default)]
struct ReportedStages(Vec<(String, Stage)>);

impl ReportedStages {
    /// Warnings about certificates that have reached a later stage since the last check.
    fn news(&mut self, listeners: &[(ListenAddr, Leaves)], now: Timestamp) -> Vec<String> {
        let (mut lines, mut seen) = (Vec::new(), Vec::new());
        for (place, leaves) in listeners {
            for leaf in leaves.now().iter() {
                let stage = expiry::stage(leaf.not_before, leaf.not_after, now);
                let before = self.0.iter().find(|(sha256, _)| *sha256 == leaf.sha256);
                let nearer = before.map_or(Stage::Fine, |(_, stage)| *stage) < stage;
                if nearer && let Some(text) = expiry::warning(leaf.not_before, leaf.not_after, now)
                {
                    let names = leaf.names.join(", ");
                    lines.push(format!(
                        "{place}, for {names} (sha256 {}): {text}",
                        leaf.sha256
                    ));
                }
                seen.push((leaf.sha256.clone(), stage));
            }
        }
        self.0 = seen;
        lines
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn leaf(sha256: &str, kind: KeyKind, names: &[&str]) -> Leaf {
        Leaf {
            names: names.iter().map(|name| (*name).to_owned()).collect(),
            sha256: sha256.to_owned(),
            kind,
            not_before: "2026-01-01T00:00:00Z".parse().unwrap(),
            not_after: "2027-01-01T00:00:00Z".parse().unwrap(),
        }
    }

    #[test]
    fn a_new_leaf_is_told_with_both_fingerprints() {
        let (ec, rsa) = (KeyKind::Ecdsa, KeyKind::Rsa);
        let old = [
            leaf("aa", ec, &["gw.example"]),
            leaf("bb", rsa, &["gw.example"]),
        ];
        assert_eq!(leaf_change(&old, &old), None);
        let more = [
            old[0].clone(),
            old[1].clone(),
            leaf("cc", ec, &["new.example"]),
        ];
        assert_eq!(
            leaf_change(&old, &more),
            None,
            "nobody pins what nobody has seen"
        );
        let new = [
            leaf("dd", rsa, &["gw.example"]),
            leaf("ee", ec, &["gw.example", "x"]),
        ];
        assert_eq!(
            leaf_change(&old, &new).unwrap(),
            "the certificate changed: sha256 aa (for gw.example) was replaced by sha256 ee; sha256 bb \
             (for gw.example) was replaced by sha256 dd; clients that pin a fingerprint (OpenClaw: \
             gateway.remote.tlsFingerprint, --tls-fingerprint) refuse the tap until they are given \
             the new one"
        );
        let text = leaf_change(&old, &more[1..]).unwrap();
        assert!(
            text.contains("sha256 aa (for gw.example) is gone; new is sha256 cc (for new.example)"),
            "{text}"
        );
    }

    #[test]
    fn each_step_towards_the_end_is_told_once_and_a_new_certificate_is_seen() {
        let leaves = Leaves::new(vec![leaf("aa", KeyKind::Ecdsa, &["gw.example"])]);
        let place = ListenAddr::Tcp(([127, 0, 0, 1], 8443).into());
        let listeners = [(place, leaves.clone())];
        let mut reported = ReportedStages::default();
        let mut at = |time: &str| reported.news(&listeners, time.parse().unwrap());
        assert!(at("2026-06-01T00:00:00Z").is_empty());
        let first = at("2026-12-20T00:00:00Z");
        assert_eq!(
            first,
            [
                "127.0.0.1:8443, for gw.example (sha256 aa): the certificate expires soon, at \
              2027-01-01T00:00:00Z (12 days left)"
            ]
        );
        assert!(at("2026-12-20T01:00:00Z").is_empty());
        assert_eq!(at("2026-12-26T00:00:00Z").len(), 1);
        assert_eq!(at("2026-12-31T12:00:00Z").len(), 1);
        assert!(at("2027-01-01T12:00:00Z")[0].contains("the certificate expired at"));
        let mut fresh = leaf("bb", KeyKind::Ecdsa, &["gw.example"]);
        fresh.not_after = "2028-01-01T00:00:00Z".parse().unwrap();
        leaves.swap(vec![fresh]);
        assert!(at("2027-01-01T13:00:00Z").is_empty());
        assert_eq!(at("2027-12-20T00:00:00Z").len(), 1);
    }
}
