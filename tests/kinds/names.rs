//! The program does not know the name of its application: what depends on `OpenClaw` is in the folders of
//! its dialect and of its rules. Commands and the configuration are about that gateway by purpose.
//!
//! A name is an identifier, or a text without a blank such as a header's name. Sentences for people may
//! name the product.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use super::lexer::{Token, production_part, tokens};
use crate::layers::{collect, is_for_tests};

/// Commands, their options and the configuration.
const BY_PURPOSE: [&str; 9] = [
    "attach",
    "check",
    "cli",
    "config",
    "demo",
    "fingerprint",
    "map",
    "probe",
    "serve",
];

/// Files that list every dialect, and few others, with the reason.
const ALLOWED: [(&str, &str); 12] = [
    ("dialect.rs", "lists the dialects"),
    ("dialect/plain.rs", "an unread gateway may be one of these"),
    ("explain/steps.rs", "lists the steps of each dialect"),
    (
        "explain/steps/tunnel.rs",
        "chooses the steps of the dialect",
    ),
    (
        "session/credential/shape.rs",
        "what programs print for a secret",
    ),
    (
        "session/record/dialect.rs",
        "lists the facts of each dialect",
    ),
    (
        "session/record/dialect/other.rs",
        "no name of a known dialect",
    ),
    (
        "session/record/texts.rs",
        "visits the texts of each dialect",
    ),
    ("session/secrets.rs", "a word that is no secret"),
    ("verdict.rs", "lists the folders of rules"),
    (
        "verdict/precedence/tunnel.rs",
        "orders the rules of each dialect",
    ),
    ("verdict/rules.rs", "lists the rules of each dialect"),
];

/// The first name of the application in a source, if any.
fn named(source: &str) -> Option<String> {
    let holds = |text: &str| text.to_ascii_lowercase().contains("openclaw");
    tokens(source).into_iter().find_map(|token| match token {
        Token::Word(word) if holds(&word) => Some(word),
        Token::Text(text) if holds(&text) && !text.contains(char::is_whitespace) => Some(text),
        _ => None,
    })
}

#[test]
fn names_are_told_from_prose() {
    for name in [
        "view.is_openclaw()",
        "Choice::OpenClaw",
        "== \"openclaw\"",
        "\"x-openclaw-scopes\"",
    ] {
        assert!(named(name).is_some(), "{name}");
    }
    for prose in [
        "// OpenClaw pings",
        "\"run `openclaw devices list`\"",
        "view.spoken()",
    ] {
        assert_eq!(named(prose), None, "{prose}");
    }
}

#[test]
fn only_the_dialects_folders_name_the_application() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    collect(&root, &mut files);
    let (mut wrong, mut used, mut read) = (Vec::new(), BTreeSet::new(), 0);
    for path in files.iter().filter(|path| !is_for_tests(path)) {
        let inner = path.strip_prefix(&root).expect("below src");
        let file = inner.display().to_string();
        let top = file.split(['/', '.']).next().unwrap_or_default();
        let own = file.contains("/openclaw/") || file.ends_with("/openclaw.rs");
        if own || BY_PURPOSE.contains(&top) {
            continue;
        }
        read += 1;
        let source = fs::read_to_string(path).expect("a source file");
        let Some(name) = named(&production_part(&source)) else {
            continue;
        };
        match ALLOWED.iter().find(|(allowed, _)| *allowed == file) {
            Some((allowed, _)) => {
                used.insert(*allowed);
            }
            None => wrong.push(format!("src/{file}: {name}")),
        }
    }
    assert!(read > 200, "only {read} files were read");
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
    let listed: BTreeSet<&str> = ALLOWED.iter().map(|(file, _)| *file).collect();
    assert_eq!(listed, used, "exceptions without use");
}
