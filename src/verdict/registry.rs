//! The rules, and the order in which they are asked.

use std::sync::LazyLock;

use super::rule::Rule;
use crate::session::party::Party;
use crate::session::record::verdict::ActOn;
use crate::session::record::{Class, Confidence, Verdict};

mod files {
    use crate::verdict::rule::Rule;
    include!(concat!(env!("OUT_DIR"), "/rules.rs"));
}

/// Every rule, in the order in which they are asked.
#[must_use]
pub fn rules() -> &'static [&'static Rule] {
    static ORDERED: LazyLock<Vec<&'static Rule>> = LazyLock::new(|| {
        let mut rules: Vec<&Rule> = files::FILES.iter().flat_map(|file| file.iter()).collect();
        rules.sort_by_key(|rule| (rule.stage, rule.order, rule.id));
        rules
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
