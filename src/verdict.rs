//! Decides whose fault it was. This is the only place that judges.
//!
//! [`decide`] is pure and total: from a finished record, and nothing else, it makes one verdict.
//! Rules are in `rules/`, one file for each family; [`precedence`] is the order in which they are
//! tried.

mod answers;
pub(crate) mod attempts;
pub(crate) mod breach;
pub(crate) mod credential;
pub(crate) mod decided;
#[cfg(test)]
mod docs;
mod ends;
pub(crate) mod finding;
pub(crate) mod foreign;
pub(crate) mod hops;
pub(crate) mod names;
pub(crate) mod openclaw;
mod page;
mod passed;
mod pings;
pub(crate) mod precedence;
mod refusal;
pub(crate) mod registry;
pub(crate) mod requests;
pub(crate) mod rule;
mod rules;
mod siblings;
pub(crate) mod trust;
pub(crate) mod view;
pub(crate) mod visits;
pub(crate) mod words;

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
