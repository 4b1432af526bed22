//! The files that are read for a configuration, and how a change of one is noticed.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

/// A file that is read for a configuration, and what it was when that began: what is written
/// meanwhile is a change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Named {
    /// Where it stands.
    pub path: PathBuf,
    /// `None`: there was none.
    pub stamp: Option<Stamp>,
}

impl Named {
    /// As it is now.
    #[must_use]
    pub fn now(path: &Path) -> Self {
        Self {
            path: path.to_owned(),
            stamp: Stamp::of(path),
        }
    }
}

/// What changes when a file is written, or replaced by another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp {
    modified: (i64, i64),
    changed: (i64, i64),
    len: u64,
    file: (u64, u64),
}

impl Stamp {
    /// Of the file that stands at this path now; links are followed.
    #[must_use]
    pub fn of(path: &Path) -> Option<Self> {
        let meta = fs::metadata(path).ok()?;
        Some(Self {
            modified: (meta.mtime(), meta.mtime_nsec()),
            changed: (meta.ctime(), meta.ctime_nsec()),
            len: meta.len(),
            file: (meta.dev(), meta.ino()),
        })
    }
}
