//! Checks the shipped files and the documentation against the schema: every key must have its line.

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

/// A key of the schema and its description.
struct Key {
    path: Vec<String>,
    default: Option<Value>,
    described: bool,
    is_path: bool,
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
            is_path: property["format"] == "path" || property["anyOf"][0]["format"] == "path",
        });
        collect(root, property, path, keys);
        path.pop();
    }
}

/// The value at a path of a YAML document; for a list, in its first item.
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
    assert_eq!(full.state_dir(), path("certs/dev"));
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
    assert_eq!(errors.as_slice().len(), 12, "{errors}");
}

#[test]
fn the_minimal_file_is_fine() {
    let config = load(Some(&path("config/minimal.yaml")), &Overrides::default()).unwrap();
    assert_eq!(config.gateway().url(), "http://127.0.0.1:18789");
    assert_eq!(config.state_dir(), path("certs/dev"));
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

/// The page shows real output: running each example again must give what is printed there.
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

/// A configuration with a gateway, and this value at this key.
fn with_value(key: &[String], value: &str) -> String {
    let value = key
        .iter()
        .rev()
        .fold(Value::from(value), |inner, step| match step.as_str() {
            "[]" => Value::from(vec![inner]),
            name => serde_json::json!({ name: inner }),
        });
    let mut document = serde_json::json!({ "gateway": { "url": "https://gw" } });
    merge(&mut document, value);
    document.to_string()
}

fn merge(into: &mut Value, from: Value) {
    match (into, from) {
        (Value::Object(into), Value::Object(from)) => {
            for (key, value) in from {
                merge(into.entry(key).or_insert(Value::Null), value);
            }
        }
        (into, from) => *into = from,
    }
}

/// Every path that a configuration leads to, whether it has mistakes or not.
fn paths_of(text: &str, file: &Path) -> Vec<PathBuf> {
    fs::write(file, text).unwrap();
    let named = |files: &[Named]| files.iter().map(|it| it.path.clone()).collect::<Vec<_>>();
    let loaded = load(Some(file), &Overrides::default());
    let mut found = match &loaded {
        Ok(config) => named(config.files()),
        Err(errors) => named(errors.files()),
    };
    if let Ok(config) = loaded {
        found.push(config.state_dir().to_owned());
        found.extend(config.records().path.clone());
        for listener in config.listeners() {
            found.extend(match &listener.listen {
                Listen::Unix(path) => Some(path.clone()),
                _ => None,
            });
        }
        if let Target::Unix(path) = config.gateway().target() {
            found.push(path.clone());
        }
    }
    found
}

/// Tests run in the repository's folder, and the configuration file is in another one.
#[test]
fn every_path_is_relative_to_the_file_that_names_it() {
    let root = tempfile::tempdir().unwrap();
    let root = root.path().canonicalize().unwrap();
    let folder = root.join("conf");
    fs::create_dir(&folder).unwrap();
    let file = folder.join("wstap.yaml");
    let mut paths: Vec<(Vec<String>, &str)> = keys()
        .into_iter()
        .filter(|key| key.is_path)
        .map(|key| (key.path, ""))
        .collect();
    assert!(paths.len() >= 10, "the walk over the schema is broken");
    let sockets = [&["listeners", "[]", "listen"][..], &["gateway", "url"]];
    for socket in sockets {
        let key = socket.iter().map(|step| (*step).to_owned()).collect();
        paths.push((key, "unix:"));
    }
    for (key, scheme) in paths {
        for (given, wanted) in [
            ("relative", folder.join("relative")),
            ("./relative", folder.join("relative")),
            ("../relative", root.join("relative")),
            ("/nonexistent", "/nonexistent".into()),
        ] {
            let name = key.join(".");
            let found = paths_of(&with_value(&key, &format!("{scheme}{given}")), &file);
            assert!(found.contains(&wanted), "{name}: {given}: {found:?}");
            assert!(found.iter().all(|path| path.is_absolute()), "{name}");
        }
    }
}

/// A new key for a file must be covered by the test above.
#[test]
fn every_key_that_sounds_like_a_path_is_one() {
    for key in keys() {
        let last = key.path.last().unwrap().as_str();
        let named = ["path", "ca", "crl", "cert", "key", "from_gateway_config"].contains(&last);
        let sounds = named || last.ends_with("_file") || last.ends_with("_dir");
        assert_eq!(key.is_path, sounds, "{}", key.path.join("."));
    }
}

#[test]
fn paths_of_flags_are_relative_to_the_working_directory() {
    let here = std::env::current_dir().unwrap();
    let flag = |name, value: &str| Override {
        value: value.to_owned(),
        source: OverrideSource::Flag(name),
    };
    let overrides = Overrides {
        listen: vec![flag("--listen", "unix:tap.sock")],
        gateway: Some(flag("--gateway", "unix:gw.sock")),
        state_dir: Some("state".into()),
        ..Overrides::default()
    };
    let config = parse("", Path::new("/nonexistent/wstap.yaml"), &overrides).unwrap();
    assert_eq!(config.state_dir(), here.join("state"));
    let listen = &config.listeners()[0].listen;
    assert_eq!(listen, &Listen::Unix(here.join("tap.sock")));
    let gateway = format!("unix:{}", here.join("gw.sock").display());
    assert_eq!(config.gateway().url(), gateway);
}
