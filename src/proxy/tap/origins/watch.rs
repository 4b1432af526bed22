//! Whether the gateway's file has changed, one look at a time.
//!
//! Looking at the path instead of holding the file open follows editors that write a new file and
//! rename it. A file that cannot be read is reported only if the next look finds the same, because
//! it may be half written.

use crate::config::{GatewayFile, Stamp};

/// What a look has found.
#[derive(Debug)]
pub(super) enum Change {
    /// It was read again.
    Read(Box<GatewayFile>),
    /// It cannot be read or understood any more; told once until it can.
    Broken(String),
}

/// What the last looks have found.
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
    /// Begins with a file that was read.
    pub(super) fn new(file: &GatewayFile) -> Self {
        Self {
            seen: file.stamp(),
            trouble: None,
        }
    }

    /// Looks at the path of `file`, the last one that could be read.
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

        // In the middle of writing, and then whole.
        fs::write(&path, "{ gateway: {").unwrap();
        assert!(watch.look(&file).is_none(), "it may not be finished");
        fs::write(&path, list("https://longer.example")).unwrap();
        match watch.look(&file) {
            Some(Change::Read(read)) => file = *read,
            other => panic!("{other:?}"),
        }
        assert_eq!(file.list().live()[0].as_str(), "https://longer.example");

        // Broken for good, then gone: one change of state, told once.
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
