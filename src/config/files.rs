//! The files that are read for a configuration, and how changes to them are detected.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

/// A file that is read for a configuration, with its stamp before reading began: anything written
/// meanwhile counts as a change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Named {
    /// The path of the file.
    pub path: PathBuf,
    /// `None` if there was no file.
    pub stamp: Option<Stamp>,
}

impl Named {
    /// The file with its current stamp.
    #[must_use]
    pub fn now(path: &Path) -> Self {
        Self {
            path: path.to_owned(),
            stamp: Stamp::of(path),
        }
    }
}

/// Metadata that changes when a file is written or replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp {
    modified: (i64, i64),
    changed: (i64, i64),
    len: u64,
    file: (u64, u64),
}

impl Stamp {
    /// The stamp of the file at this path now; links are followed.
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
