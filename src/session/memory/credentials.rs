//! Which credentials worked lately, and where this session's own came from.

use std::cmp::Reverse;
use std::collections::{HashMap, HashSet};
use std::net::IpAddr;

use super::{MAX_TOLD, Remembered};
use crate::session::moment::Moment;
use crate::session::record::context::{CredentialUse, IssuedToken, OtherCredential};

pub(super) fn other_credentials(others: &[&Remembered], this: &Remembered) -> Vec<OtherCredential> {
    let Some((place, fingerprint)) = &this.credential else {
        return Vec::new();
    };
    // By value: one client may have sent a thousand of them.
    let mut found: HashMap<&str, OtherCredential> = HashMap::new();
    let same_client = others
        .iter()
        .filter(|other| other.client.is_some() && other.client == this.client);
    for other in same_client {
        let Some((its_place, its)) = &other.credential else {
            continue;
        };
        if its_place != place || its == fingerprint {
            continue;
        }
        let known = found.entry(its).or_insert_with(|| OtherCredential {
            fingerprint: its.clone(),
            sessions: 0,
            accepted: false,
            last_at: other.closed_at,
        });
        known.sessions += 1;
        known.accepted |= other.accepted;
        known.last_at = known.last_at.max(other.closed_at);
    }
    let mut found: Vec<OtherCredential> = found.into_values().collect();
    // What works first, then the latest.
    found.sort_by(|a, b| {
        let key = |one: &OtherCredential| (!one.accepted, Reverse(one.last_at));
        let order = key(a).cmp(&key(b));
        order.then_with(|| a.fingerprint.cmp(&b.fingerprint))
    });
    found.truncate(MAX_TOLD);
    found
}

/// Those that were let in with a credential in this session's place.
#[derive(Default)]
struct Used {
    clients: HashSet<IpAddr>,
    sessions: u32,
    last_at: Option<Moment>,
}

impl Used {
    fn add(&mut self, other: &Remembered) {
        self.clients.extend(other.client);
        self.sessions = self.sessions.saturating_add(1);
        self.last_at = self.last_at.max(Some(other.closed_at));
    }

    fn told(&self, fingerprint: &str) -> Option<CredentialUse> {
        Some(CredentialUse {
            fingerprint: fingerprint.to_owned(),
            clients: u32::try_from(self.clients.len()).unwrap_or(u32::MAX),
            sessions: self.sessions,
            last_at: self.last_at?,
        })
    }
}

/// The sessions that were let in with a credential in this place, with its fingerprint.
fn let_in<'a>(
    others: &[&'a Remembered],
    place: &str,
) -> impl Iterator<Item = (&'a str, &'a Remembered)> {
    others.iter().filter_map(move |other| {
        let (its_place, its) = other.credential.as_ref()?;
        (other.accepted && its_place == place).then_some((its.as_str(), *other))
    })
}

pub(super) fn same_credential(others: &[&Remembered], this: &Remembered) -> Option<CredentialUse> {
    let (place, own) = this.credential.as_ref()?;
    let mut used = Used::default();
    let same = let_in(others, place).filter(|(its, _)| its == own);
    same.for_each(|(_, other)| used.add(other));
    used.told(own)
}

pub(super) fn working(others: &[&Remembered], this: &Remembered) -> Option<CredentialUse> {
    let (place, own) = this.credential.as_ref()?;
    let mut by_value: HashMap<&str, Used> = HashMap::new();
    for (its, other) in let_in(others, place).filter(|(its, _)| its != own) {
        by_value.entry(its).or_default().add(other);
    }
    let (its, used) = by_value
        .into_iter()
        .max_by_key(|(its, used)| (used.clients.len(), used.sessions, used.last_at, *its))?;
    used.told(its)
}

pub(super) fn issued(others: &[&Remembered], this: &Remembered) -> Option<IssuedToken> {
    let (_, own) = this.credential.as_ref()?;
    let issuer = others
        .iter()
        .rev()
        .find(|other| other.issued.as_ref() == Some(own))?;
    Some(IssuedToken {
        device: issuer.device.clone(),
        at: issuer.closed_at,
    })
}
