//! The file of TLS secrets, for decrypting a packet capture (`--tls-keylog`).
//!
//! The file allows its reader to decrypt every session: it is readable only by its owner, and it is
//! never opened through a link or because of an environment variable. The format is the one of NSS,
//! which Wireshark reads.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use rustls::KeyLog;
use zeroize::Zeroizing;

/// The file could not be opened, or not in such a way that only its owner can read it.
#[derive(Debug, thiserror::Error)]
#[error("failed to open the TLS key log {}: expected {expected}, found {found}", .path.display())]
pub struct KeyLogError {
    path: PathBuf,
    expected: &'static str,
    found: String,
}

/// An open key log.
#[derive(Debug)]
pub(crate) struct KeyLogFile {
    path: PathBuf,
    file: Mutex<File>,
    failed: AtomicBool,
}

impl KeyLogFile {
    /// Opens the file for appending; creates it with mode 0600 if it does not exist.
    pub(crate) fn open(path: &Path) -> Result<Self, KeyLogError> {
        let fail = |expected, found: String| KeyLogError {
            path: path.to_path_buf(),
            expected,
            found,
        };
        let file = OpenOptions::new()
            .append(true)
            .create(true)
            .mode(0o600)
            // Opening a pipe must not wait for its reader.
            .custom_flags(libc::O_NOFOLLOW | libc::O_CLOEXEC | libc::O_NONBLOCK)
            .open(path)
            .map_err(|error| match error.raw_os_error() {
                Some(libc::ELOOP) => fail("a file", "a symbolic link".to_owned()),
                _ => fail("a file that can be written", error.to_string()),
            })?;
        let found = file
            .metadata()
            .map_err(|error| fail("a file whose metadata can be read", error.to_string()))?;
        if !found.is_file() {
            return Err(fail("a file", "something else".to_owned()));
        }
        let mode = found.permissions().mode() & 0o777;
        if mode & 0o077 != 0 {
            return Err(fail(
                "a file that only its owner can read (mode 0600)",
                format!("mode {mode:04o}"),
            ));
        }
        if found.nlink() != 1 {
            return Err(fail("a file with one name", "a hard link".to_owned()));
        }
        Ok(Self {
            path: path.to_path_buf(),
            file: Mutex::new(file),
            failed: AtomicBool::new(false),
        })
    }

    fn append(&self, line: &[u8]) -> io::Result<()> {
        let mut file = self
            .file
            .lock()
            .map_err(|_| io::Error::other("a writer panicked"))?;
        file.write_all(line)
    }
}

impl KeyLog for KeyLogFile {
    fn log(&self, label: &str, client_random: &[u8], secret: &[u8]) {
        let size = label.len() + 2 * (client_random.len() + secret.len()) + 3;
        let mut line = Zeroizing::new(Vec::with_capacity(size));
        line.extend_from_slice(label.as_bytes());
        for bytes in [client_random, secret] {
            line.push(b' ');
            for byte in bytes {
                line.extend(DIGITS.get(usize::from(byte >> 4)));
                line.extend(DIGITS.get(usize::from(byte & 15)));
            }
        }
        line.push(b'\n');
        // One write per line, so that lines of several handshakes do not mix.
        if let Err(error) = self.append(&line)
            && !self.failed.swap(true, Ordering::Relaxed)
        {
            tracing::warn!(path = %self.path.display(), %error, "failed to write the TLS key log");
        }
    }
}

const DIGITS: &[u8; 16] = b"0123456789abcdef";

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::{self, Permissions};
    use std::os::unix::fs::symlink;

    #[test]
    fn it_is_for_its_owner_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keys.log");
        let log = KeyLogFile::open(&path).unwrap();
        log.log("CLIENT_RANDOM", &[0xab, 1], &[2, 0xff]);
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        // Another run appends after this one.
        KeyLogFile::open(&path).unwrap().log("X", &[0], &[1]);
        assert_eq!(
            fs::read_to_string(&path).unwrap(),
            "CLIENT_RANDOM ab01 02ff\nX 00 01\n"
        );
    }

    #[test]
    fn what_others_read_or_can_redirect_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keys.log");
        let message = |path: &Path| KeyLogFile::open(path).unwrap_err().to_string();
        fs::write(&path, "").unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o640)).unwrap();
        let text = message(&path);
        assert!(
            text.ends_with(
                "keys.log: expected a file that only its owner can read (mode 0600), found mode 0640"
            ),
            "{text}"
        );
        fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
        let link = folder.path().join("link");
        symlink(&path, &link).unwrap();
        assert!(message(&link).ends_with("expected a file, found a symbolic link"));
        fs::hard_link(&path, folder.path().join("other")).unwrap();
        assert!(message(&path).ends_with("expected a file with one name, found a hard link"));
        assert!(message(folder.path()).contains("expected a file that can be written"));
        let pipe = folder.path().join("pipe");
        rustix::fs::mkfifoat(rustix::fs::CWD, &pipe, 0o600.into()).unwrap();
        let text = message(&pipe);
        assert!(text.contains("expected a file"), "{text}");
    }
}
