//! Records keep their JSON: `dialect` is written as the first version with a dialect wrote it.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::*;
use crate::session::record::DialectFacts;

/// `dialect` of every fixture, as version 0.1 wrote it, before facts had a type for each dialect.
fn written_before() -> BTreeMap<String, Value> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/dialects.json");
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

#[test]
fn records_are_written_as_before() {
    let before = written_before();
    assert!(before.len() > 130, "only {} records", before.len());
    for (id, expected) in before {
        let record = fixture(&id);
        assert_eq!(
            serde_json::to_value(&record.dialect).unwrap(),
            expected,
            "{id}"
        );
    }
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
