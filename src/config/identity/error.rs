//! Mistakes in a certificate, a key or a revocation list, in words that name the fix.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use super::contents::Contents;
use super::order::Stray;
use crate::config::access::Unreadable;
use crate::config::error::{Complaint, quoted};

/// Which of the two files is at fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// The certificate chain.
    Certificate,
    /// The private key.
    Key,
    /// A list of revoked certificates.
    Revocations,
}

/// Why an identity could not be loaded.
#[derive(Debug, thiserror::Error)]
#[error("failed to load {} {}: expected {}, found {}", .role, .path.display(), self.expected(), self.found())]
pub struct IdentityError {
    role: Role,
    path: PathBuf,
    fault: Fault,
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Certificate => "certificate",
            Self::Key => "key",
            Self::Revocations => "revocation list",
        })
    }
}

/// What is wrong with a certificate or key file.
#[derive(Debug)]
pub enum Fault {
    /// There is no such file.
    Missing,
    /// The file exists but could not be read.
    Unreadable(io::Error),
    /// The file is not valid PEM.
    BadPem(String),
    /// No `CERTIFICATE` section, and what the file contains instead.
    NoCertificate(Contents),
    /// No `X509 CRL` section, and what the file contains instead.
    NoRevocations(Contents),
    /// A certificate that does not belong at its position in the chain.
    OutOfOrder(Stray),
    /// A certificate that cannot be used; the reason.
    BadCertificate(String),
    /// No private key section, and what the file contains instead.
    NoKey(Contents),
    /// The private key is protected by a pass phrase.
    EncryptedKey,
    /// A key of a type or size that the TLS library does not sign with; the reason.
    UnsupportedKey(String),
    /// The key belongs to another certificate.
    Mismatch {
        /// The certificate file.
        cert: PathBuf,
        /// Position in that file (from 1) of the certificate that belongs to this key, if it is
        /// there.
        position: Option<usize>,
    },
}

impl IdentityError {
    pub(super) fn new(role: Role, path: &Path, fault: Fault) -> Self {
        Self {
            role,
            path: path.to_path_buf(),
            fault,
        }
    }

    /// Which of the two files is at fault; for a mismatch it is the key.
    #[must_use]
    pub fn role(&self) -> Role {
        self.role
    }

    /// The mistake in it.
    #[must_use]
    pub fn fault(&self) -> &Fault {
        &self.fault
    }

    pub(in crate::config) fn complaint(&self) -> Complaint {
        let found = format!(
            "{} in {}",
            self.found(),
            quoted(&self.path.to_string_lossy())
        );
        let found = match &self.fault {
            Fault::Missing => format!("no file {}", quoted(&self.path.to_string_lossy())),
            Fault::Unreadable(error) => {
                let Unreadable { what, to_do } = Unreadable::new(&self.path, error);
                let path = quoted(&self.path.to_string_lossy());
                let found = format!("{path} that cannot be read: {what}");
                return Complaint::new(self.expected(), found).advising(to_do);
            }
            _ => found,
        };
        Complaint::new(self.expected(), found)
    }

    fn expected(&self) -> String {
        match (&self.fault, self.role) {
            (Fault::EncryptedKey, _) => {
                "a private key without a pass phrase (`openssl pkey -in KEY -out PLAIN`)".to_owned()
            }
            (Fault::UnsupportedKey(_), _) => {
                "an RSA key of 2048 to 4096 bits, an ECDSA key (P-256, P-384) or an Ed25519 key"
                    .to_owned()
            }
            (
                Fault::Mismatch {
                    cert,
                    position: None,
                },
                _,
            ) => {
                format!(
                    "the key of the certificate in {}",
                    quoted(&cert.to_string_lossy())
                )
            }
            (
                Fault::Mismatch {
                    cert,
                    position: Some(_),
                },
                _,
            ) => {
                format!(
                    "the key of the first certificate in {}",
                    quoted(&cert.to_string_lossy())
                )
            }
            (Fault::OutOfOrder(stray), _) => format!(
                "the issuer of certificate {} ({}) as certificate {}",
                stray.position - 1,
                quoted(&stray.wanted),
                stray.position
            ),
            (Fault::NoCertificate(Contents::Der), _) => {
                "a PEM file with certificates (`openssl x509 -inform der -in FILE -out PEM`)"
                    .to_owned()
            }
            (Fault::NoKey(Contents::Der), _) => {
                "a PEM file with a private key (`openssl pkey -inform der -in FILE -out PEM`)"
                    .to_owned()
            }
            (_, Role::Certificate) => "a PEM file with certificates".to_owned(),
            (_, Role::Key) => "a PEM file with a private key".to_owned(),
            (_, Role::Revocations) => "a PEM file with revocation lists (X509 CRL)".to_owned(),
        }
    }

    fn found(&self) -> String {
        match &self.fault {
            Fault::Missing => "no such file".to_owned(),
            Fault::Unreadable(error) => error.to_string(),
            Fault::BadPem(detail) => detail.clone(),
            Fault::NoCertificate(there) => there.instead_of("CERTIFICATE"),
            Fault::NoRevocations(there) => there.instead_of("X509 CRL"),
            Fault::OutOfOrder(stray) => stray.found(),
            Fault::BadCertificate(detail) => format!("an unusable certificate ({detail})"),
            Fault::NoKey(there) => there.instead_of("PRIVATE KEY"),
            Fault::EncryptedKey => "an encrypted key".to_owned(),
            Fault::UnsupportedKey(detail) => format!("an unsupported key ({detail})"),
            Fault::Mismatch { position: None, .. } => "the key of another certificate".to_owned(),
            Fault::Mismatch {
                position: Some(position),
                ..
            } => {
                format!("the key of certificate {position} of that file")
            }
        }
    }
}
