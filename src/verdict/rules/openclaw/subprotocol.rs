//! A proxy that drops the subprotocol, to which the gateway always agrees.

use crate::session::party::Party;
use crate::verdict::finding::Finding;
use crate::verdict::hops::{Need, mend};
use crate::verdict::rule::{Rule, Versions};
use crate::verdict::rules::hop::hop;
use crate::verdict::rules::subprotocol::{confidence, left_without};
use crate::verdict::view::{View, fact};

pub(super) const RULES: &[Rule] = &[Rule {
    title: "A proxy took the subprotocol away",
    explanation: "An OpenClaw gateway agrees to the first subprotocol that a client offers. The \
                      client offered one, the gateway's challenge came, and the 101 that reached us \
                      chose none: a proxy between tap and gateway drops Sec-WebSocket-Protocol. \
                      Browsers leave at once then.",
    evidence: "subprotocols in the request, a challenge of an OpenClaw gateway and no subprotocol in its 101, and the end of the client's connection within two seconds without one byte",
    versions: Versions::Seen,
    action: "let the proxy between tap and gateway pass Sec-WebSocket-Protocol in both directions, or let the client offer none",
    ..hop("hop.fault.subprotocol_stripped", stripped)
}];

fn stripped(view: &View<'_>) -> Option<Finding> {
    view.openclaw()?.challenge_at?;
    let facts = left_without(view)?;
    let summary =
        "a proxy between us and the gateway took the agreed subprotocol away, and the client left";
    Some(
        Finding::new(confidence(view), summary)
            .because(facts)
            .because([fact(
                "the challenge of an OpenClaw gateway came, which agrees to the first subprotocol that is offered",
            )])
            .because(view.both_legs())
            .ended_by(Party::Client)
            .next(mend(view.foreign_server(), Need::Handshake)),
    )
}
