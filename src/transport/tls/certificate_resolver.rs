//! Chooses the certificate for a client: by the requested name (SNI), then by the key types that
//! the client supports.

use std::collections::HashMap;

use rustls::SignatureScheme;

use crate::config::identity::{Identity, names};
use crate::session::record::SniMatch;

/// The certificates of a listener by name.
#[derive(Debug)]
pub(super) struct CertificateResolver {
    identities: Vec<Identity>,
    /// Indices into `identities`, the preferred kind of key first.
    exact: HashMap<String, Vec<usize>>,
    /// The same, by the part of the name after the star.
    wildcard: HashMap<String, Vec<usize>>,
    defaults: Vec<usize>,
}

impl CertificateResolver {
    pub(super) fn new(identities: Vec<Identity>) -> Self {
        let mut exact: HashMap<String, Vec<usize>> = HashMap::new();
        let mut wildcard: HashMap<String, Vec<usize>> = HashMap::new();
        let mut order: Vec<(usize, &Identity)> = identities.iter().enumerate().collect();
        // A stable sort: of two identities with the same kind, the first entry wins.
        order.sort_by_key(|(_, identity)| identity.kind);
        for (position, identity) in order {
            for name in names::asked_for(identity) {
                match names::wildcard(&name) {
                    Some(parent) => wildcard
                        .entry(parent.to_owned())
                        .or_default()
                        .push(position),
                    None => exact.entry(name).or_default().push(position),
                }
            }
        }
        Self {
            defaults: names::defaults(&identities),
            identities,
            exact,
            wildcard,
        }
    }

    pub(super) fn identities(&self) -> &[Identity] {
        &self.identities
    }

    /// The certificates that may be shown for a name, best first, and how the name matched.
    pub(super) fn candidates(&self, name: &str) -> (SniMatch, Vec<usize>) {
        let name = names::normal(name);
        let exact = self.exact.get(&name);
        let parent = name.split_once('.').filter(|(label, _)| !label.is_empty());
        let wildcard = parent.and_then(|(_, parent)| self.wildcard.get(parent));
        let found: Vec<usize> = exact
            .into_iter()
            .chain(wildcard)
            .flatten()
            .copied()
            .collect();
        match (exact, wildcard) {
            (Some(_), _) => (SniMatch::Exact, found),
            (None, Some(_)) => (SniMatch::Wildcard, found),
            (None, None) => (SniMatch::Default, self.defaults.clone()),
        }
    }

    /// The certificate for a client; `None` if the client supports none of our key types.
    pub(super) fn choose(
        &self,
        name: Option<&str>,
        schemes: &[SignatureScheme],
    ) -> Option<(usize, &Identity)> {
        self.for_name(name).find(|(_, identity)| {
            let key = &identity.certified.key;
            key.choose_scheme(schemes).is_some()
        })
    }

    /// The certificates for a name, best first.
    pub(super) fn for_name(&self, name: Option<&str>) -> impl Iterator<Item = (usize, &Identity)> {
        let candidates = match name {
            Some(name) => self.candidates(name).1,
            None => self.defaults.clone(),
        };
        candidates.into_iter().filter_map(|position| {
            let identity = self.identities.get(position)?;
            Some((position, identity))
        })
    }

    /// Whether `host` has a different certificate from `name`, which the connection asked for: then
    /// the request belongs on a separate connection.
    pub(super) fn sends_elsewhere(&self, name: &str, host: &str) -> bool {
        let shown = self.candidates(name).1;
        let covered = shown
            .iter()
            .filter_map(|position| self.identities.get(*position))
            .flat_map(|identity| &identity.names)
            .any(|pattern| names::covers(pattern, host));
        !covered && shown != self.candidates(host).1
    }
}
