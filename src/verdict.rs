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
pub mod finding;
pub mod foreign;
pub mod hops;
pub mod names;
pub mod openclaw;
mod page;
mod passed;
mod pings;
pub mod precedence;
mod refusal;
pub mod registry;
pub mod requests;
pub mod rule;
mod rules;
mod siblings;
pub mod trust;
pub mod view;
pub mod visits;
pub mod words;

use crate::session::SessionRecord;
use crate::session::record::Verdict;
pub use finding::Finding;
pub use precedence::Stage;
pub use registry::rules;
pub use rule::{Rule, Versions};
pub use view::{Decisive, View};

/// The verdict on a finished record: that of the first rule that finds something.
#[must_use]
pub fn decide(record: &SessionRecord) -> Verdict {
    judge(rules(), record)
}

/// The verdict by these rules, in their order.
fn judge(rules: &[&Rule], record: &SessionRecord) -> Verdict {
    let view = View::new(record);
    for rule in rules {
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
