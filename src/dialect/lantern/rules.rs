//! The rules of the test dialect: its refusal code and its Close code.

use crate::session::party::Party;
use crate::session::record::verdict::ActOn;
use crate::session::record::{Class, Confidence};
use crate::verdict::rule::{Find, Rule, Versions};
use crate::verdict::{Finding, View};

/// In the order in which they are tried, before the general rules.
pub(crate) const STEPS: [&str; 2] = ["gateway.auth.ticket", "gateway.lifecycle.moved"];

pub(crate) const RULES: &[Rule] = &[
    rule(STEPS[0], Class::GatewayAuth, ActOn::Client, ticket),
    rule(STEPS[1], Class::GatewayLifecycle, ActOn::Nobody, moved),
];

const fn rule(id: &'static str, class: Class, act_on: ActOn, find: Find) -> Rule {
    Rule {
        id,
        class,
        party: Party::Gateway,
        act_on,
        title: "A rule of a test",
        explanation: "A rule of a test.",
        evidence: "a session of the test's dialect",
        versions: Versions::Any,
        action: "get a ticket",
        find,
    }
}

fn ticket(view: &View<'_>) -> Option<Finding> {
    let refusal = view.refusal()?;
    let is_code =
        |(name, code): &(&str, _)| *name == "code" && AsRef::<str>::as_ref(*code) == "BAD_TICKET";
    if view.spoken().name != "lantern" || !refusal.codes.iter().any(is_code) {
        return None;
    }
    let summary = format!("the gateway refused the ticket: {}", view.refusal_words());
    Some(Finding::new(Confidence::Certain, summary).because(view.refusal_evidence()))
}

fn moved(view: &View<'_>) -> Option<Finding> {
    let (_, code) = view.gateway_close()?;
    if view.spoken().name != "lantern" || !view.was_open() || code != Some(4700) {
        return None;
    }
    let summary = "the gateway moved the session elsewhere";
    Some(Finding::new(Confidence::Certain, summary).because(view.both_legs()))
}
