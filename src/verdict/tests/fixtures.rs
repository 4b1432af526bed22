//! Every rule has a fixture that it alone explains, words for people, and a place in the docs.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use super::*;
use crate::session::record::Class;
use crate::verdict::openclaw::said;

/// Maximum length of a summary: it must fit in one line of a terminal.
const MOST: usize = 160;

#[test]
fn every_rule_is_found_by_its_fixture() {
    let mut wrong = String::new();
    for rule in rules() {
        if !folder().join(format!("{}.json", rule.id)).exists() {
            let _ = writeln!(wrong, "{} has no fixture", rule.id);
            continue;
        }
        let found = rule_of(&fixture(rule.id));
        if found != rule.id {
            let _ = writeln!(wrong, "the fixture of {} is judged as {found}", rule.id);
        }
    }
    assert!(wrong.is_empty(), "\n{wrong}");
}

#[test]
fn every_fixture_belongs_to_a_rule() {
    for entry in std::fs::read_dir(folder()).unwrap() {
        let path = entry.unwrap().path();
        assert_eq!(path.extension().unwrap(), "json", "{}", path.display());
        let id = path.file_stem().unwrap().to_str().unwrap();
        assert!(registry::rule(id).is_some(), "{id} is no rule");
    }
}

#[test]
fn fixtures_name_no_field_that_records_lack() {
    for rule in rules() {
        let path = folder().join(format!("{}.json", rule.id));
        let written: serde_json::Value =
            serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
        let read = serde_json::to_value(fixture(rule.id)).unwrap();
        assert_known(rule.id, &written, &read);
    }
}

/// Fields that are not read would silently be ignored.
fn assert_known(at: &str, written: &serde_json::Value, read: &serde_json::Value) {
    let (Some(written), Some(read)) = (written.as_object(), read.as_object()) else {
        return;
    };
    for (key, value) in written {
        let known = read.get(key);
        assert!(known.is_some(), "{at}: records have no field {key}");
        assert_known(&format!("{at}.{key}"), value, known.unwrap());
    }
}

#[test]
fn every_rule_explains_itself() {
    for rule in rules() {
        for (what, text) in [
            ("title", rule.title),
            ("explanation", rule.explanation),
            ("evidence", rule.evidence),
            ("action", rule.action),
        ] {
            assert!(!text.trim().is_empty(), "{} has no {what}", rule.id);
            assert!(!text.contains("  "), "{}: a gap in its {what}", rule.id);
        }
        assert!(
            !rule.title.ends_with('.'),
            "{}: a title is no sentence",
            rule.id
        );
        assert!(
            rule.explanation.ends_with(['.', ')']),
            "{}: {}",
            rule.id,
            rule.explanation
        );
        for text in [rule.action, rule.evidence] {
            assert!(!text.ends_with('.'), "{}: {text}", rule.id);
        }
    }
}

#[test]
fn ids_are_unique_and_begin_with_their_class() {
    let mut seen = BTreeSet::new();
    for rule in rules() {
        assert!(seen.insert(rule.id), "{} is there twice", rule.id);
        let rest = rule.id.strip_prefix(rule.class.as_str());
        let tail = rest
            .and_then(|rest| rest.strip_prefix('.'))
            .unwrap_or_default();
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
        assert!(
            !tail.is_empty() && tail.chars().all(plain),
            "{} does not read {}.name",
            rule.id,
            rule.class
        );
    }
}

#[test]
fn every_class_has_a_rule() {
    for class in Class::ALL {
        if class == Class::Unknown {
            continue;
        }
        assert!(rules().iter().any(|rule| rule.class == class), "{class}");
    }
}

#[test]
fn summaries_are_one_line_and_every_finding_says_what_was_seen() {
    for rule in rules() {
        let verdict = decide(&fixture(rule.id));
        let length = verdict.summary.chars().count();
        assert!(length <= MOST, "{}: {length}: {}", rule.id, verdict.summary);
        assert!(
            !verdict.summary.ends_with('.'),
            "{}: {}",
            rule.id,
            verdict.summary
        );
        assert!(!verdict.summary.contains('\n') && !verdict.next.contains('\n'));
        assert!(!verdict.next.is_empty(), "{}", rule.id);
        assert!(
            !verdict.evidence.is_empty(),
            "{} shows no evidence",
            rule.id
        );
        assert!(
            verdict
                .evidence
                .iter()
                .all(|evidence| !evidence.fact.trim().is_empty()),
            "{}",
            rule.id
        );
    }
}

#[test]
fn every_known_code_of_the_gateway_has_a_rule() {
    for code in said::CODES {
        let record = edited("gateway.closed.refused", |record| {
            record["dialect"]["error"]["details_code"] = code.into();
        });
        let rule = rule_of(&record);
        assert_ne!(rule, "gateway.closed.refused", "{code}");
    }
    let mut sorted = said::CODES;
    sorted.sort_unstable();
    assert_eq!(sorted, said::CODES);
}

#[test]
fn truth_table() {
    let mut ids: Vec<&str> = rules().iter().map(|rule| rule.id).collect();
    ids.sort_unstable();
    let mut table = String::new();
    for id in ids {
        let verdict = decide(&fixture(id));
        let act_on = serde_json::to_value(verdict.act_on).unwrap();
        let layer = verdict
            .layer
            .map_or_else(|| "–".to_owned(), |layer| format!("{layer:?}"));
        let _ = writeln!(
            table,
            "{id:<44} {:<19} {:<8} {:<9} {layer:<2} {:?}",
            verdict.class,
            verdict.party.as_str(),
            act_on.as_str().unwrap(),
            verdict.confidence,
        );
    }
    insta::assert_snapshot!(table);
}

#[test]
fn words() {
    let mut ids: Vec<&str> = rules().iter().map(|rule| rule.id).collect();
    ids.sort_unstable();
    let mut text = String::new();
    for id in ids {
        let verdict = decide(&fixture(id));
        let _ = writeln!(
            text,
            "{id}\n  {}\n  next: {}",
            verdict.summary, verdict.next
        );
    }
    insta::assert_snapshot!(text);
}

#[test]
fn the_docs_page_is_up_to_date() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/verdicts.md");
    let page = docs::page();
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&path, &page).unwrap();
    }
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        written == page,
        "docs/verdicts.md is stale: run `make docs`"
    );
}
