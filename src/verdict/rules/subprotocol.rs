//! Clients that offered subprotocols and got none: browsers close such a connection right after the
//! 101 (RFC 6455 section 4.1, WHATWG), without a Close and without a byte.

use crate::session::party::{Direction, Leg, Party};
use crate::session::record::verdict::ActOn;
use crate::session::record::{Class, Confidence, Evidence};
use crate::session::text::PeerText;
use crate::verdict::finding::Finding;
use crate::verdict::rule::{Rule, Versions};
use crate::verdict::view::{View, fact, human_ms};

/// Such clients leave as soon as they have read the 101, one round trip later.
const AT_ONCE_MS: f64 = 2000.0;

pub(super) const RULES: &[Rule] = &[Rule {
    id: "client.left.subprotocol",
    class: Class::ClientLeft,
    party: Party::Client,
    act_on: ActOn::Client,
    title: "The client left because no subprotocol was agreed",
    explanation: "The client offered subprotocols (Sec-WebSocket-Protocol), the 101 chose none, \
                      and the client left at once without having sent one byte. Browsers must do \
                      that, and so do Node's WebSockets; their scripts see 1006. Other clients \
                      stay.",
    evidence: "subprotocols in the request, none in the 101, and the end of the client's connection within two seconds without a Close and without one byte",
    versions: Versions::Any,
    action: "let the client offer no subprotocol (new WebSocket(url) without a second argument), or one that the gateway agrees to",
    find: none_agreed,
}];

/// Evidence for a client that left right after a 101 with none of the subprotocols that it had
/// offered.
pub(super) fn left_without(view: &View<'_>) -> Option<Vec<Evidence>> {
    let request = view.record().request.as_ref()?;
    let gateway = view.record().gateway.as_ref()?;
    let sent = view.frames_of(Direction::ToGateway)?.wire_bytes;
    let waited = view.tunnel_ms();
    let none = !request.subprotocols.is_empty() && gateway.subprotocol.is_none();
    if !none || !view.left(Leg::Client) || sent > 0 || waited >= AT_ONCE_MS {
        return None;
    }
    let offered: Vec<&str> = request
        .subprotocols
        .iter()
        .take(4)
        .map(PeerText::as_str)
        .collect();
    let mut all = vec![
        fact(format!("the client offered {}", offered.join(", "))),
        fact("the 101 has no Sec-WebSocket-Protocol"),
        fact(format!(
            "the client left {} after the 101 without one byte",
            human_ms(waited)
        )),
    ];
    if view.page_origin().is_some() {
        all.push(fact(
            "its request has an Origin, as those of browsers have: a browser must leave then",
        ));
    }
    Some(all)
}

/// A page's WebSocket must leave; many other clients do.
pub(super) fn confidence(view: &View<'_>) -> Confidence {
    if view.page_origin().is_some() {
        Confidence::Likely
    } else {
        Confidence::Possible
    }
}

fn none_agreed(view: &View<'_>) -> Option<Finding> {
    let facts = left_without(view)?;
    let summary = "the client offered subprotocols, none was agreed, and it left at once";
    Some(
        Finding::new(confidence(view), summary)
            .because(facts)
            .because(view.both_legs()),
    )
}
