//! Describes a value by its kind and the names of its keys, never by its content.

use serde_json::Value;

use super::limits::{KEY_CAP, MAX_KEYS};
use crate::session::text::PeerText;

/// Describes a value by its kind and the names of its keys, never by its content.
pub(super) fn kind(value: &Value) -> String {
    match value {
        Value::Null => "nothing (null)".to_owned(),
        Value::Bool(_) => "a boolean".to_owned(),
        Value::Number(_) => "a number (a secret of digits needs quotes)".to_owned(),
        Value::String(_) => "a string".to_owned(),
        Value::Array(items) => format!("a list of {}", items.len()),
        Value::Object(map) if map.is_empty() => "an object without keys".to_owned(),
        Value::Object(map) => {
            let mut keys: Vec<_> = map
                .keys()
                .take(MAX_KEYS)
                .map(|key| PeerText::new(key, KEY_CAP).to_string())
                .collect();
            if map.len() > MAX_KEYS {
                keys.push(format!("… and {} more", map.len() - MAX_KEYS));
            }
            format!("an object with the keys {}", keys.join(", "))
        }
    }
}
