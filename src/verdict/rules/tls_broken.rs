//! TLS streams that broke after the handshake: the bytes were not valid TLS, or a fatal alert came.
//! The verdict names the side that sent it, in every phase.

use crate::session::party::{Leg, Party, Phase};
use crate::session::record::verdict::ActOn;
use crate::session::record::{
    AnswerBy, Class, Confidence, GatewayErrorKind, Kind, StreamFault, StreamFaultKind,
};
use crate::verdict::finding::Finding;
use crate::verdict::rule::{Rule, Versions};
use crate::verdict::view::{View, fact, human_bytes, stream_fault_words};

pub(super) const RULES: &[Rule] = &[
    Rule {
        id: "client.fault.tls_broken",
        class: Class::ClientFault,
        party: Party::Client,
        act_on: ActOn::Client,
        title: "The client's TLS broke in the open session",
        explanation: "In the tunnel the client sent something that its TLS stream must not \
                      contain: a record that cannot be decrypted, bytes that are not TLS, or a \
                      fatal alert. The tap answers with the alert that TLS defines for it and ends \
                      the session; nothing of it reached the gateway. A middlebox between client \
                      and tap that changes bytes looks the same.",
        evidence: "what came on the client's connection in the tunnel that is no TLS, or a fatal alert, before anything else ended the session",
        versions: Versions::Any,
        action: "look at the client's log at this time; take TLS inspection and middleboxes between client and tap out to compare",
        find: in_tunnel,
    },
    Rule {
        id: "client.fault.tls_broken_early",
        class: Class::ClientFault,
        party: Party::Client,
        act_on: ActOn::Client,
        title: "The client's TLS broke before there was a tunnel",
        explanation: "The TLS handshake completed. Before a tunnel was open, or while a plain \
                      request was served, the client sent something that its TLS stream must not \
                      contain: a record that cannot be decrypted, bytes that are not TLS (plain \
                      HTTP after the handshake), or a fatal alert. The tap ended the connection, \
                      and the request with it. A break after a refusal, or after the gateway could \
                      not be reached, explains nothing. A middlebox between client and tap that \
                      changes bytes looks the same.",
        evidence: "what came on the client's connection after the TLS handshake that is no TLS, or a fatal alert, with no tunnel open, no refusal and no failure of the gateway before it",
        versions: Versions::Any,
        action: "look at the client's log at this time; take TLS inspection and middleboxes between client and tap out to compare",
        find: early,
    },
    Rule {
        id: "gateway.left.tls",
        class: Class::GatewayLeft,
        party: Party::Gateway,
        act_on: ActOn::Gateway,
        title: "The gateway's TLS stream broke",
        explanation: "What came on the gateway's connection could not be decrypted, or a TLS alert \
                      came: the stream was damaged on the way, or that end failed inside TLS.",
        evidence: "what came on the gateway's connection in the tunnel that is no TLS, or a fatal alert, before anything else ended the session",
        versions: Versions::Any,
        action: "look into the gateway's log at this time; take TLS inspection between tap and gateway out to compare",
        find: of_gateway,
    },
    Rule {
        id: "gateway.silent.tls_broken",
        class: Class::GatewaySilent,
        party: Party::Gateway,
        act_on: ActOn::Gateway,
        title: "The gateway's TLS broke before it answered",
        explanation: "TLS with the gateway was agreed and the request sent. What came in place of a \
                      status line could not be decrypted, was no TLS, or was a fatal alert: that \
                      end failed inside TLS, or a middlebox between tap and gateway changed bytes.",
        evidence: "what came on the gateway's connection after the TLS handshake that is no TLS, or a fatal alert, before a status line",
        versions: Versions::Any,
        action: "look into the gateway's log at this time; take TLS inspection between tap and gateway out to compare",
        find: before_status,
    },
];

fn in_tunnel(view: &View<'_>) -> Option<Finding> {
    let fault = view.fault_of(Leg::Client)?;
    if !view.left(Leg::Client) {
        return None;
    }
    let summary = format!("the client {}", stream_fault_words(fault));
    Some(Finding::new(confidence(fault), summary).because(view.both_legs()))
}

fn early(view: &View<'_>) -> Option<Finding> {
    let fault = view.fault_of(Leg::Client)?;
    // Failures inside the handshake have rules of their own.
    let handshake_done = (view.client.tls.as_ref()).is_some_and(|tls| tls.failure.is_none());
    if !handshake_done
        || view.had_tunnel()
        || view.close.timer.is_some()
        || view.close.refused.is_some()
    {
        return None;
    }
    // A break that came while the connection lingered does not explain an earlier failure or
    // answer.
    let answered_by_us = view
        .answer
        .as_ref()
        .is_some_and(|answer| answer.by == AnswerBy::Tap);
    let ours = answered_by_us && !body_was_cut(view);
    if ours || view.decided_answer().is_some() || view.gateway_error().is_some() {
        return None;
    }
    let what = stream_fault_words(fault);
    let summary = format!("the client {what} {}", place(view));
    let read = view.client.bytes_read.map(|bytes| {
        fact(format!(
            "{} of plaintext had come on this connection before",
            human_bytes(bytes)
        ))
    });
    Some(
        Finding::new(confidence(fault), summary)
            .because(view.end_evidence(Leg::Client))
            .because(read),
    )
}

/// We answered because the rest of the request's body was missing: the answer follows from the break.
fn body_was_cut(view: &View<'_>) -> bool {
    (view.answer.as_ref()).is_some_and(|answer| answer.by == AnswerBy::Tap && answer.status == 400)
}

/// The place in the session at which the break came.
fn place(view: &View<'_>) -> &'static str {
    let body = body_was_cut(view);
    let answering = (view.answer.as_ref()).is_some_and(|answer| answer.by == AnswerBy::Gateway);
    let came = view.client.bytes_read.unwrap_or(0) > 0;
    match (view.kind, view.phase) {
        (Kind::Connection, _) if came => "outside of any whole request",
        (Kind::Connection, _) => "right after the TLS handshake",
        _ if body => "in its request's body",
        _ if answering => "while the answer came",
        (_, Phase::Accept | Phase::Tls | Phase::Request | Phase::Admission) => {
            "right after its request"
        }
        (_, Phase::Dial) => "while we connected to the gateway",
        _ => "while the gateway's answer was awaited",
    }
}

fn of_gateway(view: &View<'_>) -> Option<Finding> {
    let fault = view.fault_of(Leg::Gateway)?;
    if !view.left(Leg::Gateway) {
        return None;
    }
    let summary = format!("the gateway {}", stream_fault_words(fault));
    Some(Finding::new(Confidence::Possible, summary).because(view.both_legs()))
}

fn before_status(view: &View<'_>) -> Option<Finding> {
    if view.gateway_error() != Some(GatewayErrorKind::TlsBroken) {
        return None;
    }
    let summary = match view.fault_of(Leg::Gateway) {
        Some(fault) => format!(
            "the gateway {} before it answered the request",
            stream_fault_words(fault)
        ),
        None => "the gateway's TLS broke before it answered the request".to_owned(),
    };
    Some(
        Finding::new(Confidence::Likely, summary)
            .because(view.gateway_error_evidence())
            .because(view.end_evidence(Leg::Gateway))
            .because([fact(format!("the gateway is {}", view.gateway_name()))]),
    )
}

/// An alert is that end's own statement. Invalid bytes may have been changed on the way.
fn confidence(fault: &StreamFault) -> Confidence {
    match fault.kind {
        StreamFaultKind::Alert => Confidence::Certain,
        _ => Confidence::Likely,
    }
}
