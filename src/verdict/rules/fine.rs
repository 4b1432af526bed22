//! Sessions that ended as both ends meant.

use crate::session::party::Party;
use crate::session::record::verdict::ActOn;
use crate::session::record::{Class, Confidence};
use crate::verdict::{Finding, Rule, Stage, View};

pub(super) const RULES: &[Rule] = &[Rule {
    id: "ok.http",
    class: Class::Ok,
    party: Party::None,
    act_on: ActOn::Nobody,
    stage: Stage::Fine,
    order: 50,
    title: "A plain request was answered",
    explanation: "The gateway answered a request that is not a WebSocket upgrade, whole and with a \
                  status below 400.",
    action: "nothing to do",
    find: http,
}];

fn http(view: &View<'_>) -> Option<Finding> {
    let answer = view.answer.as_ref()?;
    if !view.is_http() || answer.status >= 400 || !answer.complete {
        return None;
    }
    Some(Finding::new(Confidence::Certain, format!("answered with {}", answer.status)))
}
