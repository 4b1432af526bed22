//! A certificate with its key, checked before any listener uses it.
//!
//! A server that starts with the key of another certificate fails later, once for each client and
//! with an alert that names neither file. So every possible mistake is distinguished here. PEM as
//! in RFC 7468; keys in PKCS#8, PKCS#1 or SEC1.

mod contents;
mod error;
pub mod expiry;
pub mod names;
mod order;

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;

use data_encoding::HEXLOWER;
use jiff::Timestamp;
use rustls::RootCertStore;
use rustls::sign::{CertifiedKey, SigningKey};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer};
use sha2::{Digest, Sha256};
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};
use zeroize::Zeroizing;

use crate::crypto;
use crate::session::record::{SelfMade, SelfMadeKind};

pub use self::contents::Contents;
pub use self::error::{Fault, IdentityError, Role};
pub use self::order::Stray;

/// Larger files are not certificates or keys.
const MAX_BYTES: u64 = 1024 * 1024;

/// A certificate chain with the key of its first certificate.
#[derive(Clone)]
pub struct Identity {
    /// The certificate chain and key for rustls.
    pub certified: Arc<CertifiedKey>,
    /// SHA-256 of the first certificate's DER, as used for pins and shown by browsers.
    pub sha256: [u8; 32],
    /// Start of the validity of the first certificate.
    pub not_before: Timestamp,
    /// End of the validity of the first certificate.
    pub not_after: Timestamp,
    /// Its subject alternative names (DNS names and IP addresses), in the order of the certificate.
    pub names: Vec<String>,
    /// The type of its key.
    pub kind: KeyKind,
    /// Why no client trusts it by default; `None` if another CA issued it.
    pub self_made: Option<Box<SelfMade>>,
}

/// The type of a certificate's key; a client lists the types that it supports. In order of
/// preference.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum KeyKind {
    /// ECDSA, on any curve.
    Ecdsa,
    /// Ed25519.
    Ed25519,
    /// RSA.
    Rsa,
}

impl fmt::Display for KeyKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ecdsa => "ECDSA",
            Self::Ed25519 => "Ed25519",
            Self::Rsa => "RSA",
        })
    }
}

impl KeyKind {
    fn of(key: &dyn SigningKey) -> Self {
        match key.algorithm() {
            rustls::SignatureAlgorithm::RSA => Self::Rsa,
            rustls::SignatureAlgorithm::ED25519 => Self::Ed25519,
            _ => Self::Ecdsa,
        }
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity")
            .field("names", &self.names)
            .field("sha256", &self.sha256_hex())
            .field("not_after", &self.not_after)
            .finish_non_exhaustive()
    }
}

impl Identity {
    /// Loads both files and checks that they belong together.
    ///
    /// # Errors
    /// The first mistake found; never any content of the key.
    pub fn load(cert: &Path, key: &Path) -> Result<Self, IdentityError> {
        Self::join(chain(cert)?, signing_key(key)?, (cert, key))
    }

    /// Combines a chain and a key; the paths are for the error.
    pub(super) fn join(
        chain: Vec<CertificateDer<'static>>,
        key: Arc<dyn SigningKey>,
        (cert_path, key_path): (&Path, &Path),
    ) -> Result<Self, IdentityError> {
        let bad = |detail: &dyn fmt::Display| {
            IdentityError::new(
                Role::Certificate,
                cert_path,
                Fault::BadCertificate(detail.to_string()),
            )
        };
        let leaf = chain.first().ok_or_else(|| bad(&"no certificate"))?;
        let sha256 = Sha256::digest(leaf).into();
        let facts = facts(leaf).map_err(|detail| bad(&detail))?;
        let certified = CertifiedKey::new(chain, key);
        match certified.keys_match() {
            Ok(()) | Err(rustls::Error::InconsistentKeys(rustls::InconsistentKeys::Unknown)) => {}
            Err(rustls::Error::InconsistentKeys(_)) => {
                let position = matching(&certified);
                let fault = Fault::Mismatch {
                    cert: cert_path.to_path_buf(),
                    position,
                };
                return Err(IdentityError::new(Role::Key, key_path, fault));
            }
            Err(error) => return Err(bad(&error)),
        }
        if let Some(stray) = order::stray(&certified.cert) {
            let fault = Fault::OutOfOrder(stray);
            return Err(IdentityError::new(Role::Certificate, cert_path, fault));
        }
        let Facts {
            not_before,
            not_after,
            names,
            self_signed,
        } = facts;
        Ok(Self {
            kind: KeyKind::of(certified.key.as_ref()),
            certified: Arc::new(certified),
            sha256,
            not_before,
            not_after,
            names,
            self_made: self_signed
                .then(|| Box::new(self_made(SelfMadeKind::SelfSigned, cert_path))),
        })
    }

