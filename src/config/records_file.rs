//! Checks `records.path`: it must name a regular file, or a new file in an existing folder.

use std::fs::{self, FileType};
use std::io;
use std::os::unix::fs::FileTypeExt;
use std::path::Path;

use super::error::Complaint;

/// The complaint if this path cannot be a records file, as far as that shows without opening
/// anything. If we may not stat the path, opening it will report the error.
pub(super) fn complaint(path: &Path) -> Option<Complaint> {
    let shown = path.display();
    if is_descriptor(path) {
        return Some(Complaint::new(
            "a regular file (for records on the standard output set `output: json`)",
            format!("{shown}, a descriptor of the process"),
        ));
    }
    let found = match fs::metadata(path) {
        Ok(metadata) => format!("{shown}, which is {}", odd_kind(metadata.file_type())?),
        Err(error) if is_missing(&error) => return missing(path),
        Err(_) => return None,
    };
    Some(Complaint::new("a regular file, or none yet", found))
}

/// The complaint as text: `expected …, found …`.
#[must_use]
pub(crate) fn objection(path: &Path) -> Option<String> {
    complaint(path).map(|it| format!("expected {}, found {}", it.expected, it.found))
}

/// Name of the file type, for a file that is not regular.
#[must_use]
pub(crate) fn odd_kind(kind: FileType) -> Option<&'static str> {
    if kind.is_file() {
        None
    } else if kind.is_dir() {
        Some("a folder")
    } else if kind.is_fifo() {
        Some("a FIFO")
    } else if kind.is_socket() {
        Some("a socket")
    } else {
        Some("a device")
    }
}

/// There is no such file: its folder must exist, and so must the folder of a link's target.
fn missing(path: &Path) -> Option<Complaint> {
    let target = fs::read_link(path).ok();
    let folder = match path.parent() {
        Some(folder) if folder != Path::new("") => folder,
        _ => Path::new("."),
    };
    let target = target.map(|target| folder.join(target));
    let folder = match &target {
        Some(target) => target.parent()?,
        None => folder,
    };
    let found = match fs::metadata(folder) {
        Ok(metadata) if metadata.is_dir() => return None,
        Ok(_) => "is no folder",
        Err(error) if is_missing(&error) => "does not exist",
        Err(_) => return None,
    };
    let (path, folder) = (path.display(), folder.display());
    Some(Complaint::new(
        "a file in a folder that exists",
        format!("{path}, whose folder {folder} {found}"),
    ))
}

fn is_missing(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
    )
}

/// Whether the path is a descriptor of this process, which rotation would rename.
fn is_descriptor(path: &Path) -> bool {
    [
        "/dev/stdin",
        "/dev/stdout",
        "/dev/stderr",
        "/dev/fd",
        "/proc",
    ]
    .iter()
    .any(|place| path.starts_with(place))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_regular_file_or_a_new_name_will_do() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::write(at("file"), "").unwrap();
        std::os::unix::fs::symlink(at("file"), at("link")).unwrap();
        std::os::unix::fs::symlink("new", at("dangling")).unwrap();
        std::os::unix::fs::symlink("none/new", at("lost")).unwrap();
        rustix::fs::mkfifoat(rustix::fs::CWD, at("fifo"), rustix::fs::Mode::RWXU).unwrap();
        let _socket = std::os::unix::net::UnixListener::bind(at("socket")).unwrap();
        for fine in ["file", "link", "dangling", "new"] {
            assert_eq!(objection(&at(fine)), None, "{fine}");
        }
        assert_eq!(objection(Path::new("a-new-file.jsonl")), None);
        for (path, words) in [
            (at("fifo"), "a FIFO"),
            (at("socket"), "a socket"),
            (at(""), "a folder"),
            (at("none/new"), "does not exist"),
            (at("lost"), "does not exist"),
            (at("file/new"), "is no folder"),
            ("/dev/null".into(), "a device"),
            ("/dev/stdout".into(), "descriptor"),
        ] {
            let found = objection(&path).unwrap_or_default();
            assert!(found.contains(words), "{}: {found}", path.display());
        }
    }
}
