//! The gateway's leg ended without a Close and nothing proves why: the commonest 1006.

use crate::session::party::{Leg, Party};
use crate::session::record::verdict::ActOn;
use crate::session::record::{Class, Confidence, GatewayErrorKind, TransportEnd};
use crate::verdict::finding::Finding;
use crate::verdict::rule::{Find, Rule, Versions};
use crate::verdict::view::{View, fact, human_bytes, human_ms};

const fn left(id: &'static str, find: Find) -> Rule {
    Rule::of(id, Class::GatewayLeft, Party::Gateway, ActOn::Gateway, find)
}

pub(super) const RULES: &[Rule] = &[
    Rule {
        title: "The gateway broke its answer off",
        explanation: "The gateway's connection ended before the body of its answer was complete.",
        evidence: "the end of the gateway's connection before the body of its answer was complete",
        versions: Versions::Any,
        action: "look into the gateway's log at this time",
        ..left("gateway.left.answer", answer)
    },
    Rule {
        title: "The gateway left during the handshake",
        explanation: "The WebSocket was open, the gateway had neither accepted nor refused, and its \
                      connection ended without a Close. A gateway that refuses says so first, so a \
                      token is never the cause. It stopped, or a proxy in between cut the \
                      connection.",
        evidence: "the end of the gateway's connection first, without a Close and without an answer to connect",
        versions: Versions::Seen,
        action: "look into the gateway's log for this connection; check whether the process was restarted at this time",
        ..left("gateway.left.before_hello", before_hello)
    },
    Rule {
        title: "The gateway left in the middle of a frame",
        explanation: "The gateway's connection ended while a frame was on its way, without a Close: \
                      the process died, or it gave up on a client that read too slowly (its log \
                      then says outbound-buffer-exceeded).",
        evidence: "the end of the gateway's connection inside one of its frames",
        versions: Versions::Seen,
        action: "look into the gateway's log at this time for outbound-buffer-exceeded or the end of the process",
        ..left("gateway.left.mid_frame", mid_frame)
    },
    Rule {
        title: "The gateway left an open session",
        explanation: "The gateway's connection ended with FIN and without a Close. A killed process, \
                      a crash, a container that was stopped hard and a proxy in between all look \
                      like this. Other sessions lost in the same second, a new boot id in the next \
                      hello (before 2026.8: an uptime that began later) or the gateway's log would \
                      prove which.",
        evidence: "FIN of the gateway first, without a Close from either side",
        versions: Versions::Seen,
        action: "check whether the gateway's process was restarted at this time (its log, `docker events`, a new boot id or a shorter uptime in the next session)",
        ..left("gateway.left.open", open)
    },
    Rule {
        title: "The gateway's connection was reset",
        explanation: "The gateway's connection was reset without a Close: a process that died with \
                      unread data, a firewall or a load balancer in between. Nothing shows that \
                      packets were lost, which would be network.cut.",
        evidence: "RST of the gateway first, without a Close, and no sign of lost packets",
        versions: Versions::Any,
        action: "check whether the gateway's process ended at this time; if it did not, look at what is between tap and gateway",
        ..left("gateway.left.reset", reset)
    },
    Rule {
        title: "The gateway did not answer the network any more",
        explanation: "The system gave up on the gateway's connection: nothing acknowledged our \
                      packets, keepalive had no answer, or it read nothing for \
                      tcp.user_timeout. Its host or container disappeared without closing the \
                      connection.",
        evidence: "a time-out of the kernel on the gateway's connection, and no retransmitted bytes",
        versions: Versions::Any,
        action: "check that the gateway's host or container is up and reachable from here",
        ..left("gateway.left.timeout", timeout)
    },
];

fn answer(view: &View<'_>) -> Option<Finding> {
    let refused = view.decided_answer().is_some();
    let cut = view.gateway_error() == Some(GatewayErrorKind::BodyIncomplete);
    if view.had_tunnel() || refused || !cut {
        return None;
    }
    let sent = view
        .answer
        .as_ref()
        .and_then(|answer| answer.body_bytes)
        .map_or_else(String::new, |bytes| {
            format!(" after {}", human_bytes(bytes))
        });
    let summary = format!("the gateway broke its answer off{sent}");
    Some(
        Finding::new(Confidence::Certain, summary)
            .because(view.gateway_error_evidence())
            .because(view.answer_evidence()),
    )
}

fn how(end: TransportEnd) -> &'static str {
    match end {
        TransportEnd::Rst => "was reset",
        TransportEnd::Timeout => "timed out",
        TransportEnd::TlsTruncated => "was cut (no close_notify)",
        _ => "ended",
    }
}

fn before_hello(view: &View<'_>) -> Option<Finding> {
    if !view.left(Leg::Gateway) || !view.was_in_handshake() {
        return None;
    }
    let end = view.end_of(Leg::Gateway);
    let summary = format!(
        "the gateway's connection {} before it accepted or refused",
        how(end)
    );
    let confidence = if end.is_orderly() {
        Confidence::Likely
    } else {
        Confidence::Possible
    };
    Some(Finding::new(confidence, summary).because(view.both_legs()))
}

fn mid_frame(view: &View<'_>) -> Option<Finding> {
    let frames = view.frames_of(crate::session::party::Direction::ToClient)?;
    if !view.left(Leg::Gateway) || !view.was_open() {
        return None;
    }
    let cut = frames.in_progress?;
    let summary = format!(
        "the gateway's connection {} in the middle of a frame ({} of {})",
        how(view.end_of(Leg::Gateway)),
        human_bytes(cut.seen),
        human_bytes(cut.declared)
    );
    let confidence = if view.end_of(Leg::Gateway).is_orderly() {
        Confidence::Likely
    } else {
        Confidence::Possible
    };
    Some(Finding::new(confidence, summary).because(view.both_legs()))
}

fn open(view: &View<'_>) -> Option<Finding> {
    if !view.left(Leg::Gateway) || !view.was_open() {
        return None;
    }
    let summary = format!(
        "the gateway's connection {} without a Close; nothing here proves why",
        how(view.end_of(Leg::Gateway))
    );
    Some(
        Finding::new(Confidence::Likely, summary)
            .because(view.both_legs())
            .because(view.quiet_evidence()),
    )
}

fn reset(view: &View<'_>) -> Option<Finding> {
    if !view.left(Leg::Gateway)
        || !view.was_open()
        || view.end_of(Leg::Gateway) != TransportEnd::Rst
    {
        return None;
    }
    let summary = "the gateway's connection was reset, without a Close";
    Some(
        Finding::new(Confidence::Possible, summary)
            .because(view.both_legs())
            .because(view.quiet_evidence()),
    )
}

fn timeout(view: &View<'_>) -> Option<Finding> {
    if !view.left(Leg::Gateway)
        || !view.was_open()
        || view.end_of(Leg::Gateway) != TransportEnd::Timeout
    {
        return None;
    }
    let waited = (view.latency.as_ref()).map_or(0.0, |latency| latency.blocked_ms.to_gateway);
    let unread = (waited > 0.0).then(|| {
        fact(format!(
            "bytes had waited for it to read for {} in all: tcp.user_timeout gives up on a peer \
             that reads nothing, too",
            human_ms(waited)
        ))
    });
    let summary = if unread.is_some() {
        "the gateway did not read or did not answer until the system gave up on it"
    } else {
        "the gateway stopped answering the network"
    };
    let found = Finding::new(Confidence::Possible, summary).because(view.both_legs());
    Some(found.because(unread))
}
