//! Request loops: `gateway.url` leads back to the tap, or the server behind it has a loop of its
//! own.

use crate::session::party::Party;
use crate::session::record::verdict::ActOn;
use crate::session::record::{AnswerBy, Class, Confidence, DeniedKey};
use crate::verdict::finding::Finding;
use crate::verdict::rule::{Rule, Versions};
use crate::verdict::view::{View, fact};

pub(super) const RULES: &[Rule] = &[
    Rule {
        id: "hop.fault.loop",
        class: Class::HopFault,
        party: Party::Hop,
        act_on: ActOn::Hop,
        title: "A proxy behind the tap detected a request loop",
        explanation: "The server at gateway.url answered 508 (Loop Detected): it is a proxy, not a \
                      gateway, and the request that it passed on came back to it.",
        evidence: "508 from the server at gateway.url",
        versions: Versions::Any,
        action: "look where the proxy at gateway.url sends its requests: it must be the gateway",
        find: behind,
    },
    Rule {
        id: "tap.denied.loop",
        class: Class::TapDenied,
        party: Party::Tap,
        act_on: ActOn::Operator,
        title: "gateway.url leads back to this tap",
        explanation: "A request that this tap had passed on came to it again: gateway.url leads to \
                      another proxy, a port mapping or a NAT rule that sends everything back here, \
                      or to a name that now resolves to this tap. Each turn was answered 508 (Loop \
                      Detected) and has a record. A gateway.url that names a listener of the tap \
                      itself is an error at the start.",
        evidence: "a request that came with the `Via` line that this process had given it",
        versions: Versions::Any,
        action: "set gateway.url to the gateway's own address",
        find: own,
    },
];

fn behind(view: &View<'_>) -> Option<Finding> {
    let answer = view.answer.as_ref()?;
    if answer.by != AnswerBy::Gateway || answer.status != 508 {
        return None;
    }
    let summary = "gateway.url leads to a proxy whose requests loop (508)";
    let target = fact(format!("gateway.url is {}", view.gateway_name()));
    Some(
        Finding::new(Confidence::Likely, summary)
            .because(view.answer_evidence())
            .because([target]),
    )
}

fn own(view: &View<'_>) -> Option<Finding> {
    let denied = view.record().close.denied.as_ref()?;
    if denied.key != DeniedKey::GatewayUrl {
        return None;
    }
    let from = &view.client.addr;
    let summary = "gateway.url leads back to this tap: a request that we had passed on came again";
    Some(
        Finding::new(Confidence::Certain, summary)
            .because([fact(format!("{}: {}", denied.key, denied.detail))])
            .because([fact(format!("this turn's request came from {from}"))]),
    )
}
