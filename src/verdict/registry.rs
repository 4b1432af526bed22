//! The rules, and the order in which they are tried.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use super::precedence;
use super::rule::Rule;
use super::rules::files;
use crate::session::party::Party;
use crate::session::record::verdict::ActOn;
use crate::session::record::{Class, Confidence, Verdict};

/// Every rule, in the order in which they are tried: that of [`precedence`].
#[must_use]
pub fn rules() -> &'static [&'static Rule] {
    static ORDERED: LazyLock<Vec<&'static Rule>> =
        LazyLock::new(|| in_order(files(), precedence::ids()));
    &ORDERED
}

/// The rules of these files, in this order.
pub(super) fn in_order(
    files: impl Iterator<Item = &'static [Rule]>,
    ids: impl Iterator<Item = &'static str>,
) -> Vec<&'static Rule> {
    let by_id: BTreeMap<&str, &Rule> = files.flatten().map(|rule| (rule.id, rule)).collect();
    // A test compares both lists: neither has an id that the other lacks.
    ids.filter_map(|id| by_id.get(id).copied()).collect()
}

/// The rule with this id.
#[must_use]
pub(crate) fn rule(id: &str) -> Option<&'static Rule> {
    rules().iter().copied().find(|rule| rule.id == id)
}

/// The verdict if no rule matched: a gap in the rules.
#[must_use]
pub(crate) fn unknown() -> Verdict {
    Verdict {
        rule: "unknown".to_owned(),
        class: Class::Unknown,
        party: Party::None,
        act_on: ActOn::Tap,
        layer: None,
        confidence: Confidence::Possible,
        summary: "no rule explains this session".to_owned(),
        evidence: Vec::new(),
        next: "report this record to the wstap project: it shows a gap in the rules".to_owned(),
    }
}
