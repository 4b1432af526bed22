//! Descriptions of credentials: place, fingerprint and odd form, never the secret itself.

use super::view::{View, fact};
use crate::session::credential::Credential;
use crate::session::record::Evidence;
use crate::session::text::PeerText;

impl<'a> View<'a> {
    /// Credentials of the request that the gateway does not read on a WebSocket.
    pub fn ignored_credentials(&self) -> impl Iterator<Item = &'a Credential> + use<'a> {
        let record: &'a crate::session::SessionRecord = self.record();
        record
            .auth
            .iter()
            .filter(|credential| credential.effective == Some(false))
    }

    /// The gateway's version, from this session's hello-ok or from the latest hello-ok of another
    /// session.
    #[must_use]
    pub fn gateway_version(&self) -> Option<&'a PeerText> {
        let record = self.record();
        let own = record.application().gateway.and_then(|own| own.version);
        own.or_else(|| {
            let context = record.context.as_ref()?;
            let latest = context
                .release
                .as_ref()
                .and_then(|release| release.version.as_ref());
            latest.or_else(|| context.boots.last()?.version.as_ref())
        })
    }

    /// Every credential as evidence.
    #[must_use]
    pub fn credential_evidence(&self) -> Vec<Evidence> {
        let mut all: Vec<Evidence> = self
            .auth
            .iter()
            .take(8)
            .map(|credential| {
                let ignored = match credential.effective {
                    Some(false) => ", a place that the gateway ignores on a WebSocket",
                    _ => "",
                };
                fact(format!(
                    "the client sent {} at {}{ignored}",
                    mark(credential),
                    credential.place
                ))
            })
            .collect();
        if all.is_empty() {
            all.push(fact("the client sent no credential at all"));
        }
        all
    }
}

/// `sha256:1a2b3c4d (48 characters)`, with odd forms.
#[must_use]
pub(crate) fn mark(credential: &Credential) -> String {
    let shapes: Vec<&str> = credential
        .shape
        .iter()
        .map(|shape| shape.as_str())
        .collect();
    let odd = if shapes.is_empty() {
        String::new()
    } else {
        format!(", odd form: {}", shapes.join(" and "))
    };
    let unit = if credential.length == 1 {
        "character"
    } else {
        "characters"
    };
    format!(
        "{} ({} {unit}{odd})",
        credential.fingerprint, credential.length
    )
}
