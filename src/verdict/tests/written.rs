//! Records keep their JSON, as the previous release wrote it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use serde_json::{Value, json};

use super::*;
use crate::session::record::DialectFacts;

/// Fields that changed on purpose since then, with the reason. A change below one of these paths is expected.
const CHANGED: &[(&str, &str)] = &[
    (
        "client.proxy_protocol.fault.detail",
        "plainer words; no rule reads them",
    ),
    (
        "close.denied.limit",
        "a number besides the sentence that names it",
    ),
    ("close.refused.detail", "plainer words; no rule reads them"),
    ("close.refused.http2_error", "the kind of an HTTP/2 error"),
    (
        "close.transport.client_reset_code",
        "the kind of an HTTP/2 reset",
    ),
];

/// For each fixture the JSON merge patch (RFC 7386) from the file to what version 0.1 of 2026-12-01 wrote for it, with
/// the verdict but without its prose.
fn written_before() -> BTreeMap<String, Value> {
    let path = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/tests/fixtures/written/0.1.json"
    );
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

/// The record of a fixture as it is written now, without the prose of its verdict.
fn written_now(id: &str) -> Value {
    let mut record = fixture(id);
    record.verdict = Some(decide(&record));
    let mut value = serde_json::to_value(&record).unwrap();
    for prose in ["summary", "evidence", "next"] {
        value["verdict"].as_object_mut().unwrap().remove(prose);
    }
    value
}

fn merge(target: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = json!({});
    }
    let target = target.as_object_mut().unwrap();
    for (key, value) in patch {
        if value.is_null() {
            target.remove(key);
        } else {
            merge(target.entry(key.clone()).or_insert(Value::Null), value);
        }
    }
}

/// Adds the paths whose values differ. A missing field equals `null`, because both mean that nothing is known.
fn differences(path: &str, before: &Value, now: &Value, found: &mut Vec<(String, String)>) {
    match (before, now) {
        (Value::Object(old), Value::Object(new)) => {
            let keys: BTreeSet<_> = old.keys().chain(new.keys()).collect();
            for key in keys {
                let of = |object: &serde_json::Map<String, Value>| {
                    object.get(key).cloned().unwrap_or_default()
                };
                let path = if path.is_empty() {
                    key.clone()
                } else {
                    format!("{path}.{key}")
                };
                differences(&path, &of(old), &of(new), found);
            }
        }
        (Value::Array(old), Value::Array(new)) if old.len() == new.len() => {
            for (old, new) in old.iter().zip(new) {
                differences(path, old, new, found);
            }
        }
        (Value::Number(old), Value::Number(new)) if old.as_f64() == new.as_f64() => {}
        _ if before == now => {}
        _ => found.push((path.to_owned(), format!("{before} -> {now}"))),
    }
}

#[test]
fn records_are_written_as_before() {
    let before = written_before();
    assert!(before.len() > 280, "only {} records", before.len());
    let (mut unexpected, mut seen) = (String::new(), BTreeSet::new());
    for (id, patch) in before {
        let text = std::fs::read_to_string(folder().join(format!("{id}.json"))).unwrap();
        let mut expected: Value = serde_json::from_str(&text).unwrap();
        merge(&mut expected, &patch);
        let mut found = Vec::new();
        differences("", &expected, &written_now(&id), &mut found);
        for (path, change) in found {
            let named = CHANGED.iter().find(|(prefix, _)| {
                path.strip_prefix(prefix)
                    .is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
            });
            match named {
                Some((prefix, _)) => _ = seen.insert(*prefix),
                None => writeln!(unexpected, "{id}: {path}: {change}").unwrap(),
            }
        }
    }
    assert!(unexpected.is_empty(), "\n{unexpected}");
    for (path, why) in CHANGED {
        assert!(seen.contains(path), "no record shows it: {path} ({why})");
    }
}

#[test]
fn differences_are_found() {
    let before = json!({"a": {"b": 1, "c": [1, {"d": "x"}]}, "gone": true, "null": null});
    let now = json!({"a": {"b": 1.0, "c": [1, {"d": "y"}]}, "new": 0});
    let mut found = Vec::new();
    differences("", &before, &now, &mut found);
    let paths: Vec<&str> = found.iter().map(|(path, _)| path.as_str()).collect();
    assert_eq!(paths, ["a.c.d", "gone", "new"]);
    let mut merged = before.clone();
    merge(&mut merged, &json!({"a": {"b": 2}, "gone": null}));
    assert_eq!(
        merged,
        json!({"a": {"b": 2, "c": [1, {"d": "x"}]}, "null": null})
    );
}

/// Records of a newer version, or of a version with another dialect: every field survives, also a field whose name is
/// known here but whose form is not.
#[test]
fn records_of_unknown_dialects_are_written_as_they_were_read() {
    for written in [
        json!({"name": "newer", "result": "refused", "error": {"code": "E1", "message": "no",
            "retry_after_ms": 5}, "queue": [1, {"depth": 2.5}]}),
        json!({"name": "newer", "result": "postponed", "error": "none", "shutdown": {"at": 7}}),
        json!({"name": "newer", "error": {"code": "E1", "more": true}, "result": "none",
            "answered_at": null, "inflate": null}),
        json!({"name": ""}),
    ] {
        let facts: DialectFacts = serde_json::from_value(written.clone()).unwrap();
        assert_eq!(serde_json::to_value(&facts).unwrap(), written);
        assert_eq!(facts.openclaw(), None);
    }
}

#[test]
fn a_broken_record_of_a_known_dialect_is_no_record_of_an_unknown_one() {
    for broken in [
        json!({"name": "openclaw", "result": "postponed"}),
        json!({"name": "plain", "max_payload": "much"}),
        json!({"name": 7}),
    ] {
        assert!(
            serde_json::from_value::<DialectFacts>(broken.clone()).is_err(),
            "{broken}"
        );
    }
}