    /// Marks the certificate as signed by the development CA in this file.
    pub fn mark_signed_by_development_ca(&mut self, ca: &Path) {
        self.self_made = Some(Box::new(self_made(SelfMadeKind::Development, ca)));
    }

    /// Number of certificates that clients receive.
    #[must_use]
    pub fn chain_length(&self) -> usize {
        self.certified.cert.len()
    }

    /// The SHA-256 as 64 hexadecimal digits.
    #[must_use]
    pub fn sha256_hex(&self) -> String {
        HEXLOWER.encode(&self.sha256)
    }
}

/// Which certificate of the file (counted from 1) the key belongs to, if not the first.
fn matching(certified: &CertifiedKey) -> Option<usize> {
    (1..certified.cert.len()).find_map(|index| {
        let rest = certified.cert.get(index..)?.to_vec();
        let candidate = CertifiedKey::new(rest, Arc::clone(&certified.key));
        candidate.keys_match().is_ok().then_some(index + 1)
    })
}

/// The path may be relative, so make it absolute: clients and readers of records have a different
/// working directory.
fn self_made(kind: SelfMadeKind, trust_file: &Path) -> SelfMade {
    let absolute = std::path::absolute(trust_file);
    let path = absolute.as_deref().unwrap_or(trust_file);
    SelfMade {
        kind,
        trust_file: path.display().to_string(),
    }
}

struct Facts {
    not_before: Timestamp,
    not_after: Timestamp,
    names: Vec<String>,
    self_signed: bool,
}

fn facts(leaf: &CertificateDer<'_>) -> Result<Facts, String> {
    let (_, certificate) = X509Certificate::from_der(leaf).map_err(|error| error.to_string())?;
    let validity = certificate.validity();
    let time = |seconds| Timestamp::from_second(seconds).map_err(|error| error.to_string());
    let names = match certificate.subject_alternative_name() {
        Ok(Some(extension)) => extension
            .value
            .general_names
            .iter()
            .filter_map(name_text)
            .collect(),
        Ok(None) => Vec::new(),
        Err(error) => return Err(error.to_string()),
    };
    let not_before = time(validity.not_before.timestamp())?;
    Ok(Facts {
        not_before,
        not_after: time(validity.not_after.timestamp())?,
        names,
        // RFC 5280 section 3.2: issuer and subject are the same entity.
        self_signed: certificate.issuer().as_raw() == certificate.subject().as_raw(),
    })
}

fn name_text(name: &GeneralName<'_>) -> Option<String> {
    match name {
        GeneralName::DNSName(name) => Some((*name).to_owned()),
        GeneralName::IPAddress(bytes) => address(bytes).map(|address| address.to_string()),
        _ => None,
    }
}

/// An address as certificates write it (RFC 5280 section 4.2.1.6).
pub(crate) fn address(bytes: &[u8]) -> Option<IpAddr> {
    match bytes.len() {
        4 => <[u8; 4]>::try_from(bytes).ok().map(IpAddr::from),
        16 => <[u8; 16]>::try_from(bytes).ok().map(IpAddr::from),
        _ => None,
    }
}

/// All certificates of a PEM file, in the order of the file; at least one.
pub(super) fn chain(path: &Path) -> Result<Vec<CertificateDer<'static>>, IdentityError> {
    let fail = |fault| IdentityError::new(Role::Certificate, path, fault);
    let bytes = read(path).map_err(fail)?;
    let chain = CertificateDer::pem_slice_iter(&bytes)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| fail(Fault::BadPem(pem_fault(&error))))?;
    if chain.is_empty() {
        Err(fail(Fault::NoCertificate(contents::of(&bytes))))
    } else {
        Ok(chain)
    }
}

