//! The development CA: certificates that `wstap` makes for itself, once, and keeps.
//!
//! A browser speaks `wss://` only to a certificate it trusts, so the first try of a TLS tap would
//! fail for lack of a trusted certificate. One CA per state folder is made on first use. Clients
//! have to trust it only once, because only the leaf below it is ever renewed. The CA itself is
//! never replaced silently, because every browser would then fail without an explanation: a CA that
//! no longer works is an error that names the files to delete.
//!
//! Profile: RFC 5280 (basicConstraints and keyUsage of the CA, subjectAltName and serverAuth of the
//! leaf), names matched by RFC 9525. Not for the public Internet, and not a replacement for real
//! certificates: see `certs/README.md`.

mod error;
mod files;
mod issue;

use std::path::{Path, PathBuf};

use jiff::Timestamp;
use zeroize::Zeroizing;

pub use error::DevCaError;
use files::{Lock, read_if_present, write_atomically};
use issue::{Ca, DAY, Leaf, Name};

/// A leaf with less validity than this left is renewed, at a start and while the tap runs.
const RENEW_BEFORE: i64 = 30 * DAY;
/// Maximum number of names that a new leaf takes over from the old one.
const MAX_NAMES: usize = 100;

/// The files to serve with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DevFiles {
    /// The CA's certificate, which clients have to trust.
    pub ca: PathBuf,
    /// The leaf's certificate, followed by the CA's.
    pub cert: PathBuf,
    /// The leaf's private key.
    pub key: PathBuf,
    /// What this call made.
    pub made: Made,
}

/// What a call of [`ensure`] made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Made {
    /// Nothing: all files were good.
    Reused,
    /// A new leaf under the existing CA.
    Leaf,
    /// The CA and a leaf.
    CaAndLeaf,
}

/// Makes sure that `state_dir` holds a development CA and a leaf for `names` (and for `localhost`,
/// `127.0.0.1` and `::1`) that is valid at `now` and for a while after.
///
/// Good files are reused without writing anything, so a read-only folder will do. A renewed leaf keeps
/// its key and the names of the one before, so that two processes with different names can share a
/// folder, and a reader never finds a certificate and a key that do not match. Safe to call from
/// several processes at once. Blocks (file locks, fsync): do not call it in an async task.
pub fn ensure(state_dir: &Path, names: &[String], now: Timestamp) -> Result<DevFiles, DevCaError> {
    let mut wanted = issue::default_names();
    for name in names {
        let name = Name::parse(name).ok_or_else(|| DevCaError::Name { name: name.clone() })?;
        if !wanted.contains(&name) {
            wanted.push(name);
        }
    }
    let paths = Paths::new(state_dir);
    let first_look = inspect(&paths, &wanted, now);
    if let Ok(State::Ready) = first_look {
        return Ok(paths.done(Made::Reused));
    }
    issue::check_clock(now)?;
    // Any other state may be another process at work, so check again under the lock. If the lock is
    // not available, the state that was found makes the better error.
    let locked = files::create_folder(state_dir).and_then(|()| Lock::acquire(&paths.lock));
    let _lock = match (locked, first_look) {
        (Ok(lock), _) => lock,
        (Err(_), Err(found)) => return Err(found),
        (Err(error), Ok(_)) => return Err(error),
    };
    let (ca, mut names, made) = match inspect(&paths, &wanted, now)? {
        State::Ready => return Ok(paths.done(Made::Reused)),
        State::Leaf { ca, names } => (*ca, names, Made::Leaf),
        State::Nothing => (make_ca(&paths, now)?, Vec::new(), Made::CaAndLeaf),
    };
    names.retain(|name| !wanted.contains(name));
    names.truncate(MAX_NAMES.saturating_sub(wanted.len()));
    wanted.extend(names);
    make_leaf(&paths, &ca, &wanted, now)?;
    Ok(paths.done(made))
}

/// Whether a leaf that expires at `not_after` must be renewed.
#[must_use]
pub fn is_due(not_after: Timestamp, now: Timestamp) -> bool {
    not_after.as_second() - now.as_second() <= RENEW_BEFORE
}

struct Paths {
    ca: PathBuf,
    ca_key: PathBuf,
    leaf: PathBuf,
    leaf_key: PathBuf,
    lock: PathBuf,
}

