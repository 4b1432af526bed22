//! What differs between two readings of a configuration, for whoever reads the log after a reload.
//!
//! It compares what stands in the files, key by key, so that a new key needs nothing here.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use super::document::{Node, Value};
use super::error::quoted;
use super::{Config, Override, OverrideSource, Overrides};

/// Keys that only a start looks at. Of a listener it is the address alone, and a socket's permissions.
const AT_START: [&str; 4] = ["admin", "fingerprint_key_file", "output", "records"];

/// The text of a configuration by key path: `timeouts.idle`, `listeners[0].listen`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Written(BTreeMap<String, Shown>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Shown {
    One(String),
    /// A list of single values.
    Many(Vec<String>),
}

impl Written {
    /// Of a whole document.
    pub(super) fn of(root: &Node) -> Self {
        let mut keys = BTreeMap::new();
        walk(&root.value, String::new(), &mut keys);
        Self(keys)
    }
}

fn walk(value: &Value, path: String, keys: &mut BTreeMap<String, Shown>) {
    match value {
        Value::Map(entries) => {
            for entry in entries {
                let path = if path.is_empty() {
                    entry.key.clone()
                } else {
                    format!("{path}.{}", entry.key)
                };
                walk(&entry.node.value, path, keys);
            }
        }
        Value::List(nodes) => {
            let single: Option<Vec<String>> =
                nodes.iter().map(|node| single(&node.value)).collect();
            if let Some(all) = single {
                keys.insert(path, Shown::Many(all));
                return;
            }
            for (index, node) in nodes.iter().enumerate() {
                walk(&node.value, format!("{path}[{index}]"), keys);
            }
        }
        one => {
            if let Some(text) = single(one).filter(|_| !path.is_empty()) {
                keys.insert(path, Shown::One(text));
            }
        }
    }
}

/// As it may be shown; `None` for what has parts. No key holds a secret, only paths to them.
fn single(value: &Value) -> Option<String> {
    match value {
        Value::Null => Some("nothing".to_owned()),
        Value::Bool(flag) => Some(flag.to_string()),
        Value::Unsigned(number) => Some(number.to_string()),
        Value::OtherNumber => Some("a number".to_owned()),
        Value::Text(text) => Some(quoted(text)),
        Value::List(_) | Value::Map(_) => None,
    }
}

/// One difference between the configuration that runs and another one. Displays as one line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    key: String,
    text: String,
    shadow: Option<OverrideSource>,
}

impl Difference {
    /// The key path.
    #[must_use]
    pub fn key(&self) -> &str {
        &self.key
    }

    /// It counts only when the tap is started again.
    #[must_use]
    pub fn needs_a_start(&self) -> bool {
        let under = |section: &str| {
            self.key
                .strip_prefix(section)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
        };
        AT_START.into_iter().any(under)
            || (under("listeners") && [".listen", ".mode"].iter().any(|it| self.key.ends_with(it)))
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.key, self.text)?;
        if let Some(source) = self.shadow {
            write!(f, " (without effect: {source} wins)")?;
        } else if self.needs_a_start() {
            f.write_str(" (counts from the next start on)")?;
        }
        Ok(())
    }
}

impl Config {
    /// What `new` says otherwise, in the order of the keys. Values from flags and environment stay
    /// what they are; `overrides` are those that both were read under.
    #[must_use]
    pub fn differences(&self, new: &Self, overrides: &Overrides) -> Vec<Difference> {
        let (old, new) = (&self.written.0, &new.written.0);
        let keys: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
        let differs = |key: &&String| old.get(*key) != new.get(*key);
        keys.into_iter()
            .filter(differs)
            .map(|key| Difference {
                key: key.clone(),
                text: text(old.get(key), new.get(key)),
                shadow: overrides.shadow(key),
            })
            .collect()
    }

    /// Keeps what cannot change while the tap runs: sockets, files of records, the output. What is
    /// spoken on a listener is taken from the new configuration, if that has the listener.
    #[must_use]
    pub fn keeping_what_runs(mut self, running: &Self) -> Self {
        let mut new = std::mem::take(&mut self.listeners);
        self.listeners = running
            .listeners
            .iter()
            .map(|bound| {
                let at = new.iter().position(|it| it.listen == bound.listen);
                // Each counts once: two may have asked for port 0.
                at.map_or_else(|| bound.clone(), |at| new.remove(at))
            })
            .collect();
        self.admin.clone_from(&running.admin);
        self.records.clone_from(&running.records);
        self.output = running.output;
        self
    }
}