/// The revocation lists of a PEM file; at least one.
pub(super) fn revocations(
    path: &Path,
) -> Result<Vec<CertificateRevocationListDer<'static>>, IdentityError> {
    let fail = |fault| IdentityError::new(Role::Revocations, path, fault);
    let bytes = read(path).map_err(fail)?;
    let lists = CertificateRevocationListDer::pem_slice_iter(&bytes)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| fail(Fault::BadPem(pem_fault(&error))))?;
    if lists.is_empty() {
        Err(fail(Fault::NoRevocations(contents::of(&bytes))))
    } else {
        Ok(lists)
    }
}

/// Roots to trust: like [`chain`], but each must be usable as a trust anchor.
pub(super) fn roots(path: &Path) -> Result<Vec<CertificateDer<'static>>, IdentityError> {
    let roots = chain(path)?;
    let mut store = RootCertStore::empty();
    for root in &roots {
        store.add(root.clone()).map_err(|error| {
            let fault = Fault::BadCertificate(error.to_string());
            IdentityError::new(Role::Certificate, path, fault)
        })?;
    }
    Ok(roots)
}

/// The first private key of a PEM file, ready to sign.
pub(super) fn signing_key(path: &Path) -> Result<Arc<dyn SigningKey>, IdentityError> {
    let fail = |fault| IdentityError::new(Role::Key, path, fault);
    let bytes = read(path).map_err(fail)?;
    match PrivateKeyDer::from_pem_slice(&bytes) {
        _ if is_encrypted(&bytes) => Err(fail(Fault::EncryptedKey)),
        Ok(key) => {
            crypto::signing_key(key).map_err(|error| fail(Fault::UnsupportedKey(error.to_string())))
        }
        Err(rustls_pki_types::pem::Error::NoItemsFound) => {
            Err(fail(Fault::NoKey(contents::of(&bytes))))
        }
        Err(error) => Err(fail(Fault::BadPem(pem_fault(&error)))),
    }
}

/// PKCS#8 encryption has its own label; older files state it in a header (RFC 1421).
fn is_encrypted(bytes: &[u8]) -> bool {
    bytes.split(|byte| *byte == b'\n').any(|line| {
        line.starts_with(b"-----BEGIN ENCRYPTED PRIVATE KEY-----")
            || (line.starts_with(b"Proc-Type:") && line.trim_ascii_end().ends_with(b"ENCRYPTED"))
    })
}

fn read(path: &Path) -> Result<Zeroizing<Vec<u8>>, Fault> {
    let fault = |error: io::Error| match error.kind() {
        io::ErrorKind::NotFound => Fault::Missing,
        _ => Fault::Unreadable(error),
    };
    let file = File::open(path).map_err(fault)?;
    let length = file
        .metadata()
        .map_or(0, |metadata| metadata.len())
        .min(MAX_BYTES);
    let mut bytes = Zeroizing::new(Vec::with_capacity(usize::try_from(length).unwrap_or(0) + 1));
    file.take(MAX_BYTES + 1)
        .read_to_end(&mut bytes)
        .map_err(fault)?;
    if u64::try_from(bytes.len()).unwrap_or(u64::MAX) > MAX_BYTES {
        return Err(Fault::BadPem("more than 1MiB".to_owned()));
    }
    Ok(bytes)
}

/// The mistake in the PEM, without the line in question: it may be part of a key.
fn pem_fault(error: &rustls_pki_types::pem::Error) -> String {
    use rustls_pki_types::pem::Error;
    match error {
        Error::MissingSectionEnd { .. } => "a section without its END line",
        Error::IllegalSectionStart { .. } => "a broken BEGIN line",
        Error::Base64Decode(_) => "broken base64",
        Error::SectionTooLarge => "a section that is too large",
        _ => "broken PEM",
    }
    .to_owned()
}

#[cfg(test)]
mod tests;
