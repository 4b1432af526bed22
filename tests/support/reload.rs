//! Changing the configuration of a running tap.

use std::fs;
use std::path::Path;

use serde_json::{Map, Value};

use super::deadline::{STEP, poll};
use super::tap::Tap;

/// Puts a file in the place of another at once, as careful editors do.
pub fn put(path: &Path, content: &str) {
    let new = path.with_extension("new");
    fs::write(&new, content).expect("write beside it");
    fs::rename(&new, path).expect("rename");
}

impl Tap {
    /// Sets `a.b.c` in its file; it may notice that by itself.
    pub fn set(&self, key: &str, value: impl Into<Value>) {
        let text = fs::read_to_string(self.config_path()).expect("read the configuration");
        let mut config: Value = serde_json::from_str(&text).expect("it was written as JSON");
        let mut place = &mut config;
        for name in key.split('.') {
            let keys = place.as_object_mut().expect("a mapping");
            place = keys
                .entry(name)
                .or_insert_with(|| Value::Object(Map::new()));
        }
        *place = value.into();
        put(&self.config_path(), &config.to_string());
    }

    /// How often a reload has ended like this: `done`, `refused`, `nothing is different`.
    pub fn reloads(&self, outcome: &str) -> usize {
        self.stderr().matches(&format!("reload: {outcome}")).count()
    }

    /// SIGHUP, and what the log says up to the outcome.
    pub async fn reload(&self, outcome: &str) -> String {
        let before = self.stderr().len();
        self.signal_hup();
        self.told(before, outcome).await
    }

    /// What the log says from `before` up to a reload that ends like this.
    pub async fn told(&self, before: usize, outcome: &str) -> String {
        let wanted = format!("reload: {outcome}");
        let look = || {
            let text = self.stderr();
            let new = text.get(before..).unwrap_or_default();
            let (told, _) = new.split_once(&wanted)?;
            Some(format!("{told}{wanted}"))
        };
        let found = poll(STEP, look).await;
        found.unwrap_or_else(|| panic!("no `{wanted}`:\n{}", self.stderr()))
    }
}
