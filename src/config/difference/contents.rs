//! Differences in the files that a configuration names, where their paths are the same. A different
//! first certificate is reported elsewhere, with both fingerprints.

use crate::config::identity::Identity;
use crate::config::listener::{Listener, ListenerTls};
use crate::config::resolved::Config;

/// Keys whose files have different contents, and the difference. `pairs` has the index in `new` of
/// each listener of `old`.
pub(super) fn differences(
    old: &Config,
    new: &Config,
    pairs: &[Option<usize>],
) -> Vec<(String, &'static str)> {
    let mut found = Vec::new();
    for (before, at) in old.listeners.iter().zip(pairs) {
        if let Some((at, after)) = at.and_then(|at| Some((at, new.listeners.get(at)?))) {
            let path = format!("listeners[{at}].tls");
            let all = client_auth(before, after).chain(chains(before, after));
            found.extend(all.map(|(key, text)| (format!("{path}.{key}"), text)));
        }
    }
    if old.gateway.tls().ca() != new.gateway.tls().ca() {
        let text = "the file has different certificates";
        found.push(("gateway.tls.ca".to_owned(), text));
    }
    found
}

fn client_auth(
    old: &Listener,
    new: &Listener,
) -> impl Iterator<Item = (String, &'static str)> + use<> {
    let of = |listener: &Listener| listener.tls.policy()?.client_auth.clone();
    let mut found = Vec::new();
    if let (Some(old), Some(new)) = (of(old), of(new)) {
        if !old.trusts_like(&new) {
            let text = "the file has different certificates";
            found.push(("client_auth.ca".to_owned(), text));
        }
        if !old.refuses_like(&new) {
            let text = "the file has different revocation lists";
            found.push(("client_auth.crl".to_owned(), text));
        }
    }
    found.into_iter()
}

fn chains(old: &Listener, new: &Listener) -> impl Iterator<Item = (String, &'static str)> + use<> {
    let (old, new) = (identities(old), identities(new));
    let differ = |(old, new): (&Identity, &Identity)| {
        old.sha256 == new.sha256 && old.certified.cert != new.certified.cert
    };
    let which: Vec<usize> = (old.iter().zip(new).enumerate())
        .filter(|(_, (old, new))| differ((old, new)))
        .map(|(position, _)| position)
        .collect();
    which.into_iter().map(|position| {
        let text = "the file has different certificates after the first";
        (format!("certificates[{position}].cert"), text)
    })
}

fn identities(listener: &Listener) -> &[Identity] {
    match &listener.tls {
        ListenerTls::Files { identities, .. } => identities,
        ListenerTls::Plain | ListenerTls::SelfSigned { .. } => &[],
    }
}
