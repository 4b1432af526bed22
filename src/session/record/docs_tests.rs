//! `docs/record.schema.json` is generated from the types; `docs/records.md` must name every field.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use serde_json::Value;

use super::SessionRecord;

fn docs(name: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("docs")
        .join(name)
}

#[test]
fn docs_record_schema_is_current() {
    let schema = schemars::schema_for!(SessionRecord);
    let wanted = serde_json::to_string_pretty(&schema).unwrap() + "\n";
    let path = docs("record.schema.json");
    if std::env::var_os("UPDATE_DOCS").is_some() {
        fs::write(&path, &wanted).unwrap();
    }
    let found = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        found == wanted,
        "docs/record.schema.json is stale: run `make docs`"
    );
}

#[test]
fn docs_records_page_names_every_field() {
    let schema = serde_json::to_value(schemars::schema_for!(SessionRecord)).unwrap();
    let mut names = BTreeSet::new();
    properties(&schema, &mut names);
    assert!(
        names.contains("client_saw") && names.len() > 100,
        "the schema was not walked"
    );
    let page = fs::read_to_string(docs("records.md")).unwrap_or_default();
    let words: BTreeSet<&str> = page
        .split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'))
        .collect();
    let missing: Vec<&String> = names
        .iter()
        .filter(|name| !words.contains(name.as_str()))
        .collect();
    assert!(
        missing.is_empty(),
        "docs/records.md does not name {missing:?}"
    );
}

fn properties(value: &Value, names: &mut BTreeSet<String>) {
    match value {
        Value::Object(object) => {
            if let Some(Value::Object(fields)) = object.get("properties") {
                names.extend(fields.keys().cloned());
            }
            object.values().for_each(|value| properties(value, names));
        }
        Value::Array(list) => list.iter().for_each(|value| properties(value, names)),
        _ => {}
    }
}
