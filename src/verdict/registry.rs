//! The rules, and the order in which they are asked.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use super::precedence;
use super::rule::Rule;
use super::rules::FILES;
use crate::session::party::Party;
use crate::session::record::verdict::ActOn;
use crate::session::record::{Class, Confidence, Verdict};

/// Every rule, in the order in which they are asked: that of [`precedence`].
#[must_use]
pub fn rules() -> &'static [&'static Rule] {
    static ORDERED: LazyLock<Vec<&'static Rule>> = LazyLock::new(|| {
        let by_id: BTreeMap<&str, &Rule> = FILES
            .iter()
            .flat_map(|file| file.iter())
            .map(|rule| (rule.id, rule))
            .collect();
        // A test compares both lists: neither has an id that the other lacks.
        precedence::ids()
            .filter_map(|id| by_id.get(id).copied())
            .collect()
    });
    &ORDERED
}

/// The rule with this id.
#[must_use]
pub fn rule(id: &str) -> Option<&'static Rule> {
    rules().iter().copied().find(|rule| rule.id == id)
}

/// Nothing matched: a gap in the rules.
#[must_use]
pub fn unknown() -> Verdict {
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
