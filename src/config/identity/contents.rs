//! What a file contains instead of the expected section: two paths were swapped, or the file is in
//! binary form.

/// The contents of a file that lacks the expected section.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Contents {
    /// Empty, or only blanks.
    Nothing,
    /// ASN.1 without PEM encoding.
    Der,
    /// A certificate.
    Certificate,
    /// A private key.
    Key,
    /// A request for a certificate.
    Request,
    /// Anything else.
    Other,
}

impl Contents {
    /// The words after "found" in an error that expected `section`.
    pub(super) fn instead_of(self, section: &str) -> String {
        match self {
            Self::Nothing => "an empty file".to_owned(),
            Self::Der => format!("DER (the binary form) and no {section} section"),
            Self::Certificate => format!("a certificate and no {section} section"),
            Self::Key => format!("a private key and no {section} section"),
            Self::Request => format!("a certificate request and no {section} section"),
            Self::Other => format!("no {section} section"),
        }
    }
}

/// Only looks at the labels: the text between them may be a key.
pub(super) fn of(bytes: &[u8]) -> Contents {
    if bytes.trim_ascii().is_empty() {
        return Contents::Nothing;
    }
    // A SEQUENCE with its length in long form: every certificate and nearly every key.
    if matches!(bytes, [0x30, 0x81..=0x83, ..]) {
        return Contents::Der;
    }
    let has = |label: &[u8]| {
        bytes
            .split(|byte| *byte == b'\n')
            .any(|line| line.starts_with(b"-----BEGIN ") && line.trim_ascii_end().ends_with(label))
    };
    if has(b"PRIVATE KEY-----") {
        Contents::Key
    } else if has(b"CERTIFICATE REQUEST-----") {
        Contents::Request
    } else if has(b"CERTIFICATE-----") {
        Contents::Certificate
    } else {
        Contents::Other
    }
}
