//! Whose fault it was: the only place that judges.
//!
//! [`decide`] is pure and total: from a finished record, and nothing else, it makes one verdict.
//! Rules are in `rules/`, one file for each family; [`precedence`] is the order in which they are
//! asked.

mod answers;
pub mod attempts;
pub mod breach;
pub mod credential;
pub mod decided;
pub mod docs;
mod ends;
pub mod foreign;
pub mod hops;
pub mod names;
mod page;
mod passed;
mod pings;
pub mod precedence;
pub mod registry;
pub mod requests;
mod rules;
pub mod said;
mod siblings;
pub mod skew;
pub mod trust;
pub mod view;
pub mod visits;
pub mod words;

use crate::session::SessionRecord;
use crate::session::party::Party;
use crate::session::record::verdict::ActOn;
use crate::session::record::{Confidence, Evidence, Verdict};
pub use precedence::Stage;
pub use registry::{Rule, Versions, rules};
pub use view::{Decisive, View};

/// What a rule found.
#[derive(Clone, Debug)]
pub struct Finding {
    /// How sure.
    pub confidence: Confidence,
    /// One sentence.
    pub summary: String,
    /// Observed facts.
    pub evidence: Vec<Evidence>,
    /// One action.
    pub next: String,
    /// Who ended it, where that differs from what the rule says: of a silence it is whoever gave
    /// up waiting.
    pub party: Option<Party>,
    /// Who has to do something, where that differs from what the rule says: the older of two.
    pub act_on: Option<ActOn>,
}

impl Finding {
    /// A finding without evidence yet, whose next action is the rule's general one.
    #[must_use]
    pub fn new(confidence: Confidence, summary: impl Into<String>) -> Self {
        Self {
            confidence,
            summary: summary.into(),
            evidence: Vec::new(),
            next: String::new(),
            party: None,
            act_on: None,
        }
    }

    /// Adds observed facts.
    #[must_use]
    pub fn because(mut self, facts: impl IntoIterator<Item = Evidence>) -> Self {
        self.evidence.extend(facts);
        self
    }

    /// Says what to do.
    #[must_use]
    pub fn next(mut self, action: impl Into<String>) -> Self {
        self.next = action.into();
        self
    }

    /// Says who has to do something.
    #[must_use]
    pub fn acted_on_by(mut self, act_on: ActOn) -> Self {
        self.act_on = Some(act_on);
        self
    }

    /// Says who ended it.
    #[must_use]
    pub fn ended_by(mut self, party: Party) -> Self {
        self.party = Some(party);
        self
    }
}

/// The verdict on a finished record: that of the first rule that finds something.
#[must_use]
pub fn decide(record: &SessionRecord) -> Verdict {
    let view = View::new(record);
    for rule in rules() {
        if let Some(finding) = (rule.find)(&view) {
            let finding = finding
                .because(view.cut_answer_evidence())
                .because(view.hop_evidence(rule.class))
                .because(view.attempts_evidence())
                .because(siblings::evidence(&view, rule.class));
            let mut verdict = rule.verdict(finding);
            verdict.next = view.names().apply(verdict.next);
            names::of_tap(record.tap.mode, &mut verdict);
            return verdict;
        }
    }
    registry::unknown()
}

#[cfg(test)]
mod tests;
