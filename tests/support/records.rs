//! The records file of a running tap.

use std::fmt::Write as _;
use std::path::Path;

use wstap::session::SessionRecord;
use wstap::session::record::{Class, Kind};

/// Every record that is completely written.
pub fn read(path: &Path) -> Vec<SessionRecord> {
    let Ok(text) = std::fs::read_to_string(path) else {
        return Vec::new();
    };
    let complete = text.rsplit_once('\n').map_or("", |(lines, _)| lines);
    let records = complete.lines().map(|line| {
        serde_json::from_str(line)
            .unwrap_or_else(|error| panic!("not a record: {error}: {}", cut(line, 400)))
    });
    records.collect()
}

/// Records whose verdict is `unknown`, shown; from every records file of a folder, rotated ones
/// included. What is no record is left out: some tests write such files.
pub fn unexplained(folder: &Path) -> String {
    let files = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let files = files.filter(|file| file.file_name().to_string_lossy().contains(".jsonl"));
    let mut found = Vec::new();
    for file in files {
        let text = std::fs::read_to_string(file.path()).unwrap_or_default();
        let records = text
            .lines()
            .filter_map(|line| serde_json::from_str(line).ok());
        found.extend(records.filter(|record: &SessionRecord| {
            let verdict = record.verdict.as_ref();
            verdict.is_none_or(|verdict| verdict.class == Class::Unknown)
        }));
    }
    summary(&found)
}

/// The class of a record's verdict.
pub fn class(record: &SessionRecord) -> Class {
    record
        .verdict
        .as_ref()
        .expect("every record has a verdict")
        .class
}

/// The rule of a record's verdict.
pub fn rule(record: &SessionRecord) -> &str {
    let verdict = record.verdict.as_ref();
    &verdict.expect("every record has a verdict").rule
}

pub fn is_websocket(record: &SessionRecord) -> bool {
    record.kind == Kind::Websocket
}

/// One line for each record, for the message of a failed test.
pub fn summary(records: &[SessionRecord]) -> String {
    let mut out = String::new();
    for record in records.iter().rev().take(20).rev() {
        let path = record
            .request
            .as_ref()
            .map_or("-", |request| request.path.as_str());
        let verdict = record.verdict.as_ref();
        let rule = verdict.map_or("-", |verdict| verdict.rule.as_str());
        let class = verdict.map_or("-", |verdict| verdict.class.as_str());
        let phase = record.phase.as_str();
        let close = &record.close;
        writeln!(
            out,
            "  {:?} {path} phase {phase} class {class} rule {rule} close {:?}/{:?} transport {:?}/{:?}",
            record.kind,
            close.client.as_ref().map(|seen| seen.code),
            close.gateway.as_ref().map(|seen| seen.code),
            close.transport.client,
            close.transport.gateway,
        )
        .expect("writing to a string");
    }
    out
}

/// At most `len` bytes of a text, for messages.
pub fn cut(text: &str, len: usize) -> &str {
    let mut end = len.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

/// The last `len` bytes of a text, for messages.
pub fn tail(text: &str, len: usize) -> &str {
    let mut start = text.len().saturating_sub(len);
    while !text.is_char_boundary(start) {
        start += 1;
    }
    &text[start..]
}
