//! The gateway reported a failure of its own, or broke the protocol.

use crate::session::party::{Leg, Party};
use crate::session::record::verdict::ActOn;
use crate::session::record::{Class, Confidence};
use crate::verdict::finding::Finding;
use crate::verdict::rule::{Rule, Versions};
use crate::verdict::view::{View, close_violation_words, fact, quoted};
use crate::ws::Violation;

pub(super) const RULES: &[Rule] = &[
    Rule {
        id: "gateway.fault.close_code",
        class: Class::GatewayFault,
        party: Party::Gateway,
        act_on: ActOn::Gateway,
        title: "The gateway sent a close code that must not be sent",
        explanation: "What came from the gateway's side is a Close frame with a code that RFC 6455 \
                      reserves (1005, 1006 and 1015 exist only in an end's own view) or that is out \
                      of range. Proxies that send a code meant only for their own view do that.",
        evidence: "a Close of the gateway with a code that must not be sent",
        versions: Versions::Any,
        action: "take proxies between tap and gateway out of the path and compare; report it to whoever makes the one that sends it",
        find: close_code,
    },
    Rule {
        id: "gateway.fault.close_frame",
        class: Class::GatewayFault,
        party: Party::Gateway,
        act_on: ActOn::Gateway,
        title: "A Close frame of the gateway that breaks the protocol",
        explanation: "What came from the gateway's side is a Close frame that RFC 6455 forbids: a \
                      body of one byte, a reason that is not UTF-8, more than 125 bytes, a \
                      fragment, a mask. Its receiver has to fail the connection, so that the client \
                      sees a protocol error or 1006 and not what the gateway meant, whatever it \
                      answers.",
        evidence: "a Close of the gateway that came first and breaks RFC 6455 itself",
        versions: Versions::Any,
        action: "take proxies between tap and gateway out of the path and compare; report it to whoever makes the one that sends it",
        find: close_frame,
    },
    Rule {
        id: "gateway.fault.frames",
        class: Class::GatewayFault,
        party: Party::Client,
        act_on: ActOn::Gateway,
        title: "The gateway's frames break the protocol",
        explanation: "The tap saw a breach of RFC 6455 in what came from the gateway, before anything \
                      else that could have ended the session, and the client then closed with 1002, \
                      1003 or 1007 or ended its connection within a second. A proxy between tap and \
                      gateway that changes frames does the same.",
        evidence: "a breach of RFC 6455 in the gateway's frames, seen here and first, and a Close 1002, 1003 or 1007 of the client or the end of its connection within a second",
        versions: Versions::Any,
        action: "take proxies between tap and gateway out of the path and compare; then report the breach to the gateway's makers",
        find: frames,
    },
    Rule {
        id: "gateway.fault.internal",
        class: Class::GatewayFault,
        party: Party::Gateway,
        act_on: ActOn::Gateway,
        title: "The gateway failed inside",
        explanation: "Close 1011: the gateway met an error that it did not expect.",
        evidence: "a Close 1011 of the gateway",
        versions: Versions::Any,
        action: "look into the gateway's log at this time for the error",
        find: internal,
    },
];

fn close_code(view: &View<'_>) -> Option<Finding> {
    let (close, _) = view.gateway_close()?;
    let code = close.code.filter(|code| !code.is_legal_on_the_wire())?;
    let summary = format!("the gateway closed with {code}, a code that must not be sent");
    Some(Finding::new(Confidence::Certain, summary).because(view.both_legs()))
}

fn close_frame(view: &View<'_>) -> Option<Finding> {
    let (_, _, kind) = view
        .broken_close()
        .filter(|(leg, _, kind)| *leg == Leg::Gateway && *kind != Violation::InvalidCloseCode)?;
    let summary = format!(
        "the gateway ended it with a Close that breaks the protocol ({})",
        close_violation_words(kind)
    );
    Some(Finding::new(Confidence::Certain, summary).because(view.both_legs()))
}

fn frames(view: &View<'_>) -> Option<Finding> {
    let breach = view.breach().filter(|breach| breach.by == Leg::Gateway)?;
    Some(
        Finding::new(breach.confidence, breach.words())
            .because(view.both_legs())
            .ended_by(breach.ended_by.party()),
    )
}

fn internal(view: &View<'_>) -> Option<Finding> {
    let (close, code) = view.gateway_close()?;
    if code != Some(1011) {
        return None;
    }
    let why = if close.reason.is_empty() {
        "without a reason".to_owned()
    } else {
        quoted(&close.reason)
    };
    let summary = format!("the gateway failed inside: {why}");
    let joins = view
        .application()
        .log_id
        .map(|id| fact(format!("the gateway's log knows this session as conn={id}")));
    Some(
        Finding::new(Confidence::Certain, summary)
            .because(view.both_legs())
            .because(joins),
    )
}
