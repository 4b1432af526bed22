//! Which credentials worked recently, and who issued this session's own.

use std::cmp::Reverse;
use std::collections::HashMap;

use super::numbers::{Number, Numbers};
use super::remembered::Remembered;
use crate::session::moment::Moment;
use crate::session::record::context::{CredentialUse, IssuedToken, OtherCredential};

/// Maximum number of other credentials and boots that are reported.
pub(super) const MAX_REPORTED: usize = 4;

/// What other sessions show about a session's credential, and about others in the same place.
pub(super) struct Credentials<'a> {
    this: &'a Remembered,
    /// Sessions of the same client with another value.
    of_client: Vec<&'a Remembered>,
    /// Sessions that were let in with the same value.
    same: Used,
    /// Sessions that were let in with another value.
    worked: Vec<&'a Remembered>,
    /// The last session in which the gateway issued this credential.
    issuer: Option<&'a Remembered>,
}

/// Sessions that were let in with one credential.
#[derive(Default)]
struct Used {
    /// With repetitions, but never twice in a row.
    clients: Vec<Number>,
    sessions: u32,
    last_at: Option<Moment>,
}

impl Used {
    fn add(&mut self, other: &Remembered) {
        let last = self.clients.last().copied();
        self.clients
            .extend(other.client.filter(|client| last != Some(*client)));
        self.sessions = self.sessions.saturating_add(1);
        self.last_at = self.last_at.max(Some(other.closed_at));
    }

    /// Removes duplicate clients.
    fn count_clients(mut self) -> Self {
        self.clients.sort_unstable();
        self.clients.dedup();
        self
    }

    fn into_credential_use(self, value: Number, texts: &Numbers<String>) -> Option<CredentialUse> {
        Some(CredentialUse {
            fingerprint: texts.value(value)?.clone(),
            clients: u32::try_from(self.clients.len()).unwrap_or(u32::MAX),
            sessions: self.sessions,
            last_at: self.last_at?,
        })
    }
}

impl<'a> Credentials<'a> {
    pub(super) fn of(this: &'a Remembered) -> Self {
        Self {
            this,
            of_client: Vec::new(),
            same: Used::default(),
            worked: Vec::new(),
            issuer: None,
        }
    }

    pub(super) fn add(&mut self, other: &'a Remembered) {
        let Some((place, own)) = self.this.credential else {
            return;
        };
        if other.issued == Some(own) {
            self.issuer = Some(other);
        }
        let Some((_, its)) = other.credential.filter(|(its, _)| *its == place) else {
            return;
        };
        if its == own {
            if other.accepted {
                self.same.add(other);
            }
            return;
        }
        if other.accepted {
            self.worked.push(other);
        }
        if other.client.is_some() && other.client == self.this.client {
            self.of_client.push(other);
        }
    }

    pub(super) fn other(&self, texts: &Numbers<String>) -> Vec<OtherCredential> {
        // Grouped by value: one client may have sent a thousand of them.
        let mut found: HashMap<Number, OtherCredential> = HashMap::new();
        for other in &self.of_client {
            let Some((_, its)) = other.credential else {
                continue;
            };
            let known = found.entry(its).or_insert_with(|| OtherCredential {
                fingerprint: texts.value(its).cloned().unwrap_or_default(),
                sessions: 0,
                accepted: false,
                last_at: other.closed_at,
            });
            known.sessions += 1;
            known.accepted |= other.accepted;
            known.last_at = known.last_at.max(other.closed_at);
        }
        let mut found: Vec<OtherCredential> = found.into_values().collect();
        // Those that work first, then the latest.
        found.sort_by(|a, b| {
            let key = |one: &OtherCredential| (!one.accepted, Reverse(one.last_at));
            let order = key(a).cmp(&key(b));
            order.then_with(|| a.fingerprint.cmp(&b.fingerprint))
        });
        found.truncate(MAX_REPORTED);
        found
    }

    pub(super) fn same(&mut self, texts: &Numbers<String>) -> Option<CredentialUse> {
        let (_, own) = self.this.credential?;
        std::mem::take(&mut self.same)
            .count_clients()
            .into_credential_use(own, texts)
    }

    pub(super) fn working(&self, texts: &Numbers<String>) -> Option<CredentialUse> {
        let mut by_value: HashMap<Number, Used> = HashMap::new();
        for other in &self.worked {
            let (_, its) = other.credential?;
            by_value.entry(its).or_default().add(other);
        }
        let counted = by_value
            .into_iter()
            .map(|(its, used)| (its, used.count_clients()));
        let (its, used) = counted.max_by_key(|(its, used)| {
            let most = (used.clients.len(), used.sessions, used.last_at);
            (most, texts.value(*its))
        })?;
        used.into_credential_use(its, texts)
    }

    pub(super) fn issued(&self) -> Option<IssuedToken> {
        let issuer = self.issuer?;
        Some(IssuedToken {
            device: issuer.rest.device.clone(),
            at: issuer.closed_at,
        })
    }
}