impl Overrides {
    /// Which flag or variable wins over this key.
    fn shadow(&self, key: &str) -> Option<OverrideSource> {
        let first = |given: &[Override]| {
            let given = given.iter().find(|one| one.is_given());
            given.map(|one| one.source)
        };
        let one = |given: &Option<Override>| first(given.as_slice());
        match key {
            "gateway.url" => one(&self.gateway),
            "admin.listen" => one(&self.admin),
            "origins.allowed" => first(&self.allowed_origins),
            _ if key.starts_with("listeners") => first(&self.listen),
            _ => None,
        }
    }
}

fn text(old: Option<&Shown>, new: Option<&Shown>) -> String {
    let listed = |shown: Option<&Shown>| match shown {
        Some(Shown::Many(all)) => Some(all.clone()),
        None => Some(Vec::new()),
        Some(Shown::One(_)) => None,
    };
    if let (Some(old), Some(new)) = (listed(old), listed(new)) {
        let without = |all: &[String], other: &[String]| -> Vec<String> {
            let left = all.iter().filter(|one| !other.contains(one));
            left.cloned().collect()
        };
        let (added, removed) = (without(&new, &old), without(&old, &new));
        let mut parts = Vec::new();
        if !added.is_empty() {
            parts.push(format!("added {}", added.join(", ")));
        }
        if !removed.is_empty() {
            parts.push(format!("removed {}", removed.join(", ")));
        }
        if parts.is_empty() {
            parts.push("in another order".to_owned());
        }
        return parts.join("; ");
    }
    format!("{} -> {}", shown(old), shown(new))
}

fn shown(value: Option<&Shown>) -> String {
    match value {
        None => "not set".to_owned(),
        Some(Shown::One(text)) => text.clone(),
        Some(Shown::Many(all)) => format!("[{}]", all.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config;

    const GATEWAY: &str = "gateway: { url: 'http://127.0.0.1:1' }\n";

    fn read(text: &str, overrides: &Overrides) -> Config {
        config::parse(&format!("{GATEWAY}{text}"), Path::new("test"), overrides).unwrap()
    }

    fn between(old: &str, new: &str) -> Vec<String> {
        let none = Overrides::default();
        let found = read(old, &none).differences(&read(new, &none), &none);
        found.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn each_key_that_differs_is_told_with_both_values() {
        assert_eq!(between("", ""), [""; 0]);
        assert_eq!(
            between(
                "timeouts: { idle: 1h, drain: 3s }\nsession_header: true\n",
                "timeouts: { idle: 30m }\nsession_header: false\nlimits: { per_client: 9 }\n",
            ),
            [
                "limits.per_client: not set -> 9",
                "session_header: true -> false",
                "timeouts.drain: `3s` -> not set",
                "timeouts.idle: `1h` -> `30m`",
            ]
        );
    }

    #[test]
    fn lists_tell_what_came_and_went() {
        assert_eq!(
            between(
                "origins: { allowed: ['https://a.b', 'https://c.d'] }\n",
                "origins: { allowed: ['https://c.d', 'https://e.f'] }\n",
            ),
            ["origins.allowed: added `https://e.f`; removed `https://a.b`"]
        );
        assert_eq!(
            between("", "trusted_proxies: [10.0.0.0/8]\n"),
            ["trusted_proxies: added `10.0.0.0/8`"]
        );
    }

    #[test]
    fn what_only_a_start_can_change_says_so_and_stays() {
        let old = read(
            "listeners: [{ listen: '127.0.0.1:1' }]\noutput: line\n",
            &Overrides::default(),
        );
        let new = read(
            "listeners: [{ listen: '127.0.0.1:2' }]\noutput: json\nrecords: { keep: 3 }\n",
            &Overrides::default(),
        );
        let found = old.differences(&new, &Overrides::default());
        assert!(found.iter().all(Difference::needs_a_start), "{found:?}");
        assert_eq!(
            found[0].to_string(),
            "listeners[0].listen: `127.0.0.1:1` -> `127.0.0.1:2` (counts from the next start on)"
        );
        let kept = new.keeping_what_runs(&old);
        assert_eq!(kept.listeners()[0].listen.to_string(), "127.0.0.1:1");
        assert_eq!(kept.output(), old.output());
        assert_eq!(kept.records(), old.records());
    }

    #[test]
    fn a_flag_that_wins_is_named() {
        let overrides = Overrides {
            allowed_origins: vec![Override {
                value: "https://a.b".to_owned(),
                source: OverrideSource::Flag("--allowed-origin"),
            }],
            ..Overrides::default()
        };
        let old = read("", &overrides);
        let new = read("origins: { allowed: ['https://c.d'] }\n", &overrides);
        let found = old.differences(&new, &overrides);
        assert_eq!(
            found[0].to_string(),
            "origins.allowed: added `https://c.d` (without effect: --allowed-origin wins)"
        );
        assert_eq!(old.origins(), new.origins());
    }
}
