//! The files of `deploy/`, as far as they can be tried without a container engine and without
//! systemd as the first process. `live::containers` runs them in an engine, `live::compose` without one.

mod compose;
mod dockerfile;
mod unit;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

/// A file or folder of the repository.
fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

fn read(name: &str) -> String {
    fs::read_to_string(path(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// A YAML or JSON file.
fn document(name: &str) -> Value {
    parse(name, &read(name))
}

fn parse(name: &str, text: &str) -> Value {
    serde_yaml::from_str(text).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// The words of a list.
fn words(list: &Value) -> Vec<&str> {
    let items = list.as_array().into_iter().flatten();
    items.filter_map(Value::as_str).collect()
}

/// Whole seconds: `8s`.
fn seconds(value: &Value) -> u64 {
    let text = value.as_str().and_then(|text| text.strip_suffix('s'));
    text.and_then(|text| text.parse().ok())
        .unwrap_or_else(|| panic!("{value} is not a number of seconds"))
}

/// Runs `wstap check`; the error is its output.
fn check(config: &Path, env: &[(&str, &str)]) -> Result<(), String> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_wstap"));
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("WSTAP_")) {
        command.env_remove(name);
    }
    command.envs(env.iter().copied()).arg("check");
    let output = command
        .arg("--config")
        .arg(config)
        .output()
        .expect("run wstap");
    if output.status.success() {
        return Ok(());
    }
    Err(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// The folder that the image and the unit create; this machine need not have it.
const STATE: &str = "/var/lib/wstap";

/// Checks a shipped file with two changes: a key file in place of the mounted secret, and a
/// temporary folder in place of [`STATE`].
fn check_shipped(name: &str, env: &[(&str, &str)]) -> Result<(), String> {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let key = folder.path().join("key");
    fs::write(&key, [7; 32]).expect("write a key");
    let mut text = read(name);
    if let Some(secret) = document(name)["fingerprint_key_file"].as_str() {
        text = text.replace(secret, &key.to_string_lossy());
    }
    text = text.replace(STATE, &folder.path().to_string_lossy());
    let file = folder.path().join("wstap.yaml");
    fs::write(&file, text).expect("write a configuration");
    check(&file, env)
}

#[test]
fn the_configurations_pass_the_check() {
    let gateway = |url| [("WSTAP_GATEWAY", url)];
    let local = gateway("http://127.0.0.1:18789");
    assert_eq!(check_shipped("config/compose.yaml", &[]), Ok(()));
    assert_eq!(check_shipped("config/compose.yaml", &local), Ok(()));
    // As Compose passes a variable that is not set.
    assert_eq!(check_shipped("config/compose.yaml", &gateway("")), Ok(()));
    assert_eq!(check_shipped("deploy/systemd.yaml", &[]), Ok(()));
    let elsewhere = gateway("http://openclaw-gateway:18789");
    assert_eq!(check_shipped("deploy/image.yaml", &elsewhere), Ok(()));
    let without = check_shipped("deploy/image.yaml", &[]).expect_err("no gateway");
    assert!(without.contains("WSTAP_GATEWAY"), "{without}");
}

/// Every YAML block of the page is a configuration of wstap's or a Compose file.
#[test]
fn what_the_page_shows_is_right() {
    let page = read("deploy/README.md");
    let blocks = page.split("```yaml\n").skip(1);
    let blocks: Vec<&str> = blocks.filter_map(|rest| rest.split("```").next()).collect();
    assert!(!blocks.is_empty(), "no YAML in deploy/README.md");
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("wstap.yaml");
    let gateway = [("WSTAP_GATEWAY", "http://openclaw-gateway:18789")];
    for block in blocks {
        let found = parse("a block of deploy/README.md", block);
        if found.get("services").is_some() {
            compose::assert_fits_the_schema("a block of deploy/README.md", &found);
        } else {
            let block = block.replace(STATE, &folder.path().to_string_lossy());
            fs::write(&file, &block).expect("write a configuration");
            assert_eq!(check(&file, &gateway), Ok(()), "{block}");
        }
    }
    for name in page.split(['`', ' ', '(', ')', '\n']) {
        let named = ["deploy/", "config/"].iter().any(|it| name.starts_with(it));
        let made = name.starts_with("deploy/secrets") || name.starts_with("deploy/openclaw/");
        if named && !made {
            assert!(path(name).exists(), "deploy/README.md names {name}");
        }
    }
}
