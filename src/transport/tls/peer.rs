//! Client certificates: their facts, and the reason why one was refused.

use data_encoding::HEXLOWER;
use jiff::Timestamp;
use rustls::CertificateError;
use rustls_pki_types::CertificateDer;
use sha2::{Digest, Sha256};
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};
use x509_parser::time::ASN1Time;

use crate::session::moment::Moment;
use crate::session::record::{ClientCert, TlsFailureKind};
use crate::session::text::PeerText;

/// Maximum length of a subject, issuer or name that is kept.
const TEXT_CAP: usize = 256;

/// Maximum number of names that are kept.
const NAMES: usize = 8;

/// The facts of a certificate; for one that cannot be parsed, only its fingerprint.
pub(super) fn facts(der: &CertificateDer<'_>) -> ClientCert {
    let sha256 = HEXLOWER.encode(&Sha256::digest(der));
    let Ok((_, certificate)) = X509Certificate::from_der(der) else {
        return ClientCert {
            sha256,
            ..ClientCert::default()
        };
    };
    let names = match certificate.subject_alternative_name() {
        Ok(Some(extension)) => {
            let names = extension.value.general_names.iter();
            names.filter_map(name_text).take(NAMES).collect()
        }
        _ => Vec::new(),
    };
    let validity = certificate.validity();
    ClientCert {
        subject: text(&certificate.subject().to_string()),
        issuer: text(&certificate.issuer().to_string()),
        names,
        sha256,
        not_before: moment(validity.not_before),
        not_after: moment(validity.not_after),
    }
}

fn text(text: &str) -> PeerText {
    PeerText::new(text, TEXT_CAP)
}

fn moment(time: ASN1Time) -> Option<Moment> {
    Timestamp::from_second(time.timestamp()).ok().map(Moment)
}

fn name_text(name: &GeneralName<'_>) -> Option<PeerText> {
    match name {
        GeneralName::DNSName(name) | GeneralName::RFC822Name(name) | GeneralName::URI(name) => {
            Some(text(name))
        }
        GeneralName::IPAddress(bytes) => {
            crate::config::identity::address(bytes).map(|address| text(&address.to_string()))
        }
        _ => None,
    }
}

/// The fault of a client's certificate.
pub(super) fn fault(error: &CertificateError) -> TlsFailureKind {
    match error {
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            TlsFailureKind::ClientCertExpired
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            TlsFailureKind::ClientCertNotYetValid
        }
        CertificateError::UnknownIssuer => TlsFailureKind::ClientCertUnknownCa,
        CertificateError::Revoked => TlsFailureKind::ClientCertRevoked,
        CertificateError::UnknownRevocationStatus => TlsFailureKind::ClientCertRevocationUnknown,
        _ => TlsFailureKind::ClientCertInvalid,
    }
}
