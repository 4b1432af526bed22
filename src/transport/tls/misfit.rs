//! Why none of our certificates suits a client: a missing key type on our side, or nothing usable
//! from the client.

use std::collections::BTreeSet;
use std::fmt;

use rustls::SignatureScheme;
use rustls::server::ClientHello;

use crate::config::identity::{Identity, KeyKind};
use crate::crypto;
use crate::session::record::TlsFailureKind;

/// Signature schemes that we could use with a matching key (`crypto::signing_key`).
const SIGNABLE: [(SignatureScheme, KeyKind); 9] = [
    (SignatureScheme::ECDSA_NISTP256_SHA256, KeyKind::Ecdsa),
    (SignatureScheme::ECDSA_NISTP384_SHA384, KeyKind::Ecdsa),
    (SignatureScheme::ED25519, KeyKind::Ed25519),
    (SignatureScheme::RSA_PSS_SHA256, KeyKind::Rsa),
    (SignatureScheme::RSA_PSS_SHA384, KeyKind::Rsa),
    (SignatureScheme::RSA_PSS_SHA512, KeyKind::Rsa),
    (SignatureScheme::RSA_PKCS1_SHA256, KeyKind::Rsa),
    (SignatureScheme::RSA_PKCS1_SHA384, KeyKind::Rsa),
    (SignatureScheme::RSA_PKCS1_SHA512, KeyKind::Rsa),
];

/// A client that supports no key type of our certificates for its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Misfit {
    /// The client supports other key types: a further certificate would fix this.
    Keys {
        /// Key types that the client supports.
        takes: BTreeSet<KeyKind>,
        /// Key types that we have for the name.
        ours: BTreeSet<KeyKind>,
    },
    /// The client supports no signature scheme that any of our key types could use.
    Nothing,
}

impl Misfit {
    /// The misfit for a client whose offer matches none of `ours`. `None` if there is no common
    /// cipher suite: rustls passes only the schemes that fit the common suites, and then there are
    /// none.
    pub(super) fn of(hello: &ClientHello<'_>, ours: &[&Identity]) -> Option<Self> {
        let provider = crypto::provider();
        let has_suite = provider
            .cipher_suites
            .iter()
            .any(|suite| hello.cipher_suites().contains(&suite.suite()));
        if !has_suite {
            return None;
        }
        let offered = hello.signature_schemes();
        let takes: BTreeSet<KeyKind> = SIGNABLE
            .iter()
            .filter(|(scheme, _)| offered.contains(scheme))
            .map(|(_, kind)| *kind)
            .collect();
        Some(if takes.is_empty() {
            Self::Nothing
        } else {
            let ours = ours.iter().map(|own| own.kind).collect();
            Self::Keys { takes, ours }
        })
    }

    /// The failure kind for the record.
    pub(super) fn kind(&self) -> TlsFailureKind {
        match self {
            Self::Keys { .. } => TlsFailureKind::CertificateKey,
            Self::Nothing => TlsFailureKind::SignatureScheme,
        }
    }
}

impl fmt::Display for Misfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Keys { takes, ours } => write!(
                f,
                "the client takes certificates with {} keys, and ours for its name have {} keys",
                named(takes),
                named(ours)
            ),
            Self::Nothing => f.write_str(
                "the client supports no signature scheme that any kind of certificate could use",
            ),
        }
    }
}

fn named(kinds: &BTreeSet<KeyKind>) -> String {
    let names: Vec<String> = kinds.iter().map(ToString::to_string).collect();
    names.join(" or ")
}
