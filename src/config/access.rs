//! Why a file cannot be read, in words: its owner and mode, and the user that wstap runs as.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

/// The reason, and what to do about it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Unreadable {
    pub(super) what: String,
    /// Empty if the error says everything.
    pub(super) to_do: String,
}

impl Unreadable {
    pub(super) fn new(path: &Path, error: &io::Error) -> Self {
        if error.kind() != io::ErrorKind::PermissionDenied {
            let (what, to_do) = (error.to_string(), String::new());
            return Self { what, to_do };
        }
        let us = us();
        if let Ok(found) = fs::metadata(path) {
            let (owner, group, mode) = (found.uid(), found.gid(), found.mode() & 0o7777);
            Self {
                what: format!(
                    "{error}; it belongs to uid {owner} and gid {group} with mode {mode:04o}, and \
                     wstap runs as {us}"
                ),
                to_do: format!(
                    "let {us} read it, by `chown` or by `chgrp` and `chmod g+r`, or run wstap as \
                     uid {owner}"
                ),
            }
        } else {
            let folder = closed_folder(path);
            let folder = folder.display();
            Self {
                what: format!(
                    "{error}; wstap runs as {us}, which may not enter the folder {folder}"
                ),
                to_do: format!(
                    "let {us} enter {folder} (`chmod o+x`, or `g+x` with a shared group)"
                ),
            }
        }
    }
}

/// The user whose permissions count.
fn us() -> String {
    let (uid, gid) = (rustix::process::geteuid(), rustix::process::getegid());
    format!("uid {} (gid {})", uid.as_raw(), gid.as_raw())
}

/// The last visible folder of the path: its contents cannot be seen.
fn closed_folder(path: &Path) -> &Path {
    let mut folders = path.ancestors().skip(1);
    let seen = folders.find(|folder| fs::metadata(folder).is_ok());
    seen.or(path.parent()).unwrap_or(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_forbidden_file_is_told_with_its_owner_its_mode_and_us() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("tls.key");
        fs::write(&file, "").unwrap();
        fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o400)).unwrap();
        let denied = io::Error::from_raw_os_error(libc::EACCES);
        let Unreadable { what, to_do } = Unreadable::new(&file, &denied);
        let uid = rustix::process::geteuid().as_raw();
        assert!(what.contains(&format!("belongs to uid {uid} ")), "{what}");
        assert!(what.contains("with mode 0400"), "{what}");
        assert!(what.contains(&format!("runs as uid {uid} ")), "{what}");
        assert!(to_do.contains("chmod g+r"), "{to_do}");
        // Other errors need no addition.
        let other = io::Error::from_raw_os_error(libc::EIO);
        assert_eq!(Unreadable::new(&file, &other).to_do, "");
        // A file that nobody can see is not described.
        let lost = folder.path().join("none/tls.key");
        let Unreadable { what, .. } = Unreadable::new(&lost, &denied);
        assert!(what.contains("may not enter the folder"), "{what}");
    }
}
