//! The `OpenClaw` version of a place's clients, compared with the gateway's.

use std::cmp::Ordering;
use std::path::Path;

use serde::Deserialize;

use super::report::Versions;
use super::whereabouts::Environment;
use crate::place::read_in;
use crate::session::text::PeerText;
use crate::verdict::openclaw::skew::Release;

/// Path from a folder of `PATH` in a global install with npm, and path in the official image.
const BESIDE: &str = "../lib/node_modules/openclaw/package.json";
const IN_IMAGE: &str = "/app/package.json";

/// Maximum number of folders of `PATH` that are searched.
const FOLDERS: usize = 50;

#[derive(Deserialize)]
struct Package {
    name: String,
    version: String,
}

/// The version of the command line tool on this `PATH`, below this root. It is read from the tool's
/// files: nothing is run.
pub(super) fn of_client(root: &Path, environment: &Environment) -> Option<String> {
    let folders = environment.get("PATH").unwrap_or_default().split(':');
    let folders = folders
        .filter(|folder| folder.starts_with('/'))
        .take(FOLDERS);
    let beside = folders.map(|folder| format!("{folder}/{BESIDE}"));
    beside.chain([IN_IMAGE.to_owned()]).find_map(|file| {
        let package: Package = serde_json::from_slice(&read_in(root, &file)).ok()?;
        let is_it = package.name == "openclaw";
        is_it.then(|| PeerText::new(&package.version, 40).into())
    })
}

impl Versions {
    /// `the CLI here is 2026.3.7, older than the gateway's 2026.9.6`.
    pub(super) fn skew(&self) -> Option<String> {
        let (client, gateway) = (self.client.as_ref()?, self.gateway.as_ref()?);
        let how = match Release::of(client)?.cmp(&Release::of(gateway)?) {
            Ordering::Less => "older",
            Ordering::Equal => return None,
            Ordering::Greater => "newer",
        };
        Some(format!(
            "the OpenClaw CLI here is {client}, {how} than the gateway's {gateway}"
        ))
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use tempfile::TempDir;

    use super::*;

    #[test]
    fn the_tool_is_found_by_its_files() {
        let root = TempDir::new().unwrap();
        let of = |path: &str| {
            let environment = Environment::parse(format!("PATH={path}\0").as_bytes());
            of_client(root.path(), &environment)
        };
        let folder = root.path().join("opt/node/lib/node_modules/openclaw");
        fs::create_dir_all(&folder).unwrap();
        fs::create_dir_all(root.path().join("opt/node/bin")).unwrap();
        let write = |text: &str| fs::write(folder.join("package.json"), text).unwrap();
        write("{\"name\":\"openclaw\",\"version\":\"2026.9.6\"}");
        assert_eq!(of("/usr/bin:/opt/node/bin").as_deref(), Some("2026.9.6"));
        assert_eq!(of("/usr/bin"), None);
        assert_eq!(of("opt/node/bin"), None);
        write("{\"name\":\"other\",\"version\":\"1\"}");
        assert_eq!(of("/opt/node/bin"), None);
        // A container's symlink cannot lead outside of it.
        fs::remove_file(folder.join("package.json")).unwrap();
        let outside = TempDir::new().unwrap();
        let file = outside.path().join("package.json");
        fs::write(&file, "{\"name\":\"openclaw\",\"version\":\"2026.9.6\"}").unwrap();
        std::os::unix::fs::symlink(&file, folder.join("package.json")).unwrap();
        assert_eq!(of("/opt/node/bin"), None);
    }

    #[test]
    fn a_skew_is_named_by_its_direction() {
        let skew = |client: &str, gateway: &str| {
            let versions = Versions {
                client: Some(client.to_owned()),
                gateway: Some(gateway.to_owned()),
                ..Versions::default()
            };
            versions.skew()
        };
        assert!(skew("2026.3.7", "2026.9.6").unwrap().contains("older"));
        assert!(skew("2026.9.6", "2026.3.7").unwrap().contains("newer"));
        assert_eq!(skew("2026.9.6", "2026.9.6-1"), None);
        assert_eq!(skew("2026.9.6", "dev"), None);
    }
}
