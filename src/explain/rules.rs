//! A rule's page, and the rules of a class.

use serde_json::{Value, json};
use strsim::osa_distance;

use super::offset::offset_ms;
use super::page_writer::{PageWriter, pad_left, word};
use crate::session::SessionRecord;
use crate::session::record::{Class, Layer, Verdict};
use crate::verdict::{self, Rule, Stage, rules};

include!(concat!(env!("OUT_DIR"), "/examples.rs"));

/// Maximum number of near misses that are named.
const MOST_NEAR: usize = 5;
/// Width of the name column.
const NAME: usize = 9;

/// The rules that a name stands for.
#[derive(Clone, Debug)]
pub(crate) enum Named {
    /// One rule.
    Rule(&'static Rule),
    /// All rules whose ids begin with the name of a class or the first part of one.
    Several {
        /// The name.
        name: String,
        /// The classes that it covers.
        classes: Vec<Class>,
    },
}

/// The rule, class or beginning of classes with this name.
#[must_use]
pub(crate) fn named(name: &str) -> Option<Named> {
    let name = name.trim_end_matches(['.', '*']);
    if let Some(rule) = verdict::registry::rule(name) {
        return Some(Named::Rule(rule));
    }
    let begins = format!("{name}.");
    let classes: Vec<Class> = Class::ALL
        .into_iter()
        .filter(|class| class.as_str() == name || class.as_str().starts_with(&begins))
        .collect();
    (!classes.is_empty()).then(|| Named::Several {
        name: name.to_owned(),
        classes,
    })
}

/// Ids that the user may have meant, the likeliest first.
#[must_use]
pub(crate) fn near(name: &str) -> Vec<&'static str> {
    let name = name.to_lowercase();
    let last = name.rsplit('.').next().unwrap_or_default();
    let mut found: Vec<(usize, &'static str)> = rules()
        .iter()
        .filter_map(|rule| {
            let tail = rule.id.rsplit('.').next().unwrap_or_default();
            let whole = osa_distance(&name, rule.id);
            let part = osa_distance(last, tail);
            let close = |edits: usize, word: &str| edits <= (word.len() / 4).max(1);
            if close(whole, rule.id) {
                Some((whole, rule.id))
            } else if last.len() >= 4 && (close(part, tail) || tail.contains(last)) {
                // Only a part matches: rank it after ids that are near as a whole.
                Some((100 + part, rule.id))
            } else {
                None
            }
        })
        .collect();
    found.sort_unstable();
    found
        .into_iter()
        .map(|(_, id)| id)
        .take(MOST_NEAR)
        .collect()
}

/// The record of the rule's fixture, judged.
pub(super) fn example(id: &str) -> Option<(SessionRecord, Verdict)> {
    let (_, text) = EXAMPLES.iter().find(|(of, _)| *of == id)?;
    let record: SessionRecord = serde_json::from_str(text).ok()?;
    let verdict = verdict::decide(&record);
    Some((record, verdict))
}

impl Named {
    /// The page as JSON; see `docs/explain.md`.
    #[must_use]
    pub(crate) fn json(&self) -> Value {
        match self {
            Self::Rule(rule) => {
                let mut page = rule_json(rule);
                if let (Some(page), Some((record, verdict))) =
                    (page.as_object_mut(), example(rule.id))
                {
                    page.insert("explains".into(), "rule".into());
                    page.insert(
                        "example".into(),
                        json!({ "verdict": verdict, "record": record }),
                    );
                }
                page
            }
            Self::Several { name, classes } => json!({
                "explains": "rules",
                "name": name,
                "classes": classes.iter().map(|class| json!({
                    "class": class,
                    "about": class.about(),
                    "layer": class.layer(),
                    "rules": of_class(*class).into_iter().map(rule_json).collect::<Vec<_>>(),
                })).collect::<Vec<_>>(),
            }),
        }
    }

    /// The page for people, `width` columns wide.
    #[must_use]
    pub(crate) fn page(&self, width: usize) -> String {
        let mut writer = PageWriter::new(width);
        match self {
            Self::Rule(rule) => rule_page(rule, &mut writer),
            Self::Several { name, classes } => {
                for (index, class) in classes.iter().enumerate() {
                    if index > 0 {
                        writer.gap();
                    }
                    class_list(*class, &mut writer);
                }
                let first = classes
                    .iter()
                    .find_map(|class| of_class(*class).first().copied());
                if let Some(first) = first {
                    writer.gap();
                    writer.dim("", &format!("one of {name}: `wstap explain {}`", first.id));
                }
            }
        }
        writer.finish()
    }
}

fn of_class(class: Class) -> Vec<&'static Rule> {
    let mut found: Vec<&Rule> = rules()
        .iter()
        .copied()
        .filter(|rule| rule.class == class)
        .collect();
    found.sort_by_key(|rule| rule.id);
    found
}

