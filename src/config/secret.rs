//! Secrets that wstap itself uses, from files: the key for fingerprints of short secrets, and the
//! token of the admin listener. They can be used, but not shown.

use std::fmt;
use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;

use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use super::error::Complaint;

const LEAST: usize = 16;
const MOST: usize = 64 * 1024;
/// A longer token would not fit into a request head.
const MOST_TOKEN: usize = 4096;

/// The content of `fingerprint_key_file`. It cannot be printed, cloned, compared or serialised,
/// and is overwritten when dropped.
pub struct FingerprintKey(Zeroizing<Vec<u8>>);

impl FingerprintKey {
    /// The key itself, at least 16 bytes. Only for the MAC.
    #[must_use]
    pub fn expose(&self) -> &[u8] {
        &self.0
    }

    /// Reads a key file that a command names. The error says what was expected and found.
    pub fn from_file(path: &Path) -> Result<Self, String> {
        Self::read(path).map_err(|complaint| {
            let Complaint {
                expected, found, ..
            } = complaint;
            format!("--fingerprint-key-file: expected {expected}, found {found}")
        })
    }

    /// Reads the file and removes one newline from its end.
    pub(super) fn read(path: &Path) -> Result<Self, Complaint> {
        let expected = format!("a file with a key of {LEAST} bytes to 64KiB");
        read(path, &expected, MOST).map(Self)
    }
}

/// The content of `admin.token_file`. It cannot be printed or serialised, is compared in constant
/// time, and is overwritten when the last copy is dropped.
#[derive(Clone)]
pub struct AdminToken(Arc<Zeroizing<Vec<u8>>>);

impl fmt::Debug for AdminToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AdminToken(…)")
    }
}

impl AdminToken {
    /// The token itself. Only for requests of our own client.
    #[must_use]
    pub fn expose(&self) -> &[u8] {
        &self.0
    }

    /// Whether `given` is the token, in constant time. Digests are compared, so the length does not
    /// leak either.
    #[must_use]
    pub fn is(&self, given: &[u8]) -> bool {
        let (ours, theirs) = (Sha256::digest(&**self.0), Sha256::digest(given));
        ours.as_slice().ct_eq(theirs.as_slice()).into()
    }

    /// Reads the file and removes one newline from its end.
    pub(super) fn read(path: &Path) -> Result<Self, Complaint> {
        let expected =
            format!("a file with a token of {LEAST} to {MOST_TOKEN} visible ASCII characters");
        let token = read(path, &expected, MOST_TOKEN)?;
        if token.iter().all(u8::is_ascii_graphic) {
            Ok(Self(Arc::new(token)))
        } else {
            Err(Complaint::new(expected, "blanks or other characters"))
        }
    }
}

/// Complaints do not name the path: it might be the secret itself, written in the wrong place.
fn read(path: &Path, expected: &str, most: usize) -> Result<Zeroizing<Vec<u8>>, Complaint> {
    let unreadable =
        |error: std::io::Error| Complaint::new(expected, format!("no readable file: {error}"));
    let file = File::open(path).map_err(unreadable)?;
    let mut bytes = Zeroizing::new(Vec::with_capacity(most + 3));
    let limit = u64::try_from(most + 3).unwrap_or(u64::MAX);
    file.take(limit)
        .read_to_end(&mut bytes)
        .map_err(unreadable)?;
    if bytes.ends_with(b"\n") {
        bytes.pop();
        if bytes.ends_with(b"\r") {
            bytes.pop();
        }
    }
    match bytes.len() {
        length if length < LEAST => Err(Complaint::new(expected, format!("{length} bytes"))),
        length if length > most => Err(Complaint::new(expected, "more")),
        _ => Ok(bytes),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn read(content: &[u8]) -> Result<FingerprintKey, Complaint> {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(content).unwrap();
        FingerprintKey::read(file.path())
    }

    #[test]
    fn one_newline_is_trimmed() {
        let key = b"0123456789abcdef";
        for end in ["", "\n", "\r\n"] {
            let content = [key, end.as_bytes()].concat();
            assert_eq!(read(&content).ok().unwrap().expose(), key);
        }
        assert_eq!(
            read(b"0123456789abcdef\n\n").ok().unwrap().expose(),
            b"0123456789abcdef\n"
        );
    }

    #[test]
    fn short_missing_and_huge_keys_are_refused() {
        assert_eq!(read(b"0123456789abcde\n").err().unwrap().found, "15 bytes");
        assert_eq!(read(b"").err().unwrap().found, "0 bytes");
        assert_eq!(read(&vec![b'x'; MOST + 1]).err().unwrap().found, "more");
        assert!(read(&vec![b'x'; MOST]).is_ok());
        let complaint = FingerprintKey::read(Path::new("/nonexistent/hunter2"))
            .err()
            .unwrap();
        assert!(complaint.found.starts_with("no readable file"));
        assert!(!complaint.found.contains("hunter2"));
    }

    #[test]
    fn tokens_are_compared_whole_and_never_shown() {
        let token = |content: &[u8]| {
            let mut file = tempfile::NamedTempFile::new().unwrap();
            file.write_all(content).unwrap();
            AdminToken::read(file.path())
        };
        let known = token(b"0123456789abcdef\n").unwrap();
        assert!(known.is(b"0123456789abcdef"));
        for wrong in [
            &b""[..],
            b"0123456789abcde",
            b"0123456789abcdef0",
            b"0123456789abcdeF",
        ] {
            assert!(!known.is(wrong));
        }
        assert!(!format!("{known:?}").contains("0123"));
        assert!(token(b"0123456789 abcdef").is_err(), "a blank");
        assert!(token(b"0123456789abcde").is_err(), "too short");
        assert!(token(&[b'x'; MOST_TOKEN + 1]).is_err(), "too long");
    }
}
