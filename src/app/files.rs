//! Detects changes of files, one check at a time.
//!
//! Checking paths instead of holding files open works with editors that write a new file and rename
//! it, and with folders whose links are swapped, as Kubernetes does with mounted secrets. A change
//! counts only when the next check finds the files unchanged: a certificate and its key may be half
//! written.

use std::path::PathBuf;

use crate::config::{Named, Stamp};

/// The files of a configuration, and their states at the last two checks.
#[derive(Debug)]
pub(super) struct Files {
    paths: Vec<PathBuf>,
    /// Their state when they were last read.
    read: Vec<Option<Stamp>>,
    /// Their state at the last check.
    seen: Vec<Option<Stamp>>,
}

impl Files {
    /// Starts with the state that the files had when reading them began.
    pub(super) fn new(named: &[Named]) -> Self {
        let read: Vec<_> = named.iter().map(|file| file.stamp).collect();
        Self {
            paths: named.iter().map(|file| file.path.clone()).collect(),
            seen: read.clone(),
            read,
        }
    }

    /// Checks the files, and returns whether they have changed and are at rest. Each change is
    /// reported once.
    pub(super) fn check_for_changes(&mut self) -> bool {
        let now: Vec<_> = self.paths.iter().map(|path| Stamp::of(path)).collect();
        let at_rest = now == self.seen;
        self.seen = now;
        let changed = at_rest && self.seen != self.read;
        if changed {
            self.read.clone_from(&self.seen);
        }
        changed
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn a_change_counts_once_and_only_at_rest() {
        let folder = tempfile::tempdir().unwrap();
        let [cert, key] = ["cert", "key"].map(|name| folder.path().join(name));
        fs::write(&cert, "1").unwrap();
        fs::write(&key, "1").unwrap();
        let mut files = Files::new(&[&cert, &key].map(|path| Named::now(path)));
        assert!(!files.check_for_changes());
        fs::write(&cert, "22").unwrap();
        assert!(!files.check_for_changes(), "the key may follow");
        fs::write(&key, "22").unwrap();
        assert!(!files.check_for_changes(), "it has just come");
        assert!(files.check_for_changes());
        assert!(!files.check_for_changes(), "told once");
        fs::remove_file(&key).unwrap();
        assert!(!files.check_for_changes());
        assert!(files.check_for_changes(), "gone counts too");
    }

    #[test]
    fn renames_and_swapped_links_are_changes() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        for version in ["v1", "v2"] {
            fs::create_dir(path(version)).unwrap();
            fs::write(path(version).join("tls.crt"), version).unwrap();
        }
        // As Kubernetes mounts a secret: tls.crt -> ..data/tls.crt, ..data -> v1.
        symlink("v1", path("..data")).unwrap();
        symlink("..data/tls.crt", path("tls.crt")).unwrap();
        let mut files = Files::new(&[Named::now(&path("tls.crt"))]);
        symlink("v2", path("..new")).unwrap();
        fs::rename(path("..new"), path("..data")).unwrap();
        assert!(!files.check_for_changes());
        assert!(files.check_for_changes());
        fs::write(path("new"), "v3").unwrap();
        fs::rename(path("new"), path("v2/tls.crt")).unwrap();
        assert!(!files.check_for_changes());
        assert!(files.check_for_changes());
    }
}
