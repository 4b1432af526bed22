//! The values of a configuration as text, by key path.

use std::collections::BTreeMap;

use super::document::{Node, Value};
use super::error::quoted;

/// The values of a configuration as text, by key path: `timeouts.idle`, `listeners[0].listen`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Written(pub(super) BTreeMap<String, Shown>);

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Shown {
    One(String),
    /// A list of single values.
    Many(Vec<String>),
}

impl Written {
    /// The values of a whole document.
    pub(super) fn of(root: &Node) -> Self {
        let mut keys = BTreeMap::new();
        walk(&root.value, String::new(), &mut keys);
        Self(keys)
    }

    /// The same values, with listeners numbered like the listeners of `new` that have the same
    /// address.
    pub(super) fn beside(&self, new: &Self) -> BTreeMap<String, Shown> {
        let (ours, theirs) = (self.addresses(), new.addresses());
        let mut free: Vec<&usize> = theirs.keys().collect();
        let mut names: BTreeMap<usize, String> = BTreeMap::new();
        for (at, address) in &ours {
            if let Some(found) = free.iter().position(|it| theirs.get(it) == Some(address)) {
                names.insert(*at, format!("listeners[{}]", free.remove(found)));
            }
        }
        for at in ours.keys() {
            names.entry(*at).or_insert_with(|| {
                if free.contains(&at) || !theirs.contains_key(at) {
                    format!("listeners[{at}]")
                } else {
                    format!("listeners[{at}] of before")
                }
            });
        }
        let renamed = |key: &String| {
            let (at, rest) = listener_key(key)?;
            Some(format!("{}{rest}", names.get(&at)?))
        };
        let all = self.0.iter();
        all.map(|(key, shown)| (renamed(key).unwrap_or_else(|| key.clone()), shown.clone()))
            .collect()
    }

    fn addresses(&self) -> BTreeMap<usize, &Shown> {
        let all = self.0.iter();
        all.filter_map(|(key, shown)| match listener_key(key)? {
            (at, ".listen") => Some((at, shown)),
            _ => None,
        })
        .collect()
    }
}

/// `(2, ".listen")` for `listeners[2].listen`.
pub(super) fn listener_key(key: &str) -> Option<(usize, &str)> {
    let (at, rest) = key.strip_prefix("listeners[")?.split_once(']')?;
    Some((at.parse().ok()?, rest))
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

/// The text of a single value; `None` for a list or mapping. No key holds a secret, only paths to
/// them.
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
