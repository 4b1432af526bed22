//! The gateway took requests and then sent nothing more.

use crate::session::party::{Direction, Party};
use crate::session::record::verdict::ActOn;
use crate::session::record::{Class, Confidence};
use crate::verdict::finding::Finding;
use crate::verdict::rule::{Rule, Versions};
use crate::verdict::view::{Decisive, View, human_ms, short};

/// Requests take milliseconds; the command line tool waits 10 s for one.
const WAITED_MS: f64 = 8000.0;

pub(super) const RULES: &[Rule] = &[Rule {
    id: "gateway.silent.requests",
    class: Class::GatewaySilent,
    party: Party::Client,
    act_on: ActOn::Gateway,
    title: "The gateway did not answer requests any more",
    explanation: "The session was open and a request of the client had gone to the gateway. Nothing \
                  came back, no answer and no event, until the client gave up, while the gateway's \
                  host acknowledged the packets: the process is there and stuck. A long call alone \
                  looks different, because events and ticks go on meanwhile.",
    evidence: "requests that were written and acknowledged, and nothing of the gateway until the client gave up",
    versions: Versions::Seen,
    action: "look into the gateway's log and at its load at this time; find out whether the request was carried out before you send it again",
    find: requests,
}];

fn requests(view: &View<'_>) -> Option<Finding> {
    let client = matches!(
        view.decisive(),
        Decisive::ClientClose | Decisive::ClientTransport
    );
    // The oldest that went to the gateway, and nothing at all that came after it.
    let request = view.unanswered().iter().find(|request| request.written)?;
    let heard = view.frames_of(Direction::ToClient)?.last_at?;
    let acknowledged = view.acknowledged(request.age_ms);
    let quiet = heard <= request.at && acknowledged != Some(false);
    if !client || !view.was_open() || !quiet {
        return None;
    }
    let waited = view.silent_ms(Direction::ToClient)?.min(request.age_ms);
    // An answer may have waited for the client to read what came before it.
    let unread = view.held_up_ms(Direction::ToClient, waited).is_some();
    if waited < WAITED_MS || unread {
        return None;
    }
    let summary = format!(
        "the gateway did not answer {} and sent nothing for {}; the client gave up",
        short(&request.method),
        human_ms(waited)
    );
    let confidence = match acknowledged {
        Some(true) => Confidence::Likely,
        _ => Confidence::Possible,
    };
    Some(Finding::new(confidence, summary).because(view.both_legs()))
}
