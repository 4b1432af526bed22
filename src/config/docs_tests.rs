//! Holds the shipped files and the documentation to the schema: no key without its line.

use std::fs;
use std::path::PathBuf;

use schemars::schema_for;
use serde_json::Value;

use super::schema::FileSchema;
use super::*;

fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

fn read(name: &str) -> String {
    fs::read_to_string(path(name)).unwrap()
}

fn schema() -> Value {
    serde_json::to_value(schema_for!(FileSchema)).unwrap()
}

/// A key of the schema with what the schema says about it.
struct Key {
    path: Vec<String>,
    default: Option<Value>,
    described: bool,
}

/// Every key, sections included; `[]` stands for the items of a list.
fn keys() -> Vec<Key> {
    let schema = schema();
    let mut keys = Vec::new();
    collect(&schema, &schema, &mut Vec::new(), &mut keys);
    assert!(
        keys.len() > 35,
        "the walk over the schema is broken: {} keys",
        keys.len()
    );
    keys
}

fn collect(root: &Value, node: &Value, path: &mut Vec<String>, keys: &mut Vec<Key>) {
    if let Some(reference) = node["$ref"].as_str() {
        let target = root.pointer(reference.trim_start_matches('#')).unwrap();
        collect(root, target, path, keys);
    }
    for choice in node["anyOf"].as_array().into_iter().flatten() {
        collect(root, choice, path, keys);
    }
    if node["items"].is_object() {
        path.push("[]".to_owned());
        collect(root, &node["items"], path, keys);
        path.pop();
    }
    for (name, property) in node["properties"].as_object().into_iter().flatten() {
        path.push(name.clone());
        keys.push(Key {
            path: path.clone(),
            default: property.get("default").cloned(),
            described: property["description"].is_string(),
        });
        collect(root, property, path, keys);
        path.pop();
    }
}

/// What stands at a path of a YAML document; the first item of a list.
fn lookup<'v>(document: &'v serde_yaml::Value, path: &[String]) -> Option<&'v serde_yaml::Value> {
    path.iter().try_fold(document, |node, step| {
        if step == "[]" {
            node.get(0)
        } else {
            node.get(step.as_str())
        }
    })
}

#[test]
fn every_key_is_described_in_the_schema() {
    for key in keys() {
        assert!(key.described, "{} has no description", key.path.join("."));
    }
}

#[test]
fn the_full_file_names_every_key_and_shows_its_default() {
    let text = read("config/full.yaml");
    let document: serde_yaml::Value = serde_yaml::from_str(&text).unwrap();
    for key in keys() {
        let name = key.path.join(".");
        let last = key.path.last().unwrap();
        let shown = lookup(&document, &key.path);
        let commented = text.lines().any(|line| {
            let line = line.trim_start().trim_start_matches(['#', ' ', '-']);
            line.starts_with(&format!("{last}:"))
        });
        assert!(shown.is_some() || commented, "{name} is not in full.yaml");
        if let Some(default) = key.default {
            let shown = serde_json::to_value(shown.unwrap()).unwrap();
            assert_eq!(shown, default, "{name}: full.yaml against the schema");
        }
    }
}

fn places_aside(listeners: &[Listener]) -> Vec<(&Listen, &ListenerTls)> {
    listeners
        .iter()
        .map(|listener| (&listener.listen, &listener.tls))
        .collect()
}

