//! The gateway's own configuration file: `gateway.controlUi.allowedOrigins`, so that there is one
//! list for both.

use std::fs::{self, File};
use std::io::Read as _;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::admission::origin::gateway::GatewayList;
use crate::config::error::{Complaint, quoted};
use crate::config::files::Stamp;

/// A larger file is not the gateway's configuration.
const MAX_BYTES: u64 = 4 * 1024 * 1024;

/// Deeper nesting is not read: the parser is recursive.
const MAX_DEPTH: usize = 64;

/// Maximum number of entries that are read.
const MAX_ENTRIES: usize = 10_000;

const KEY: &str = "gateway.controlUi.allowedOrigins";

/// The file as read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GatewayFile {
    path: PathBuf,
    list: GatewayList,
    host_fallback: bool,
    includes: bool,
    stamp: Option<Stamp>,
}

impl GatewayFile {
    /// Reads the file. A file without the key is an empty list.
    pub(in crate::config) fn read(path: &Path) -> Result<Self, Complaint> {
        // Taken before reading, so that anything written meanwhile shows as a change.
        let stamp = Stamp::of(path);
        let text = text(path)?;
        let (list, host_fallback, includes) = understand(&text, path)?;
        Ok(Self {
            path: path.to_owned(),
            list,
            host_fallback,
            includes,
            stamp,
        })
    }

    /// Reads the file again; the error is the mistake that it has now.
    pub fn read_again(&self) -> Result<Self, String> {
        Self::read(&self.path).map_err(|complaint| {
            format!("expected {}, found {}", complaint.expected, complaint.found)
        })
    }

    /// The path of the file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Its list of origins.
    #[must_use]
    pub fn list(&self) -> &GatewayList {
        &self.list
    }

    /// Whether `dangerouslyAllowHostHeaderOriginFallback` is set.
    #[must_use]
    pub fn host_fallback(&self) -> bool {
        self.host_fallback
    }

    /// Whether it includes other files, which are not read.
    #[must_use]
    pub fn includes(&self) -> bool {
        self.includes
    }

    /// The stamp of the file that was read; `None` if the file was no longer there.
    #[must_use]
    pub fn stamp(&self) -> Option<Stamp> {
        self.stamp
    }

    /// The stamp of the file at the path now.
    #[must_use]
    pub fn stamp_now(&self) -> Option<Stamp> {
        Stamp::of(&self.path)
    }
}

fn wrong(found: impl Into<String>) -> Complaint {
    Complaint::new("the gateway's own configuration file", found)
}

fn text(path: &Path) -> Result<String, Complaint> {
    let shown = quoted(&path.to_string_lossy());
    let unreadable = |error: &std::io::Error| match error.kind() {
        std::io::ErrorKind::NotFound => wrong(format!("no file {shown}")),
        _ => wrong(format!("no readable file {shown}: {error}")),
    };
    // Opening a pipe would wait for a writer.
    let meta = fs::metadata(path).map_err(|error| unreadable(&error))?;
    if !meta.is_file() {
        return Err(wrong(format!("{shown}, which is no file")));
    }
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|file| file.take(MAX_BYTES + 1).read_to_end(&mut bytes))
        .map_err(|error| unreadable(&error))?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(wrong(format!("{shown} with more than 4MiB")));
    }
    String::from_utf8(bytes).map_err(|_| wrong(format!("{shown}, which is not UTF-8")))
}

/// The list, whether the host fallback is set, and whether other files are included.
fn understand(text: &str, path: &Path) -> Result<(GatewayList, bool, bool), Complaint> {
    let shown = quoted(&path.to_string_lossy());
    if depth(text) > MAX_DEPTH {
        return Err(wrong(format!("{shown}, which is nested too deeply")));
    }
    let root: Value = json5::from_str(text).map_err(|error| {
        // Only the kind of mistake: other texts of the parser may quote a value.
        let kind = error
            .code()
            .map_or_else(|| "a mistake".to_owned(), |code| code.to_string());
        let at = error.position().map_or_else(String::new, |at| {
            format!(" at line {}, column {}", at.line + 1, at.column + 1)
        });
        wrong(format!("{shown}, which is not JSON5: {kind}{at}"))
    })?;
    let mut includes = false;
    let mut node = Some(&root);
    let mut key_path = String::new();
    for key in ["", "gateway", "controlUi"] {
        if !key.is_empty() {
            node = node
                .and_then(|node| node.get(key))
                .filter(|node| !node.is_null());
            key_path = format!(
                "{key_path}{}{key}",
                if key_path.is_empty() { "" } else { "." }
            );
        }
        if let Some(node) = node {
            let place = if key.is_empty() {
                "it"
            } else {
                key_path.as_str()
            };
            let expected = format!("a mapping under {place} in {shown}");
            let map = node
                .as_object()
                .ok_or_else(|| Complaint::new(expected, kind(node)))?;
            includes |= map.contains_key("$include");
        }
    }
    let control_ui = node;
    let host_fallback = control_ui
        .and_then(|ui| ui.get("dangerouslyAllowHostHeaderOriginFallback"))
        == Some(&Value::Bool(true));
    let entries = match control_ui.and_then(|ui| ui.get("allowedOrigins")) {
        None | Some(Value::Null) => Vec::new(),
        Some(Value::Array(entries)) if entries.len() > MAX_ENTRIES => {
            let expected = format!("at most {MAX_ENTRIES} entries as {KEY} in {shown}");
            return Err(Complaint::new(expected, entries.len().to_string()));
        }
        Some(Value::Array(entries)) => entries
            .iter()
            .enumerate()
            .map(|(index, entry)| {
                let expected = format!("a text as {KEY}[{index}] in {shown}");
                entry
                    .as_str()
                    .ok_or_else(|| Complaint::new(expected, kind(entry)))
            })
            .collect::<Result<_, _>>()?,
        Some(other) => {
            let expected = format!("a list of texts as {KEY} in {shown}");
            return Err(Complaint::new(expected, kind(other)));
        }
    };
    Ok((
        GatewayList::new(entries, host_fallback),
        host_fallback,
        includes,
    ))
}

