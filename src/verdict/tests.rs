//! Tests over the whole registry.
//!
//! * `fixtures` walks the rules and their fixtures;
//! * `cases` covers the contract's "Cases decided here" that today's facts can show;
//! * `captures`: what real gateways of nine months said, judged;
//! * `hostile`: records that must not fool or harm anybody;
//! * `lantern`: a dialect of the tests alone, from bytes to verdicts;
//! * `answers`, `breaches`, `origins`, `pages`, `pings`: answers other than a 101, frames that break the
//!   protocol, Origins that we refuse, Origins of pages, unanswered pings;
//! * `decided`: a refusal decides over everything that comes after it;
//! * `first_act`: every part of the program gets the same answer to who ended a session first;
//! * `old_gateways`: what gateways before 2026.8 say otherwise, and limits that differ by version;
//! * `passthrough`: connections that pass unread are judged by what shows from outside;
//! * `placeholders`: no next action has a value to fill in;
//! * `requests`, `credentials`, `together`, `visits`: evidence from a session's requests, its secrets, other
//!   sessions and other connections;
//! * `chance`: random ends must not look like evidence;
//! * `releases`: which of client and gateway is older, and the names of the gateway's release;
//! * `precedence`: no order of rules is left to chance;
//! * `written`: records keep their JSON;
//! * `properties`: generated records; `grafts`: pieces of fixtures, combined.

mod answers;
mod breaches;
mod captures;
mod cases;
mod chance;
mod credentials;
mod decided;
mod first_act;
mod fixtures;
mod grafts;
mod hops;
mod hostile;
mod lantern;
mod old_gateways;
mod origins;
mod pages;
mod passthrough;
mod pings;
mod placeholders;
mod precedence;
mod properties;
mod reaching;
mod releases;
mod requests;
mod together;
mod visits;
mod written;

use std::path::{Path, PathBuf};

use super::openclaw::skew;
use super::*;

/// `tests/fixtures/verdicts`.
fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/verdicts")
}

/// The record of a rule's fixture.
fn fixture(id: &str) -> SessionRecord {
    let path = folder().join(format!("{id}.json"));
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{id}: {error}"));
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{id}: {error}"))
}

/// A fixture with some of its JSON replaced: `edit` gets the whole record.
fn edited(id: &str, edit: impl FnOnce(&mut serde_json::Value)) -> SessionRecord {
    let mut value = serde_json::to_value(fixture(id)).unwrap();
    edit(&mut value);
    serde_json::from_value(value).unwrap()
}

/// The rule that judges a record, which no other rule of its step matches.
fn rule_of(record: &SessionRecord) -> String {
    precedence::assert_no_tie(record);
    decide(record).rule
}

#[test]
fn an_empty_record_is_unknown() {
    let verdict = decide(&SessionRecord::default());
    assert_eq!(verdict.rule, "unknown");
    assert!(!verdict.next.is_empty());
}
