//! Whether the certificates of a file form a chain.
//!
//! RFC 8446 section 4.4.2: each certificate certifies one that came before it. Some clients correct
//! a wrong order and others do not, so it works in the browser and fails in the command line tool.
//! Several issuers of the same certificate (cross-signing) are fine.

use rustls_pki_types::CertificateDer;
use x509_parser::error::X509Error;
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::config::error::quoted;

/// A certificate that certifies none of those before it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stray {
    /// Its position, counted from 1.
    pub position: usize,
    /// Its subject.
    pub subject: String,
    /// The expected subject: the issuer of the certificate before it.
    pub wanted: String,
}

impl Stray {
    pub(super) fn found(&self) -> String {
        if self.subject == self.wanted {
            format!("{} with another key", quoted(&self.subject))
        } else {
            quoted(&self.subject)
        }
    }
}

/// The first certificate that is out of place. A certificate that cannot be parsed is left to the
/// clients: it may be of a newer kind than we know.
pub(super) fn stray(chain: &[CertificateDer<'_>]) -> Option<Stray> {
    let mut before: Vec<X509Certificate<'_>> = Vec::new();
    for (index, der) in chain.iter().enumerate() {
        let (_, certificate) = X509Certificate::from_der(der).ok()?;
        if let Some(last) = before.last()
            && !before.iter().any(|one| has_issued(&certificate, one))
        {
            return Some(Stray {
                position: index + 1,
                subject: certificate.subject().to_string(),
                wanted: last.issuer().to_string(),
            });
        }
        before.push(certificate);
    }
    None
}

fn has_issued(issuer: &X509Certificate<'_>, one: &X509Certificate<'_>) -> bool {
    issuer.subject().as_raw() == one.issuer().as_raw()
        && !matches!(
            one.verify_signature(Some(issuer.public_key())),
            Err(X509Error::SignatureVerificationError)
        )
}
