//! The real page's files, with their paths as a record shows them.

use std::path::Path;

use wstap::admission::mask::mask_target;

use super::installed;
use crate::support::skip::skip;

#[test]
fn no_file_of_the_real_page_is_masked() {
    let Some(install) = installed() else {
        return skip(
            "no_file_of_the_real_page_is_masked",
            "the gateway is not installed: run make test",
        );
    };
    let package = install.openclaw.parent().expect("a folder");
    let page = package.join("dist/control-ui");
    let mut masked = Vec::new();
    let count = look(&page, "", &mut masked);
    assert!(count > 100, "only {count} files in {}", page.display());
    assert!(masked.is_empty(), "{masked:#?}");
}

/// Checks and counts every file under `folder`.
fn look(folder: &Path, path: &str, masked: &mut Vec<String>) -> usize {
    let mut count = 0;
    for entry in std::fs::read_dir(folder).expect("the page's folder") {
        let entry = entry.expect("an entry");
        let path = format!("{path}/{}", entry.file_name().to_string_lossy());
        if entry.path().is_dir() {
            count += look(&entry.path(), &path, masked);
        } else {
            count += 1;
            if mask_target(&path) != path {
                masked.push(path);
            }
        }
    }
    count
}
