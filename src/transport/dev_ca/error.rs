//! Why there are no development certificates.

use std::io;
use std::path::{Path, PathBuf};

use jiff::Timestamp;

/// Why there are no development certificates. The texts complete "failed to make a development
/// certificate: ".
#[derive(Debug, thiserror::Error)]
pub enum DevCaError {
    /// A name that no certificate can carry.
    #[error("name {name:?}: expected a DNS name or an IP address")]
    Name {
        /// As configured.
        name: String,
    },
    /// A file or folder could not be used.
    #[error("{action} {}: {cause}", path.display())]
    Io {
        /// The operation that failed: `read`, `write`, `create`, `lock`.
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// The cause.
        cause: io::Error,
    },
    /// Another process holds the lock for longer than making certificates takes.
    #[error("lock {}: another process has held it for {seconds} s", path.display())]
    Busy {
        /// The lock file.
        path: PathBuf,
        /// How long we waited.
        seconds: u64,
    },
    /// The CA has expired.
    #[error("{}: expired on {at}; {}", ca.display(), advice(ca, key))]
    CaExpired {
        /// The CA's certificate.
        ca: PathBuf,
        /// The CA's key.
        key: PathBuf,
        /// When it expired.
        at: Timestamp,
    },
    /// The CA is not valid yet, or the clock is wrong.
    #[error("{}: not valid before {at}, and the clock says {now}; check the clock first, else {}",
        ca.display(), advice(ca, key))]
    CaNotYetValid {
        /// The CA's certificate.
        ca: PathBuf,
        /// The CA's key.
        key: PathBuf,
        /// The start of its validity.
        at: Timestamp,
        /// The time of the check.
        now: Timestamp,
    },
    /// The CA cannot be used.
    #[error("{}: {problem}; {}", ca.display(), advice(ca, key))]
    CaDamaged {
        /// The CA's certificate.
        ca: PathBuf,
        /// The CA's key.
        key: PathBuf,
        /// What is wrong with them.
        problem: &'static str,
    },
    /// A certificate made at this time would be useless.
    #[error("the clock says {0}, which cannot be right")]
    Clock(Timestamp),
    /// The system gave no random bytes.
    #[error("no random numbers from the system")]
    Random,
    /// The certificate could not be built or signed.
    #[error("certificate: {0}")]
    Issue(#[source] rcgen::Error),
}

fn advice(ca: &Path, key: &Path) -> String {
    format!(
        "delete {} and {} to have a new CA made (clients must then trust the new one)",
        ca.display(),
        key.display()
    )
}