/// The type of a value; the value itself may be a secret.
fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "nothing",
        Value::Bool(_) => "`true` or `false`",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "a mapping",
    }
}

/// The deepest nesting of brackets; those inside strings count too, which errs on the safe side.
fn depth(text: &str) -> usize {
    let (mut now, mut deepest) = (0_usize, 0);
    for byte in text.bytes() {
        match byte {
            b'[' | b'{' => {
                now += 1;
                deepest = deepest.max(now);
            }
            b']' | b'}' => now = now.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<GatewayFile, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("openclaw.json");
        fs::write(&path, text).unwrap();
        GatewayFile::read(&path).map_err(|complaint| {
            let folder = format!("{}/", folder.path().display());
            format!("expected {}, found {}", complaint.expected, complaint.found)
                .replace(&folder, "")
        })
    }

    fn live(text: &str) -> Vec<String> {
        let file = read(text).unwrap();
        file.list().live().iter().map(ToString::to_string).collect()
    }

    #[test]
    fn comments_trailing_commas_and_bare_keys_are_read() {
        let text = "// the gateway\n{\n  gateway: {\n    port: 18789, /* own */\n    controlUi: {\n      \
                    'allowedOrigins': [\n        'https://claw.example.com', // home\n        \
                    \"HTTP://localhost:5173\",\n      ],\n    },\n  },\n}\n";
        assert_eq!(
            live(text),
            ["https://claw.example.com", "http://localhost:5173"]
        );
    }

    #[test]
    fn a_file_without_the_key_is_an_empty_list() {
        for text in [
            "{}",
            "{ gateway: {} }",
            "{ gateway: null }",
            "{ gateway: { controlUi: {} } }",
            "{ gateway: { controlUi: { allowedOrigins: null } } }",
            "{ gateway: { controlUi: { allowedOrigins: [] } } }",
            "{ gateway: { allowedOrigins: ['https://a.b'] } }",
        ] {
            assert!(read(text).unwrap().list().is_empty(), "{text}");
        }
    }

    #[test]
    fn wrong_types_are_named_and_values_are_not_shown() {
        for (text, expected) in [
            (
                "",
                "expected the gateway's own configuration file, found `openclaw.json`, which is not JSON5: EOF parsing value",
            ),
            (
                "{\n  gateway: {{\n}",
                "expected the gateway's own configuration file, found `openclaw.json`, which is not JSON5: expected identifier at line 2, column 13",
            ),
            (
                "[]",
                "expected a mapping under it in `openclaw.json`, found a list",
            ),
            (
                "{ gateway: 's3cret' }",
                "expected a mapping under gateway in `openclaw.json`, found a text",
            ),
            (
                "{ gateway: { controlUi: true } }",
                "expected a mapping under gateway.controlUi in `openclaw.json`, found `true` or `false`",
            ),
            (
                "{ gateway: { controlUi: { allowedOrigins: 'https://a.b' } } }",
                "expected a list of texts as gateway.controlUi.allowedOrigins in `openclaw.json`, found a text",
            ),
            (
                "{ gateway: { controlUi: { allowedOrigins: ['https://a.b', 5] } } }",
                "expected a text as gateway.controlUi.allowedOrigins[1] in `openclaw.json`, found a number",
            ),
        ] {
            assert_eq!(read(text).unwrap_err(), expected, "{text}");
        }
        let deep = "[".repeat(100_000);
        assert!(read(&deep).unwrap_err().contains("too deeply"));
        let missing = GatewayFile::read(Path::new("/nonexistent/openclaw.json")).unwrap_err();
        assert_eq!(missing.found, "no file `/nonexistent/openclaw.json`");
        let folder = GatewayFile::read(Path::new("/")).unwrap_err();
        assert_eq!(folder.found, "`/`, which is no file");
    }

    #[test]
    fn the_fallback_and_includes_are_noted() {
        let file = read(
            "{ $include: './more.json', gateway: { controlUi: \
             { dangerouslyAllowHostHeaderOriginFallback: true } } }",
        )
        .unwrap();
        assert!(file.host_fallback() && file.includes() && file.list().is_empty());
        let file = read(
            "{ gateway: { controlUi: { dangerouslyAllowHostHeaderOriginFallback: 'true' } } }",
        )
        .unwrap();
        assert!(!file.host_fallback() && !file.includes());
    }

    #[test]
    fn a_file_that_is_written_or_replaced_has_another_stamp() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("openclaw.json");
        fs::write(&path, "{}").unwrap();
        let file = GatewayFile::read(&path).unwrap();
        assert_eq!(file.stamp(), file.stamp_now());
        let other = folder.path().join("other");
        fs::write(&other, "{}").unwrap();
        fs::rename(&other, &path).unwrap();
        assert_ne!(file.stamp(), file.stamp_now());
        let file = file.read_again().unwrap();
        assert_eq!(file.stamp(), file.stamp_now());
        fs::remove_file(&path).unwrap();
        assert_eq!(file.stamp_now(), None);
        assert!(file.read_again().unwrap_err().contains("no file"));
    }
}
