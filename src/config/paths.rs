//! Paths in a configuration: a relative path is relative to the folder of the file that contains
//! it, so that it means the same from every working directory.

use std::fs;
use std::path::{Component, Path, PathBuf};

use schemars::{Schema, SchemaGenerator, json_schema};
use serde::Deserialize;

/// A path as written in the file. Only [`Folder::locate`] turns it into a path that can be opened.
#[derive(Debug, Deserialize)]
#[serde(transparent)]
pub(super) struct FilePath(PathBuf);

impl FilePath {
    pub(super) fn is_empty(&self) -> bool {
        self.0.as_os_str().is_empty()
    }
}

impl schemars::JsonSchema for FilePath {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        "FilePath".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "format": "path" })
    }
}

/// The folder that relative paths start from; absolute, unless the working directory is gone.
#[derive(Debug)]
pub(super) struct Folder(PathBuf);

impl Folder {
    /// The folder of a configuration file; without one the working directory.
    pub(super) fn of(file: Option<&Path>) -> Self {
        let folder = file.and_then(Path::parent).unwrap_or(Path::new(""));
        // `absolute` rejects an empty path.
        Self(absolute(&Path::new(".").join(folder)))
    }

    pub(super) fn locate(&self, path: &FilePath) -> PathBuf {
        self.join(&path.0)
    }

    /// The absolute path, without leading `.` and `..`.
    pub(super) fn join(&self, path: &Path) -> PathBuf {
        if path.is_absolute() {
            return path.to_owned();
        }
        let mut rest = path.components().peekable();
        let mut folder = self.0.clone();
        let mut is_real = false;
        while let Some(Component::CurDir | Component::ParentDir) = rest.peek() {
            if rest.next() == Some(Component::ParentDir) {
                // The parent of a linked folder is the parent of the link's target, so links are
                // resolved first.
                if !is_real {
                    folder = fs::canonicalize(&folder).unwrap_or(folder);
                    is_real = true;
                }
                folder.pop();
            }
        }
        folder.extend(rest);
        folder
    }
}

/// Makes a path from a flag or an environment variable absolute, relative to the working directory.
pub(super) fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_start_from_the_folder_of_the_file() {
        let folder = Folder::of(Some(Path::new("/nonexistent/a/wstap.yaml")));
        for (path, wanted) in [
            ("b", "/nonexistent/a/b"),
            ("./b/c", "/nonexistent/a/b/c"),
            ("../b", "/nonexistent/b"),
            ("../../../b", "/b"),
            ("b/../c", "/nonexistent/a/b/../c"),
            ("/b", "/b"),
        ] {
            assert_eq!(folder.join(Path::new(path)), Path::new(wanted), "{path}");
        }
        let here = std::env::current_dir().unwrap();
        for file in [None, Some(Path::new("wstap.yaml"))] {
            assert_eq!(Folder::of(file).join(Path::new("b")), here.join("b"));
        }
    }

    #[test]
    fn the_parent_of_a_linked_folder_is_the_real_one() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path().canonicalize().unwrap();
        fs::create_dir_all(root.join("real/config")).unwrap();
        std::os::unix::fs::symlink("real/config", root.join("link")).unwrap();
        let folder = Folder::of(Some(&root.join("link/wstap.yaml")));
        assert_eq!(folder.join(Path::new("../b")), root.join("real/b"));
        assert_eq!(folder.join(Path::new("b")), root.join("link/b"));
    }
}
