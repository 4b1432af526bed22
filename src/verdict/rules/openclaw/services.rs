//! Other services on the gateway's port, and servers that are not a gateway.

use crate::session::party::Party;
use crate::session::record::dialect::openclaw::{Endpoint, FirstMessage, FirstOfGateway};
use crate::session::record::verdict::ActOn;
use crate::session::record::{BodyKind, Class, Confidence};
use crate::verdict::finding::Finding;
use crate::verdict::rule::{Rule, Versions};
use crate::verdict::view::{View, fact};

pub(super) const RULES: &[Rule] = &[
    Rule {
        id: "gateway.auth.worker_credential",
        class: Class::GatewayAuth,
        party: Party::Gateway,
        act_on: ActOn::Client,
        title: "A worker's credential is no longer valid",
        explanation: "The gateway gives each worker a credential for a limited time and closes its \
                      connection when the time is over or when another worker took its place.",
        evidence: "a Close of the gateway on the worker path with the reason credential-expired or credential-replaced",
        versions: Versions::Read,
        action: "start the worker again, so that the gateway gives it a new credential",
        find: worker_credential,
    },
    Rule {
        id: "gateway.refused.upgrade_failed",
        class: Class::GatewayRefused,
        party: Party::Gateway,
        act_on: ActOn::Gateway,
        title: "The gateway failed inside while it upgraded",
        explanation: "503 without a body and without the marks of another server: an error that the \
                      gateway did not expect while it handled the upgrade. Its log has a line `ws \
                      upgrade error from …`.",
        evidence: "503 with an empty body and without the marks of another server",
        versions: Versions::Read,
        action: "look for `ws upgrade error` in the gateway's log at this time",
        find: upgrade_failed,
    },
    Rule {
        id: "gateway.silent.not_openclaw",
        class: Class::GatewaySilent,
        party: Party::None,
        act_on: ActOn::Operator,
        title: "The server is not an OpenClaw gateway",
        explanation: "The upgrade succeeded, and the first message from behind us is not \
                      connect.challenge, which an OpenClaw gateway sends before anything else. \
                      Another WebSocket service listens at gateway.url, or a proxy routed this path \
                      to one.",
        evidence: "a first message of the gateway's side that is not connect.challenge, on a path where the gateway challenges",
        versions: Versions::Seen,
        action: "correct gateway.url: the OpenClaw gateway's port is 18789 unless it was changed; for another kind of gateway set gateway.dialect: plain",
        find: not_openclaw,
    },
    Rule {
        id: "gateway.refused.service_unavailable",
        class: Class::GatewayRefused,
        party: Party::Gateway,
        act_on: ActOn::Operator,
        title: "The gateway does not offer this service",
        explanation: "503 with the gateway's own words: the path belongs to its service for workers, \
                      desktops or portals, and that is not running here. Its main WebSocket is at /.",
        evidence: "503 with the gateway's words \"… unavailable\" for one of its other services",
        versions: Versions::Read,
        action: "enable the service in the gateway's configuration, or correct the path of the client's URL: the gateway's own WebSocket is at /",
        find: service_unavailable,
    },
];

fn worker_credential(view: &View<'_>) -> Option<Finding> {
    let said = view.said()?;
    if !said.begins_with(&["credential-expired", "credential-replaced"]) {
        return None;
    }
    let summary = format!("the gateway ended a worker's connection: {}", said.words());
    Some(Finding::new(Confidence::Certain, summary).because(view.refusal_evidence()))
}

fn upgrade_failed(view: &View<'_>) -> Option<Finding> {
    let failed = view.refused_upgrade()? == 503 && view.body_kind() == Some(BodyKind::Empty);
    if !failed || !view.expects_openclaw() || view.foreign_server().is_some() {
        return None;
    }
    let summary = "the gateway failed inside while it handled the upgrade (503, no body)";
    Some(Finding::new(Confidence::Likely, summary).because(view.answer_evidence()))
}

fn service_unavailable(view: &View<'_>) -> Option<Finding> {
    if !view.refused_with(BodyKind::ServiceUnavailable) {
        return None;
    }
    let summary = "the gateway does not offer the service that this path belongs to (503)";
    Some(Finding::new(Confidence::Certain, summary).because(view.answer_evidence()))
}

fn not_openclaw(view: &View<'_>) -> Option<Finding> {
    let dialect = view.openclaw()?;
    let what = match dialect.first_of_gateway? {
        FirstOfGateway::Challenge | FirstOfGateway::Unread => return None,
        FirstOfGateway::Json => "JSON, and not a challenge",
        FirstOfGateway::Text => "text that is no JSON",
        FirstOfGateway::Binary => "binary",
    };
    let connects = dialect.first_message == Some(FirstMessage::Connect);
    let expected = dialect.endpoint == Some(Endpoint::Gateway) || connects;
    // A gateway whose challenge went unseen still answers connect in its own way.
    let answered = dialect.answered_at.is_some();
    if !view.is_openclaw() || !expected || answered {
        return None;
    }
    let summary = format!("what answers is no OpenClaw gateway: its first message is {what}");
    let confidence = if connects {
        Confidence::Certain
    } else {
        Confidence::Likely
    };
    let path = view
        .request
        .as_ref()
        .map(|request| fact(format!("the request went to {}", request.path)));
    Some(
        Finding::new(confidence, summary)
            .because([fact(format!("what answers is {}", view.gateway_name()))])
            .because(path)
            .because(view.both_legs())
            .ended_by(view.first_act().map_or(Party::None, |act| act.party)),
    )
}