#[test]
fn the_full_file_is_the_default_configuration() {
    let full = load(Some(&path("config/full.yaml")), &Overrides::default()).unwrap();
    let text = "gateway: { url: 'http://127.0.0.1:18789' }";
    let bare = parse(text, Path::new("bare"), &Overrides::default()).unwrap();
    assert_eq!(
        format!("{:?}", places_aside(full.listeners())),
        format!("{:?}", places_aside(bare.listeners()))
    );
    assert!(full.gateway().is_reached_like(bare.gateway()));
    assert_eq!(full.origins(), bare.origins());
    assert_eq!(full.timeouts(), bare.timeouts());
    assert_eq!(full.tcp(), bare.tcp());
    assert_eq!(full.limits(), bare.limits());
    assert_eq!(full.http2(), bare.http2());
    assert_eq!(full.records(), bare.records());
    assert!(full.admin().is_none() && bare.admin().is_none());
    assert_eq!(full.output(), bare.output());
    assert_eq!(full.session_header(), bare.session_header());
    assert!(full.fingerprint_key().is_none());
    assert_eq!(full.state_dir(), Path::new("certs/dev"));
    assert_eq!(full.workers(), bare.workers());
    assert!(full.warnings().is_empty());
}

#[test]
fn the_commented_keys_of_the_full_file_are_legal() {
    let text = read("config/full.yaml");
    let is_key = |line: &str| {
        let line = line.trim_start_matches("- ");
        line.split_once(": ")
            .map_or(line.strip_suffix(':'), |(key, _)| Some(key))
            .is_some_and(|key| {
                key.len() > 1 && key.bytes().all(|b| b.is_ascii_lowercase() || b == b'_')
            })
    };
    let uncommented: Vec<String> = text
        .lines()
        .map(|line| match line.split_once("# ") {
            Some((indent, rest)) if indent.trim().is_empty() && is_key(rest.trim_start()) => {
                format!("{indent}{rest}")
            }
            _ => line.to_owned(),
        })
        .collect();
    let errors = parse(
        &uncommented.join("\n"),
        Path::new("full"),
        &Overrides::default(),
    )
    .unwrap_err();
    for error in errors.iter() {
        let text = error.to_string();
        let about_files = ["no file ", "no readable file", "found both", "it beside"];
        assert!(about_files.iter().any(|part| text.contains(part)), "{text}");
    }
    assert_eq!(errors.as_slice().len(), 11, "{errors}");
}

#[test]
fn the_minimal_file_is_fine() {
    let config = load(Some(&path("config/minimal.yaml")), &Overrides::default()).unwrap();
    assert_eq!(config.gateway().url(), "http://127.0.0.1:18789");
    assert_eq!(config.state_dir(), Path::new("certs/dev"));
    assert!(config.warnings().is_empty());
}

#[test]
fn the_documentation_names_every_key() {
    let text = read("docs/configuration.md");
    for key in keys() {
        let last = key.path.last().unwrap();
        let dotted = key.path.join(".").replace(".[]", "[]");
        let named = text.contains(&format!("`{last}`")) || text.contains(&format!("`{dotted}`"));
        assert!(named, "docs/configuration.md does not name {dotted}");
    }
}

/// The page shows real output: each example, run again, has to give what is printed there.
#[test]
fn the_errors_in_the_documentation_are_real() {
    let text = read("docs/configuration.md");
    let mut examples = 0;
    for section in text.split("```yaml\n").skip(1) {
        let (yaml, rest) = section.split_once("```").unwrap();
        let Some(output) = rest
            .trim_start()
            .strip_prefix("```text\n$ wstap check --config wstap.yaml\n")
        else {
            continue;
        };
        let expected = output.split("```").next().unwrap();
        let errors = parse(yaml, Path::new("wstap.yaml"), &Overrides::default()).unwrap_err();
        let count = errors.as_slice().len();
        assert_eq!(format!("{errors}\n{count} errors\n"), expected);
        examples += 1;
    }
    assert!(examples > 0, "no example found");
}

#[test]
fn the_json_schema_is_up_to_date() {
    let file = path("docs/config.schema.json");
    let fresh = format!("{}\n", serde_json::to_string_pretty(&schema()).unwrap());
    if std::env::var_os("UPDATE_DOCS").is_some() {
        fs::write(&file, &fresh).unwrap();
    }
    let stored = fs::read_to_string(&file).unwrap_or_default();
    assert_eq!(
        stored, fresh,
        "docs/config.schema.json is stale: run `make docs`"
    );
}