pub(super) fn rule_json(rule: &Rule) -> Value {
    json!({
        "rule": rule.id,
        "class": rule.class,
        "class_about": rule.class.about(),
        "layer": rule.class.layer(),
        "party": rule.party,
        "act_on": rule.act_on,
        "title": rule.title,
        "explanation": rule.explanation,
        "needs": rule.evidence,
        "asked": rule.stage().map(Stage::looks_at),
        "versions": rule.known_of(),
        "next": rule.action,
    })
}

fn class_list(class: Class, writer: &mut PageWriter) {
    writer.class(class, class.as_str());
    writer.text("  ", &format!("{}{}", class.about(), layer(class, ", ")));
    let found = of_class(class);
    let width = found.iter().map(|rule| rule.id.len()).max().unwrap_or(0);
    for rule in found {
        writer.row(rule.id, width, rule.title);
    }
}

fn layer(class: Class, before: &str) -> String {
    match class.layer() {
        None => String::new(),
        Some(Layer::L1) => format!("{before}L1 transport"),
        Some(Layer::L2) => format!("{before}L2 authentication"),
        Some(Layer::L3) => format!("{before}L3 channels"),
    }
}

fn rule_page(rule: &Rule, writer: &mut PageWriter) {
    writer.class(rule.class, rule.id);
    writer.text("  ", rule.title);
    writer.gap();
    let class = format!("{}: {}", rule.class, rule.class.about());
    writer.row("class", NAME, &class);
    let layer = layer(rule.class, "");
    if !layer.is_empty() {
        writer.row("layer", NAME, &layer);
    }
    writer.row("ended by", NAME, rule.party.as_str());
    writer.row("to act", NAME, &word(&rule.act_on));
    writer.row("needs", NAME, rule.evidence);
    if let Some(stage) = rule.stage() {
        writer.row("looks at", NAME, stage.looks_at());
    }
    writer.row("known of", NAME, &rule.known_of());
    writer.heading("What it means");
    writer.text("  ", rule.explanation);
    if let Some((record, verdict)) = example(rule.id) {
        writer.heading("What it looks like");
        writer.text("  ", &verdict.summary);
        for evidence in &verdict.evidence {
            let time = match evidence.at {
                Some(at) => format!("{:.1} ms", offset_ms(&record, at)),
                None => "-".to_owned(),
            };
            writer.item(&format!("  {}  ", pad_left(&time, 12)), &evidence.fact);
        }
        writer.next(&verdict.next);
    }
    writer.heading("What to do");
    writer.text("  ", rule.action);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_rule_has_an_example_that_it_alone_explains() {
        for rule in rules() {
            let (_, verdict) = example(rule.id).unwrap_or_else(|| panic!("{}", rule.id));
            assert_eq!(verdict.rule, rule.id);
        }
    }

    #[test]
    fn names_lead_to_rules_and_classes() {
        assert!(matches!(
            named("gateway.auth.token_mismatch"),
            Some(Named::Rule(_))
        ));
        for (name, count) in [
            ("gateway.auth", 1),
            ("gateway.", 12),
            ("client", 3),
            ("ok", 1),
        ] {
            let Some(Named::Several { classes, .. }) = named(name) else {
                panic!("{name}");
            };
            assert_eq!(classes.len(), count, "{name}");
        }
        assert!(named("gate").is_none() && named("").is_none());
    }

    #[test]
    fn near_misses_are_found() {
        let first = |name: &str| near(name).first().copied();
        assert_eq!(
            first("gateway.auth.token_missmatch"),
            Some("gateway.auth.token_mismatch")
        );
        assert_eq!(first("token_mismatch"), Some("gateway.auth.token_mismatch"));
        assert_eq!(
            first("Gateway.Auth.Token_Mismatch"),
            Some("gateway.auth.token_mismatch")
        );
        assert_eq!(first("gateway.left.opne"), Some("gateway.left.open"));
        assert!(near("xyzzy-no-such-thing").is_empty());
        assert!(near("mismatch").len() <= MOST_NEAR);
    }
}
