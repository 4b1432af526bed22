//! Records keep their JSON, as the previous release wrote it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use serde_json::{Value, json};

use super::*;
use crate::session::record::DialectFacts;

/// Fields that were added since then, with the reason. They are `null` in records of that version, except
/// [`READ_FROM_A_SENTENCE`].
const ADDED: &[(&str, &str)] = &[
    (READ_FROM_A_SENTENCE, "a limit as a number"),
    (
        "close.first_act",
        "who ended the session first, as one fact",
    ),
    ("close.refused.http2_error", "the kind of an HTTP/2 error"),
    (
        "close.transport.client_reset_code",
        "the kind of an HTTP/2 reset",
    ),
    ("gateway.tls.alert", "the kind of a TLS alert"),
    ("tap.started_at", "what a tap knows begins then"),
];

/// Older records have this number in their `detail` only, from which it is read.
const READ_FROM_A_SENTENCE: &str = "close.denied.limit";

/// What version 0.1 of 2026-12-01 (commit 697f096) wrote for each fixture, with its verdict but without the prose of it.
/// To make the file of another version, write in its checkout what [`rewritten`] returns for each fixture.
fn written_before() -> BTreeMap<String, Value> {
    let path = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/tests/fixtures/written/0.1.json"
    );
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

/// A record that was read, judged and written again, without the prose of its verdict.
fn rewritten(written: &Value) -> Value {
    let mut written = written.clone();
    written["verdict"] = Value::Null;
    let mut record: SessionRecord = serde_json::from_value(written).unwrap();
    record.verdict = Some(decide(&record));
    let mut value = serde_json::to_value(&record).unwrap();
    for prose in ["summary", "evidence", "next"] {
        value["verdict"].as_object_mut().unwrap().remove(prose);
    }
    value
}

/// Adds the paths at which two values differ, with what is there; `None`: the field is absent.
fn differences(
    path: &str,
    before: Option<&Value>,
    now: Option<&Value>,
    found: &mut Vec<(String, String)>,
) {
    match (before, now) {
        (Some(Value::Object(old)), Some(Value::Object(new))) => {
            let keys: BTreeSet<_> = old.keys().chain(new.keys()).collect();
            for key in keys {
                let path = if path.is_empty() {
                    key.clone()
                } else {
                    format!("{path}.{key}")
                };
                differences(&path, old.get(key), new.get(key), found);
            }
        }
        (Some(Value::Array(old)), Some(Value::Array(new))) if old.len() == new.len() => {
            for (old, new) in old.iter().zip(new) {
                differences(path, Some(old), Some(new), found);
            }
        }
        _ if before == now => {}
        _ => {
            let shown =
                |value: Option<&Value>| value.map_or_else(|| "absent".to_owned(), Value::to_string);
            let change = format!("{} -> {}", shown(before), shown(now));
            found.push((path.to_owned(), change));
        }
    }
}

#[test]
fn records_are_judged_and_written_as_before() {
    let before = written_before();
    assert_eq!(before.len(), 293);
    let (mut unexpected, mut seen) = (String::new(), BTreeSet::new());
    for (id, written) in before {
        let mut found = Vec::new();
        differences("", Some(&written), Some(&rewritten(&written)), &mut found);
        for (path, change) in found {
            match ADDED.iter().find(|(added, _)| *added == path) {
                Some((added, _))
                    if change == "absent -> null"
                        || *added == READ_FROM_A_SENTENCE && change.starts_with("absent -> ") =>
                {
                    seen.insert(*added);
                }
                _ => writeln!(unexpected, "{id}: {path}: {change}").unwrap(),
            }
        }
    }
    assert!(unexpected.is_empty(), "\n{unexpected}");
    for (path, why) in ADDED {
        assert!(seen.contains(path), "no record has it: {path} ({why})");
    }
}

#[test]
fn differences_are_found() {
    let before = json!({"a": {"b": 1, "c": [1, {"d": "x"}]}, "gone": null, "many": [1]});
    let now = json!({"a": {"b": 1.0, "c": [1, {"d": "y"}]}, "new": null, "many": [1, 2]});
    let mut found = Vec::new();
    differences("", Some(&before), Some(&now), &mut found);
    let paths: Vec<&str> = found.iter().map(|(path, _)| path.as_str()).collect();
    assert_eq!(paths, ["a.b", "a.c.d", "gone", "many", "new"]);
    assert_eq!(found.last().unwrap().1, "absent -> null");
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
