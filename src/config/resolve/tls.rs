//! The certificates that a listener shows, and what it requires: the versions of TLS, client
//! certificates.

use super::Resolver;
use crate::config::error::ConfigError;
use crate::config::identity::{self, Identity, names};
use crate::config::listener::policy::{ClientAuth, TlsPolicy};
use crate::config::listener::{ListenerTls, default_names};
use crate::config::scalar::Scalar;
use crate::config::schema::{
    At, CertificateSchema, ClientAuthSchema, ListenerTlsSchema, SelfSignedSchema,
};

impl Resolver<'_> {
    pub(super) fn listener_tls(&mut self, section: At<ListenerTlsSchema>) -> Option<ListenerTls> {
        let At { spot, value } = section;
        let policy = self.tls_policy(value.min_version, value.client_auth);
        let expected = "exactly one of `self_signed` and `certificates`";
        match (value.self_signed, value.certificates) {
            (Some(self_signed), None) => {
                let names = self.self_signed(self_signed)?;
                policy.map(|policy| ListenerTls::SelfSigned { names, policy })
            }
            (None, Some(certificates)) => {
                let identities = self.certificates(certificates)?;
                policy.map(|policy| ListenerTls::Files { identities, policy })
            }
            (Some(_), Some(certificates)) => {
                self.certificates(certificates);
                self.errors.push(ConfigError::at(&spot, expected, "both"));
                None
            }
            (None, None) => {
                let incomplete = ["self_signed", "certificates"]
                    .iter()
                    .any(|key| self.lost.contains(&format!("{}.{key}", spot.key_path)));
                if !incomplete {
                    self.errors
                        .push(ConfigError::at(&spot, expected, "neither"));
                }
                None
            }
        }
    }

    fn tls_policy(
        &mut self,
        min_version: Option<Scalar<crate::config::MinVersion>>,
        client_auth: Option<At<ClientAuthSchema>>,
    ) -> Option<TlsPolicy> {
        let client_auth = match client_auth {
            Some(section) => Some(self.client_auth(section)?),
            None => None,
        };
        Some(TlsPolicy {
            min_version: min_version
                .map(|Scalar(version)| version)
                .unwrap_or_default(),
            client_auth,
            // Set when the listener is built: it is not a key of a listener.
            http2: false,
        })
    }

    fn client_auth(&mut self, section: At<ClientAuthSchema>) -> Option<ClientAuth> {
        let At { spot, value } = section;
        let expected = "the path of the CA that signs clients' certificates";
        let ca = self.required(&spot, "ca", expected, value.ca);
        let ca = ca.and_then(|ca| self.path(ca));
        let roots = ca.as_ref().and_then(|ca| self.file(ca, identity::roots));
        let crl_spot = value.crl.as_ref().map(|crl| crl.spot.clone());
        let crls = match value.crl {
            Some(crl) => self
                .path(crl)
                .and_then(|crl| self.file(&crl, identity::revocations)),
            None => Some(Vec::new()),
        };
        // If the library rejects valid PEM, the mistake is in the revocation lists: the roots have
        // already been checked.
        let blamed = crl_spot.unwrap_or(spot);
        ClientAuth::new(value.mode.unwrap_or_default(), roots?, crls?)
            .map_err(|found| {
                let expected = "revocation lists that can be read";
                self.errors.push(ConfigError::at(&blamed, expected, found));
            })
            .ok()
    }

    fn self_signed(&mut self, section: SelfSignedSchema) -> Option<Vec<String>> {
        let Some(names) = section.names else {
            return Some(default_names());
        };
        if names.value.is_empty() {
            // An entry that was refused has been reported and is no longer in the list.
            if !self.lost.contains(&format!("{}[0]", names.spot.key_path)) {
                self.errors.push(ConfigError::at(
                    &names.spot,
                    "at least one name",
                    "an empty list",
                ));
            }
            return None;
        }
        Some(names.value.iter().map(|Scalar(name)| name.text()).collect())
    }

    fn certificates(&mut self, section: At<Vec<At<CertificateSchema>>>) -> Option<Vec<Identity>> {
        let At { spot, value } = section;
        if value.is_empty() {
            if !self.lost.contains(&format!("{}[0]", spot.key_path)) {
                let expected = "at least one entry with `cert` and `key`";
                self.errors
                    .push(ConfigError::at(&spot, expected, "an empty list"));
            }
            return None;
        }
        let wanted = value.len();
        let spots: Vec<_> = value.iter().map(|entry| entry.spot.clone()).collect();
        let identities: Vec<Identity> = value
            .into_iter()
            .filter_map(|entry| self.identity(entry))
            .collect();
        if identities.len() < wanted {
            return None;
        }
        for clash in names::clashes(&identities) {
            if let (true, Some(spot)) = (clash.never_chosen, spots.get(clash.position)) {
                let expected =
                    "a certificate for a name, or with a kind of key, that no entry before has";
                let kind = identities.get(clash.position).map(|identity| identity.kind);
                let kind = kind.map(|kind| kind.to_string()).unwrap_or_default();
                let found = if clash.names.is_empty() {
                    "one that no client can ask for: it has no DNS name".to_owned()
                } else {
                    format!(
                        "one with a key of the same kind ({kind}) for {}, which `certificates[{}]` has already",
                        clash.names.join(", "),
                        clash.earlier
                    )
                };
                self.errors.push(ConfigError::at(spot, expected, found));
            }
        }
        Some(identities)
    }

    fn identity(&mut self, section: At<CertificateSchema>) -> Option<Identity> {
        let At { spot, value } = section;
        let cert = self.required(&spot, "cert", "the path of a certificate", value.cert);
        let key = self.required(&spot, "key", "the path of a private key", value.key);
        let cert = cert.and_then(|cert| self.path(cert));
        let key = key.and_then(|key| self.path(key));
        let chain = cert
            .as_ref()
            .and_then(|cert| self.file(cert, identity::chain));
        let signing_key = key
            .as_ref()
            .and_then(|key| self.file(key, identity::signing_key));
        let (cert, key) = (cert?, key?);
        match Identity::join(chain?, signing_key?, (&cert.value, &key.value)) {
            Ok(identity) => Some(identity),
            Err(error) => {
                let spot = if error.role() == identity::Role::Key {
                    &key
                } else {
                    &cert
                };
                self.errors.push(error.complaint().at(&spot.spot));
                None
            }
        }
    }
}
