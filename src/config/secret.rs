//! The key under which short secrets are fingerprinted: it can be used, but not shown.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use zeroize::Zeroizing;

use super::error::Complaint;

const LEAST: usize = 16;
const MOST: usize = 64 * 1024;

/// The content of `fingerprint_key_file`. It cannot be printed, cloned, compared or serialised,
/// and is overwritten when dropped.
pub struct FingerprintKey(Zeroizing<Vec<u8>>);

impl FingerprintKey {
    /// The key itself, at least 16 bytes: for the MAC, and for nothing else.
    #[must_use]
    pub fn expose(&self) -> &[u8] {
        &self.0
    }

    /// Reads a key file that a command names. The error says what was expected and found.
    pub fn from_file(path: &Path) -> Result<Self, String> {
        Self::read(path).map_err(|complaint| {
            let Complaint { expected, found } = complaint;
            format!("--fingerprint-key-file: expected {expected}, found {found}")
        })
    }

    /// Reads the file and takes one newline off its end. Complaints do not name the path: it
    /// might be the key itself, written in the wrong place.
    pub(super) fn read(path: &Path) -> Result<Self, Complaint> {
        let expected = || format!("a file with a key of {LEAST} bytes to 64KiB");
        let unreadable = |error: std::io::Error| {
            Complaint::new(expected(), format!("no readable file: {error}"))
        };
        let file = File::open(path).map_err(unreadable)?;
        let mut bytes = Zeroizing::new(Vec::with_capacity(MOST + 3));
        let limit = u64::try_from(MOST + 3).unwrap_or(u64::MAX);
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
            0..LEAST => Err(Complaint::new(expected(), format!("{} bytes", bytes.len()))),
            LEAST..=MOST => Ok(Self(bytes)),
            _ => Err(Complaint::new(expected(), "more")),
        }
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
}
