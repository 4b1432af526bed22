//! A proxy between tap and gateway that leaves its marks and breaks the WebSocket handshake.
//! Without its marks the same is `gateway.refused`, because only the gateway's answer is known.

use super::hop::{found, hop, who};
use crate::session::record::{BodyKind, Confidence, GatewayErrorKind};
use crate::verdict::finding::Finding;
use crate::verdict::hops::{Need, mend};
use crate::verdict::rule::{Rule, Versions};
use crate::verdict::view::{View, fact};

pub(super) const RULES: &[Rule] = &[
    Rule {
        title: "A proxy behind us broke the gateway's 101",
        explanation: "A 101 came that does not answer the client's key or does not switch to \
                      WebSocket, and it bears the marks of another server: a proxy between tap and \
                      gateway changes or drops Sec-WebSocket-Key, Sec-WebSocket-Accept or Upgrade. \
                      The tunnel was not opened (RFC 6455 section 4.1).",
        evidence: "a 101 with the marks of another server that does not fit the key or does not switch",
        versions: Versions::Any,
        action: "let the proxy between tap and gateway pass Upgrade, Connection and Sec-WebSocket-* unchanged",
        ..hop("hop.fault.accept_key", accept_key)
    },
    Rule {
        title: "A proxy behind us mangled the handshake",
        explanation: "The gateway found the WebSocket handshake malformed (400), it had left us \
                      whole (the tap passes on no other), and the answer bears the marks of \
                      another server. That proxy between tap and gateway dropped \
                      `Connection: Upgrade` or changed Sec-WebSocket-Version or -Key.",
        evidence: "400 in the gateway's form with the marks of another server, to a handshake that left us whole",
        versions: Versions::Seen,
        action: "let the proxy between tap and gateway pass Connection and Sec-WebSocket-* unchanged, or point gateway.url at the gateway itself",
        ..hop("hop.fault.handshake_mangled", handshake_mangled)
    },
];

fn accept_key(view: &View<'_>) -> Option<Finding> {
    let what = match view.gateway_error()? {
        GatewayErrorKind::AcceptKey => "its 101 does not answer the client's key",
        GatewayErrorKind::BadUpgrade => "its 101 does not switch to WebSocket",
        _ => return None,
    };
    let server = view.foreign_server()?;
    let summary = format!(
        "{} between us and the gateway broke the handshake: {what}",
        who(view)
    );
    Some(
        found(view, Confidence::Likely, summary)
            .because(view.gateway_error_evidence())
            .next(mend(Some(server), Need::Handshake)),
    )
}

fn handshake_mangled(view: &View<'_>) -> Option<Finding> {
    let status = view.refused_upgrade()?;
    // Without marks only the gateway's answer is known: gateway.refused.bad_handshake.
    let server = view.foreign_server()?;
    let whole = view.request.as_ref()?.wants_upgrade;
    let version = view.answers_with_header("sec-websocket-version");
    let key = view.body_kind() == Some(BodyKind::Gateway);
    // "Bad Request", its answer to Upgrade without Connection, comes with the headers of its pages.
    let bare =
        view.body_kind() == Some(BodyKind::Text) && view.answers_with_header("permissions-policy");
    if status != 400 || !whole {
        return None;
    }
    let what = match (version, key, bare) {
        (true, _, _) => "changed Sec-WebSocket-Version",
        (_, true, _) => "changed Sec-WebSocket-Key",
        (_, _, true) => "dropped Connection: Upgrade",
        _ => return None,
    };
    let summary = format!(
        "{} between us and the gateway {what}: the gateway found the handshake malformed (400)",
        who(view)
    );
    Some(
        found(view, Confidence::Likely, summary)
            .because([fact("the handshake left us whole")])
            .next(mend(Some(server), Need::Handshake)),
    )
}
