//! Watches the gateway's file for changes, one check at a time.
//!
//! Checking the path instead of holding the file open follows editors that write a new file and
//! rename it. A file that cannot be read is reported only if the next check finds the same, because
//! it may be half written.

use crate::config::{GatewayFile, Stamp};

/// The result of a check.
#[derive(Debug)]
pub(super) enum Change {
    /// The file was read again.
    Read(Box<GatewayFile>),
    /// The file can no longer be read or parsed; reported once until it can.
    Broken(String),
}

/// The state from earlier checks.
#[derive(Debug)]
pub(super) struct Watch {
    seen: Option<Stamp>,
    trouble: Option<Trouble>,
}

#[derive(Debug)]
struct Trouble {
    text: String,
    logged: bool,
}

impl Watch {
    /// Starts with a file that was read.
    pub(super) fn new(file: &GatewayFile) -> Self {
        Self {
            seen: file.stamp(),
            trouble: None,
        }
    }

    /// Checks the path of `file`, which is the last version that could be read.
    pub(super) fn look(&mut self, file: &GatewayFile) -> Option<Change> {
        let stamp = file.stamp_now();
        if stamp == self.seen {
            let trouble = self.trouble.as_mut().filter(|trouble| !trouble.logged)?;
            trouble.logged = true;
            return Some(Change::Broken(trouble.text.clone()));
        }
        self.seen = stamp;
        match file.read_again() {
            Ok(file) => {
                self.trouble = None;
                self.seen = file.stamp();
                Some(Change::Read(Box::new(file)))
            }
            Err(text) => {
                let logged = self.trouble.as_ref().is_some_and(|trouble| trouble.logged);
                self.trouble = Some(Trouble { text, logged });
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::*;
    use crate::config::{self, Overrides};

    fn list(entry: &str) -> String {
        format!("{{ gateway: {{ controlUi: {{ allowedOrigins: ['{entry}'] }} }} }}")
    }

    fn file(path: &Path) -> GatewayFile {
        let text = format!(
            "gateway: {{ url: 'http://127.0.0.1:1' }}\norigins: {{ from_gateway_config: '{}' }}\n",
            path.display()
        );
        let config = config::parse(&text, Path::new("test"), &Overrides::default()).unwrap();
        config.origins().gateway_file().unwrap().clone()
    }

    #[test]
    fn trouble_is_told_once_and_only_when_it_stays() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("openclaw.json");
        fs::write(&path, list("https://a.b")).unwrap();
        let mut file = file(&path);
        let mut watch = Watch::new(&file);
        assert!(watch.look(&file).is_none(), "nothing has changed");

        // Half written, and then complete.
        fs::write(&path, "{ gateway: {").unwrap();
        assert!(watch.look(&file).is_none(), "it may not be finished");
        fs::write(&path, list("https://longer.example")).unwrap();
        match watch.look(&file) {
            Some(Change::Read(read)) => file = *read,
            other => panic!("{other:?}"),
        }
        assert_eq!(file.list().live()[0].as_str(), "https://longer.example");

        // Broken permanently, then gone: one change of state, reported once.
        fs::write(&path, "{").unwrap();
        assert!(watch.look(&file).is_none());
        assert!(matches!(watch.look(&file), Some(Change::Broken(_))));
        assert!(watch.look(&file).is_none());
        fs::remove_file(&path).unwrap();
        for _ in 0..3 {
            assert!(watch.look(&file).is_none());
        }
        // Replaced by rename, and broken once more.
        let new = folder.path().join("new");
        fs::write(&new, list("https://c.d")).unwrap();
        fs::rename(&new, &path).unwrap();
        assert!(matches!(watch.look(&file), Some(Change::Read(_))));
        assert!(watch.look(&file).is_none());
        fs::remove_file(&path).unwrap();
        assert!(watch.look(&file).is_none());
        match watch.look(&file) {
            Some(Change::Broken(text)) => assert!(text.contains("no file"), "{text}"),
            other => panic!("{other:?}"),
        }
    }
}
