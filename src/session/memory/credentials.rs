//! Which credentials worked lately, and where this session's own came from.

use std::net::IpAddr;

use super::{MAX_TOLD, Remembered};
use crate::session::record::context::{CredentialUse, IssuedToken, OtherCredential};

pub(super) fn other_credentials(others: &[&Remembered], this: &Remembered) -> Vec<OtherCredential> {
    let Some((place, fingerprint)) = &this.credential else {
        return Vec::new();
    };
    let mut found: Vec<OtherCredential> = Vec::new();
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
        match found.iter_mut().find(|known| known.fingerprint == *its) {
            Some(known) => {
                known.sessions += 1;
                known.accepted |= other.accepted;
                known.last_at = known.last_at.max(other.closed_at);
            }
            None => found.push(OtherCredential {
                fingerprint: its.clone(),
                sessions: 1,
                accepted: other.accepted,
                last_at: other.closed_at,
            }),
        }
    }
    // What works first, then the latest.
    found.sort_by_key(|one| (!one.accepted, std::cmp::Reverse(one.last_at)));
    found.truncate(MAX_TOLD);
    found
}

/// How many were let in with a credential in this session's place.
fn used(others: &[&Remembered], place: &str, fingerprint: &str) -> Option<CredentialUse> {
    let let_in: Vec<&&Remembered> = others
        .iter()
        .filter(|other| {
            let same =
                |(its_place, its): &(String, String)| its_place == place && its == fingerprint;
            other.accepted && other.credential.as_ref().is_some_and(same)
        })
        .collect();
    let mut clients: Vec<IpAddr> = let_in.iter().filter_map(|other| other.client).collect();
    clients.sort_unstable();
    clients.dedup();
    Some(CredentialUse {
        fingerprint: fingerprint.to_owned(),
        clients: u32::try_from(clients.len()).unwrap_or(u32::MAX),
        sessions: u32::try_from(let_in.len()).unwrap_or(u32::MAX),
        last_at: let_in.iter().map(|other| other.closed_at).max()?,
    })
}

pub(super) fn same_credential(others: &[&Remembered], this: &Remembered) -> Option<CredentialUse> {
    let (place, fingerprint) = this.credential.as_ref()?;
    used(others, place, fingerprint)
}

pub(super) fn working(others: &[&Remembered], this: &Remembered) -> Option<CredentialUse> {
    let (place, own) = this.credential.as_ref()?;
    let mut prints: Vec<&str> = others
        .iter()
        .filter(|other| other.accepted)
        .filter_map(|other| other.credential.as_ref())
        .filter(|(its_place, its)| its_place == place && its != own)
        .map(|(_, its)| its.as_str())
        .collect();
    prints.sort_unstable();
    prints.dedup();
    prints
        .into_iter()
        .filter_map(|print| used(others, place, print))
        .max_by_key(|used| (used.clients, used.sessions, used.last_at))
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
