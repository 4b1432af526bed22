//! Differences between two versions of a configuration, for the log of a reload.
//!
//! It compares the file, key by key, so that a new key needs nothing here, and the contents of the files that it names
//! ([`contents`]). A listener is identified by its address, not by its position in the list.

use std::collections::BTreeSet;
use std::fmt;

use super::listener::Listener;
use super::overrides::{Override, OverrideSource, Overrides};
use super::resolved::Config;
use super::written::{Shown, listener_key};

mod contents;

/// Keys that are read only at the start; in addition to these, listeners that come and go, and a
/// socket's permissions.
const AT_START: [&str; 5] = [
    "admin",
    "fingerprint_key_file",
    "output",
    "records",
    "workers",
];

/// For each running listener, the index in `new` of the listener that continues it. Each is used
/// once: two may have asked for port 0.
fn pairs(running: &[Listener], new: &[Listener]) -> Vec<Option<usize>> {
    let mut free: Vec<usize> = (0..new.len()).collect();
    let same =
        |at: usize, bound: &Listener| new.get(at).is_some_and(|it| it.listen == bound.listen);
    let all = running.iter();
    all.map(|bound| {
        let found = free.iter().position(|at| same(*at, bound))?;
        Some(free.remove(found))
    })
    .collect()
}

/// Whether a key takes effect only when the tap is restarted; `runs` says whether the listener at
/// this index of the new list is bound.
fn needs_a_start(key: &str, runs: impl Fn(usize) -> bool) -> bool {
    let under = |section: &str| {
        key.strip_prefix(section)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
    };
    match listener_key(key) {
        Some((at, rest)) => rest.starts_with(" of before") || rest == ".mode" || !runs(at),
        None => AT_START.into_iter().any(under),
    }
}

/// One difference between the running configuration and another one. Displays as one line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    key: String,
    text: String,
    shadow: Option<OverrideSource>,
    at_start: bool,
}

impl Difference {
    /// Whether it takes effect only when the tap is restarted.
    #[must_use]
    pub fn needs_a_start(&self) -> bool {
        self.at_start
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.key, self.text)?;
        if let Some(source) = self.shadow {
            write!(f, " (without effect: {source} wins)")?;
        } else if self.at_start {
            f.write_str(" (takes effect at the next start)")?;
        }
        Ok(())
    }
}

impl Config {
    /// The differences in `new`, in the order of the keys. Values from flags and environment stay
    /// the same; `overrides` are those that both were read with.
    #[must_use]
    pub fn differences(&self, new: &Self, overrides: &Overrides) -> Vec<Difference> {
        let pairs = pairs(&self.listeners, &new.listeners);
        let runs = |at: usize| pairs.contains(&Some(at));
        let before = self.written.beside(&new.written);
        let after = &new.written.0;
        let keys: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
        let differs = |key: &&String| before.get(*key) != after.get(*key);
        let mut found: Vec<Difference> = keys
            .into_iter()
            .filter(differs)
            .map(|key| Difference {
                key: key.clone(),
                text: text(before.get(key), after.get(key)),
                shadow: overrides.shadow(key),
                at_start: needs_a_start(key, runs),
            })
            .collect();
        for (key, text) in contents::differences(self, new, &pairs) {
            // A path that differs has already been reported.
            if !found.iter().any(|one| one.key == key) {
                let (shadow, at_start) = (None, false);
                found.push(Difference {
                    key,
                    text: text.to_owned(),
                    shadow,
                    at_start,
                });
            }
        }
        found
    }

    /// Keeps the settings that cannot change while the tap runs: sockets, records files, the
    /// output. The protocol of a listener is taken from the new configuration, if that has the
    /// listener.
    #[must_use]
    pub fn keeping_what_runs(mut self, running: &Self) -> Self {
        let new = std::mem::take(&mut self.listeners);
        self.listeners = pairs(&running.listeners, &new)
            .into_iter()
            .zip(&running.listeners)
            .map(|(at, bound)| at.and_then(|at| new.get(at)).unwrap_or(bound).clone())
            .collect();
        self.admin.clone_from(&running.admin);
        self.records.clone_from(&running.records);
        self.output = running.output;
        self.workers = running.workers;
        self
    }
}

impl Overrides {
    /// The flag or variable that wins over this key.
    fn shadow(&self, key: &str) -> Option<OverrideSource> {
        let first = |given: &[Override]| {
            let given = given.iter().find(|one| one.is_given());
            given.map(|one| one.source)
        };
        let one = |given: &Option<Override>| first(given.as_slice());
        match key {
            "gateway.url" => one(&self.gateway),
            "admin.listen" => one(&self.admin),
            "records.path" => one(&self.records),
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

    const GATEWAY: &str = "gateway: { url: 'http://127.0.0.1:9' }\n";

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
            "listeners: [{ listen: '127.0.0.1:2' }]\noutput: json\nrecords: { keep: 3 }\nworkers: 1\n",
            &Overrides::default(),
        );
        let found = old.differences(&new, &Overrides::default());
        assert!(found.iter().all(Difference::needs_a_start), "{found:?}");
        assert_eq!(
            found[0].to_string(),
            "listeners[0].listen: `127.0.0.1:1` -> `127.0.0.1:2` (takes effect at the next start)"
        );
        let kept = new.keeping_what_runs(&old);
        assert_eq!(kept.listeners()[0].listen.to_string(), "127.0.0.1:1");
        assert_eq!(kept.output(), old.output());
        assert_eq!(kept.records(), old.records());
        assert_eq!(kept.workers(), old.workers());
    }

    #[test]
    fn a_listener_is_known_by_its_address() {
        let one = "{ listen: '127.0.0.1:1', tls: { min_version: '1.2' } }";
        let same = "{ listen: '127.0.0.1:1', tls: { min_version: '1.3' } }";
        let two = "{ listen: '127.0.0.1:2' }";
        let tls = "self_signed: {}, min_version";
        let between = |old: &[&str], new: &[&str]| {
            let list = |all: &[&str]| {
                format!("listeners: [{}]\n", all.join(", ")).replace("min_version", tls)
            };
            between(&list(old), &list(new))
        };
        // Another listener before it: the TLS settings of the old one take effect, the new one does
        // not yet.
        assert_eq!(
            between(&[one], &[two, same]),
            [
                "listeners[0].listen: not set -> `127.0.0.1:2` (takes effect at the next start)",
                "listeners[1].tls.min_version: `1.2` -> `1.3`",
            ]
        );
        assert_eq!(between(&[one, two], &[two, one]), [""; 0]);
        // A listener that is gone, and one with another address: nothing of it takes effect.
        for (old, new) in [(&[two, one][..], &[two][..]), (&[two, one], &[one])] {
            let lines = between(old, new);
            let later = |line: &String| line.ends_with("(takes effect at the next start)");
            assert!(!lines.is_empty() && lines.iter().all(later), "{lines:?}");
        }
        let moved = between(&[one], &[&same.replace(":1", ":2")]);
        assert_eq!(
            moved,
            [
                "listeners[0].listen: `127.0.0.1:1` -> `127.0.0.1:2` (takes effect at the next start)",
                "listeners[0].tls.min_version: `1.2` -> `1.3` (takes effect at the next start)",
            ]
        );
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