impl Paths {
    fn new(state_dir: &Path) -> Self {
        Self {
            ca: state_dir.join("dev-ca.pem"),
            ca_key: state_dir.join("dev-ca-key.pem"),
            leaf: state_dir.join("dev-leaf.pem"),
            leaf_key: state_dir.join("dev-leaf-key.pem"),
            lock: state_dir.join(".dev-ca.lock"),
        }
    }

    fn done(self, made: Made) -> DevFiles {
        DevFiles {
            ca: self.ca,
            cert: self.leaf,
            key: self.leaf_key,
            made,
        }
    }

    fn damaged(&self, problem: &'static str) -> DevCaError {
        DevCaError::CaDamaged {
            ca: self.ca.clone(),
            key: self.ca_key.clone(),
            problem,
        }
    }
}

enum State {
    /// All files are good.
    Ready,
    /// The CA is good; the leaf is missing, damaged, too old or lacks a name. The names are those
    /// of an old leaf of this CA.
    Leaf { ca: Box<Ca>, names: Vec<Name> },
    /// There is no CA.
    Nothing,
}

fn inspect(paths: &Paths, wanted: &[Name], now: Timestamp) -> Result<State, DevCaError> {
    let Some(pem) = read_if_present(&paths.ca)? else {
        return if read_if_present(&paths.ca_key)?.is_some() {
            Err(paths.damaged("missing, but its key is there"))
        } else {
            Ok(State::Nothing)
        };
    };
    let ca = Ca::parse(&pem).map_err(|problem| paths.damaged(problem))?;
    let (ca_path, key) = (paths.ca.clone(), paths.ca_key.clone());
    if now < ca.not_before {
        return Err(DevCaError::CaNotYetValid {
            ca: ca_path,
            key,
            at: ca.not_before,
            now,
        });
    }
    if now >= ca.not_after {
        return Err(DevCaError::CaExpired {
            ca: ca_path,
            key,
            at: ca.not_after,
        });
    }
    let leaf = read_if_present(&paths.leaf)?.and_then(|pem| Leaf::parse(&pem, &ca));
    let key = read_if_present(&paths.leaf_key)?;
    let Some(leaf) = leaf else {
        return Ok(State::Leaf {
            ca: Box::new(ca),
            names: Vec::new(),
        });
    };
    let lasts = leaf.not_after >= ca.not_after || !is_due(leaf.not_after, now);
    let good = lasts
        && wanted.iter().all(|name| leaf.names.contains(name))
        && key.is_some_and(|key| leaf.has_key(&key))
        && leaf.is_trusted(&ca, now);
    Ok(if good {
        State::Ready
    } else {
        State::Leaf {
            ca: Box::new(ca),
            names: leaf.names,
        }
    })
}

/// The key is written first, so that an existing certificate always has its key.
fn make_ca(paths: &Paths, now: Timestamp) -> Result<Ca, DevCaError> {
    let (pem, key) = issue::new_ca(now)?;
    write_atomically(&paths.ca_key, key.as_bytes(), 0o600)?;
    write_atomically(&paths.ca, pem.as_bytes(), 0o644)?;
    Ca::parse(pem.as_bytes()).map_err(|problem| paths.damaged(problem))
}

fn make_leaf(paths: &Paths, ca: &Ca, names: &[Name], now: Timestamp) -> Result<(), DevCaError> {
    let ca_key = read_if_present(&paths.ca_key)?
        .ok_or_else(|| paths.damaged("its key is missing, so no certificate can be renewed"))?;
    let ca_key = issue::parse_key(&ca_key)
        .filter(|key| ca.has_key(key))
        .ok_or_else(|| paths.damaged("its key is damaged or belongs to another CA"))?;
    let old_key = read_if_present(&paths.leaf_key)?;
    let (pem, key) = issue::new_leaf(
        ca,
        ca_key,
        old_key.as_ref().map(|key| key.as_slice()),
        names,
        now,
    )?;
    // Check before anything is overwritten, with the verifier that clients in Rust use.
    let leaf = Leaf::parse(pem.as_bytes(), ca).filter(|leaf| leaf.is_trusted(ca, now));
    if leaf.is_none() {
        return Err(paths.damaged("signs certificates that do not verify"));
    }
    if let Some(key) = key {
        write_atomically(&paths.leaf_key, Zeroizing::new(key).as_bytes(), 0o600)?;
    }
    write_atomically(&paths.leaf, pem.as_bytes(), 0o644)
}

#[cfg(test)]
mod tests;
