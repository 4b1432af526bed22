//! Requests whose kept connection to the gateway ended before an answer.

use super::network::{STALLED, kernel};
use crate::session::party::{Leg, Party, Phase};
use crate::session::record::verdict::ActOn;
use crate::session::record::{Class, Confidence, GatewayErrorKind as Kind};
use crate::verdict::finding::Finding;
use crate::verdict::rule::{Rule, Versions};
use crate::verdict::view::{View, fact};

pub(super) const RULES: &[Rule] = &[
    Rule {
        id: "gateway.silent.kept",
        class: Class::GatewaySilent,
        party: Party::Gateway,
        act_on: ActOn::Client,
        title: "A kept connection to the gateway ended under a request",
        explanation: "The request went out on a connection that had brought answers before, and the \
                      gateway's side ended it before it answered this one: a restart, or its \
                      keep-alive time ended at the same moment (RFC 9112 section 9.3.1). It may or \
                      may not have been processed. A GET, HEAD or other idempotent request without \
                      a body is sent once more by the tap, on a new connection; this one was not, \
                      because repeating it could have its effect twice, or because its answer had \
                      begun.",
        evidence: "the end of a kept connection after a request and before the status line of its answer",
        versions: Versions::Any,
        action: "look whether the request took effect before you send it again",
        find: kept,
    },
    Rule {
        id: "network.cut.request",
        class: Class::NetworkCut,
        party: Party::Network,
        act_on: ActOn::Network,
        title: "The gateway's host stopped acknowledging a request",
        explanation: "The connection to the gateway was open, and no packet came back: the kernel \
                      sent the same bytes again and again, or asked without an answer, and gave it \
                      up, after timeouts.connect under a request without a body on a kept \
                      connection, otherwise after tcp.user_timeout; or it had sent them twice or \
                      more when the client or timeouts.upgrade ended the wait. If a gateway is \
                      only slow, or does not read, its host still acknowledges. Its machine or \
                      container was stopped hard, its address has moved, or something on the way \
                      forgot the connection. A request that can be repeated is sent once more on a \
                      new connection.",
        evidence: "a time-out of the gateway's connection, or the end of the wait, after a request and before a status line, with bytes sent again or probes without an answer",
        versions: Versions::Any,
        action: "look at the path between tap and gateway, and whether the gateway's host or container was stopped",
        find: unacknowledged,
    },
];

/// The request's method, and whether it is safe to send twice (RFC 9110 section 9.2.2).
fn method<'a>(view: &View<'a>) -> (&'a str, bool) {
    let request = view.record().request.as_ref();
    let method = request.map_or("request", |request| request.method.as_str());
    let idempotent = matches!(
        method,
        "GET" | "HEAD" | "OPTIONS" | "TRACE" | "PUT" | "DELETE"
    );
    (method, idempotent)
}

fn kept(view: &View<'_>) -> Option<Finding> {
    let gateway = view.gateway.as_ref()?;
    let ended = matches!(
        view.gateway_error()?,
        Kind::ClosedBeforeStatus | Kind::ResetBeforeStatus
    );
    if !ended || !gateway.reused {
        return None;
    }
    let (method, idempotent) = method(view);
    let summary = format!("a kept connection to the gateway ended before it answered a {method}");
    let finding = Finding::new(Confidence::Certain, summary)
        .because(view.gateway_error_evidence())
        .because(view.end_evidence(Leg::Gateway))
        .because(view.kept_evidence())
        .because([fact(format!("the gateway is {}", view.gateway_name()))]);
    Some(if idempotent {
        finding
    } else {
        finding.because([fact(format!(
            "a {method} is not sent again: the gateway may have processed it"
        ))])
    })
}

/// A request without an answer was not acknowledged, however often it was sent again, when its client or a timer ended
/// the wait.
pub(super) fn is_stalled(view: &View<'_>) -> bool {
    let tcp = view.gateway.as_ref().and_then(|gateway| gateway.tcp);
    let was_left = match view.gateway_error() {
        Some(Kind::UpgradeTimeout) => true,
        None => view.end_of(Leg::Client).is_by_peer(),
        Some(_) => false,
    };
    // A drain ends all sessions, whatever they are waiting for.
    was_left
        && !view.close.drained
        && view.phase == Phase::Upgrade
        && view.status().is_none()
        && tcp.is_some_and(|tcp| tcp.retries >= STALLED && tcp.unacked > 0)
}

fn unacknowledged(view: &View<'_>) -> Option<Finding> {
    let tcp = view.gateway.as_ref().and_then(|gateway| gateway.tcp);
    let gave_up = view.gateway_error() == Some(Kind::Unacknowledged);
    if !gave_up && !is_stalled(view) {
        return None;
    }
    let (method, _) = method(view);
    // All of it was acknowledged, and then nothing more came.
    let summary = if tcp.is_some_and(|tcp| tcp.retries == 0) {
        format!("the gateway's host fell silent before a {method} was answered")
    } else {
        format!("what was sent of a {method} was not acknowledged by the gateway's host")
    };
    // Until the kernel gives up, packets may still get through.
    let confidence = if gave_up {
        Confidence::Certain
    } else {
        Confidence::Likely
    };
    Some(
        Finding::new(confidence, summary)
            .because(view.gateway_error_evidence())
            .because(view.end_evidence(Leg::Gateway))
            .because(tcp.map(|tcp| kernel(Leg::Gateway, tcp)))
            .because(view.kept_evidence())
            .because([fact(format!("the gateway is {}", view.gateway_name()))])
            .because(view.retry_evidence()),
    )
}
