//! `wstap version`: which program this is, for bug reports and scripts.

use std::io::Write;

use serde_json::json;

use crate::exit;

/// Known at build time, or empty.
const COMMIT: &str = env!("WSTAP_COMMIT");

/// Prints it; returns the exit code.
#[must_use]
pub(crate) fn run(json: bool, out: &mut dyn Write) -> u8 {
    let text = if json {
        as_json().to_string()
    } else {
        as_text()
    };
    if writeln!(out, "{text}").is_ok() {
        exit::OK
    } else {
        exit::FAILED
    }
}

fn as_text() -> String {
    let commit = if COMMIT.is_empty() {
        String::new()
    } else {
        format!(" ({COMMIT})")
    };
    format!("wstap {}{commit}", env!("CARGO_PKG_VERSION"))
}

fn as_json() -> serde_json::Value {
    json!({
        "version": env!("CARGO_PKG_VERSION"),
        "commit": Some(COMMIT).filter(|commit| !commit.is_empty()),
        "features": features(),
        "rustc": env!("WSTAP_RUSTC"),
        "target": env!("WSTAP_TARGET"),
    })
}

/// The cargo features that it was built with.
fn features() -> Vec<&'static str> {
    let all = [("aws-lc-rs", cfg!(feature = "aws-lc-rs"))];
    all.into_iter()
        .filter_map(|(name, on)| on.then_some(name))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_names_every_feature_of_the_manifest() {
        let manifest = include_str!("../Cargo.toml");
        let section = manifest.split("\n[features]\n").nth(1).unwrap();
        let section = section.split("\n[").next().unwrap();
        let source = include_str!("version.rs");
        for line in section.lines().filter(|line| line.contains(" = ")) {
            let name = line.split(" = ").next().unwrap();
            let listed = source.contains(&format!("feature = \"{name}\""));
            assert!(listed || name == "default", "{name}");
        }
    }

    #[test]
    fn the_text_is_the_version_and_json_tells_how_it_was_built() {
        let text = as_text();
        assert!(text.starts_with(concat!("wstap ", env!("CARGO_PKG_VERSION"))));
        let json = as_json();
        assert_eq!(json["version"], env!("CARGO_PKG_VERSION"));
        assert!(
            json["rustc"].as_str().unwrap().starts_with("rustc "),
            "{json}"
        );
        assert!(json["commit"].is_null() || json["commit"].is_string());
    }
}
