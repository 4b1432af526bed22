//! The order of the rules is complete, and nothing in it is left to chance.
//!
//! Two rules of one step that match the same record would be tried in the order of their ids. Which
//! record can be written is not known to the program, so this looks at all that are written down:
//! fixtures, what real gateways said (`captures`), and the records of the other tests (`rule_of`).
//! Records of random pieces are no evidence, because their facts contradict each other: a handshake
//! that failed for its certificate and for its timer.

use std::collections::BTreeSet;

use super::*;
use crate::verdict::precedence::{PRECEDENCE, Step, ids};
use crate::verdict::rules::files;

/// Fails if two rules of one step match a record.
pub(super) fn assert_no_tie(record: &SessionRecord) {
    let tied = ties(steps(), record);
    assert!(tied.is_empty(), "asked in no order: {tied:?}");
}

/// The rules that match a record, for each step in which there are several.
fn ties(steps: impl Iterator<Item = Step>, record: &SessionRecord) -> Vec<Vec<&'static str>> {
    let view = View::new(record);
    let matches = |id: &str| registry::rule(id).is_some_and(|rule| (rule.find)(&view).is_some());
    let matching = |step: Step| step.iter().copied().filter(|id| matches(id)).collect();
    steps
        .map(matching)
        .filter(|found: &Vec<_>| found.len() > 1)
        .collect()
}

fn steps() -> impl Iterator<Item = Step> {
    let steps = PRECEDENCE.iter().flat_map(|(_, steps)| steps.iter());
    steps.copied()
}

#[test]
fn no_fixture_is_matched_twice_in_one_step() {
    for rule in rules() {
        let tied = ties(steps(), &fixture(rule.id));
        assert!(tied.is_empty(), "{}: {tied:?}", rule.id);
    }
}

#[test]
fn a_tie_is_found() {
    const TIED: Step = &[
        "gateway.auth.identity_header",
        "gateway.auth.token_missing",
        "gateway.auth.trusted_proxy",
    ];
    const APART: [Step; 2] = [
        &["gateway.auth.identity_header"],
        &["gateway.auth.trusted_proxy"],
    ];
    let record = fixture("gateway.auth.identity_header");
    assert_eq!(
        ties([TIED].into_iter(), &record),
        [["gateway.auth.identity_header", "gateway.auth.trusted_proxy"]]
    );
    assert!(ties(APART.into_iter(), &record).is_empty());
}

#[test]
fn both_legs_that_stalled_are_named_in_one_order() {
    let record = edited("network.cut.client_stalled", |record| {
        let tcp = record["client"]["tcp"].clone();
        record["gateway"]["tcp"] = tcp;
        record["close"]["timer"] = serde_json::json!({
            "key": "idle", "limit_ms": 300_000, "observed_ms": 300_000.0, "at": record["closed_at"],
        });
        record["close"]["transport"]["client"] = "none".into();
        record["close"]["transport"]["gateway"] = "none".into();
    });
    let view = View::new(&record);
    let both = ["network.cut.client_stalled", "network.cut.gateway_stalled"];
    for id in both {
        assert!((registry::rule(id).unwrap().find)(&view).is_some(), "{id}");
    }
    assert_eq!(rule_of(&record), both[0]);
}

#[test]
fn every_rule_is_in_exactly_one_step() {
    let written: Vec<&str> = files().flatten().map(|rule| rule.id).collect();
    let listed: Vec<&str> = ids().collect();
    let wrong = mistakes(&written, &listed);
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert_eq!(rules().len(), written.len());
}

#[test]
fn an_incomplete_order_is_found() {
    assert_eq!(
        mistakes(&["a", "b", "b"], &["a", "c", "a"]),
        [
            "two rules are called b",
            "a is in two places of the order",
            "b is in no step",
            "c is no rule",
        ]
    );
    assert!(mistakes(&["a", "b"], &["b", "a"]).is_empty());
}

/// The differences between the existing rules and those that the order lists.
fn mistakes(written: &[&str], listed: &[&str]) -> Vec<String> {
    let (rules, mut wrong) = set(written, |id| format!("two rules are called {id}"));
    let (order, twice) = set(listed, |id| format!("{id} is in two places of the order"));
    wrong.extend(twice);
    let missing = rules.difference(&order);
    wrong.extend(missing.map(|id| format!("{id} is in no step")));
    let unknown = order.difference(&rules);
    wrong.extend(unknown.map(|id| format!("{id} is no rule")));
    wrong
}

/// The ids as a set, and a message for each that occurs twice.
fn set<'a>(ids: &[&'a str], twice: impl Fn(&str) -> String) -> (BTreeSet<&'a str>, Vec<String>) {
    let mut seen = BTreeSet::new();
    let again = ids.iter().filter(|id| !seen.insert(**id));
    let again = again.map(|id| twice(id)).collect();
    (seen, again)
}

#[test]
fn every_stage_is_there_once_and_every_step_has_a_rule() {
    let mut seen = std::collections::HashSet::new();
    for (stage, steps) in PRECEDENCE {
        assert!(seen.insert(stage), "{stage:?}");
        assert!(steps.iter().all(|step| !step.is_empty()), "{stage:?}");
        for id in steps.iter().flat_map(|step| step.iter()) {
            assert_eq!(registry::rule(id).unwrap().stage(), Some(*stage), "{id}");
        }
    }
}
