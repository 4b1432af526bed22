//! A limit of the gateway was reached.

use crate::session::party::{Direction, Leg, Party};
use crate::session::record::verdict::ActOn;
use crate::session::record::{BodyKind, Class, Confidence, Evidence};
use crate::verdict::finding::Finding;
use crate::verdict::rule::{Find, Rule, Versions};
use crate::verdict::view::{View, fact, human_bytes, human_ms};

pub(super) const fn limit(id: &'static str, act_on: ActOn, find: Find) -> Rule {
    Rule::of(id, Class::GatewayLimit, Party::Gateway, act_on, find)
}

pub(super) const RULES: &[Rule] = &[
    Rule {
        title: "The request's head is too large for the gateway",
        explanation: "The gateway answered 431 (or 413, 414) without the marks of another server: \
                      the head of the request is larger than it takes. Node, which OpenClaw runs \
                      on, takes 16 KiB and answers 431 without a body. Cookies of other \
                      applications under the same host name, tokens in headers and long queries \
                      make heads large; the tap itself takes limits.head_bytes (64 KiB), so that it \
                      passes them on.",
        evidence: "413, 414 or 431 to an upgrade, without the marks, the page or a body of another server",
        versions: Versions::Any,
        action: "clear the cookies of this host in the browser, or let the client send less; else start the gateway with NODE_OPTIONS=--max-http-header-size=65536",
        ..limit("gateway.limit.head", ActOn::Client, head)
    },
    Rule {
        title: "A message was too big for the gateway",
        explanation: "Close 1009: a frame of the client was larger than the gateway takes. OpenClaw \
                      says its limit in hello-ok (policy.maxPayload: 25 MiB by default since 2026.2, \
                      512 KiB before).",
        evidence: "a Close 1009 of the gateway; the frame's size against policy.maxPayload",
        versions: Versions::Seen,
        action: "send less in one message: split the upload, or pass a link to the file",
        ..limit(
            "gateway.limit.message_too_big",
            ActOn::Client,
            message_too_big,
        )
    },
    Rule {
        title: "The client read too slowly",
        explanation: "The gateway buffers data for a client up to a limit that it says in hello-ok \
                      (policy.maxBufferedBytes: 50 MiB since 2026.2). When more piles up it \
                      queues Close 1008 \"slow consumer\" behind the data and cuts the connection a \
                      second later, so the Close seldom arrives: what is seen is a frame that \
                      breaks off. Its log says outbound-buffer-exceeded.",
        evidence: "the end of the gateway's connection inside a frame while the client had stopped reading",
        versions: Versions::Seen,
        action: "let the client read faster, or find what holds its data up (a slow link, a buffering proxy, a blocked event loop)",
        ..limit("gateway.limit.slow_consumer", ActOn::Client, slow_consumer)
    },
];

pub(super) fn too_big(view: &View<'_>) -> bool {
    view.gateway_close()
        .is_some_and(|(_, code)| code == Some(1009))
}

/// The largest frame of the client, finished or not.
pub(super) fn largest(view: &View<'_>) -> Option<u64> {
    let frames = view.frames_of(Direction::ToGateway)?;
    let cut = frames.in_progress.map(|cut| cut.declared);
    cut.max(frames.largest.map(|largest| largest.size))
}

fn head(view: &View<'_>) -> Option<Finding> {
    let status = view
        .refused_upgrade()
        .filter(|status| matches!(status, 413 | 414 | 431))?;
    let own = matches!(
        view.body_kind(),
        None | Some(BodyKind::Empty | BodyKind::Gateway)
    );
    // A gateway of another kind may send any body itself, except an error page.
    let other = !view.expected().answers_are_known && view.body_kind() != Some(BodyKind::Html);
    if view.foreign_server().is_some() || !(own || other) {
        return None;
    }
    let size = human_bytes(u64::try_from(view.head_bytes()).unwrap_or(u64::MAX));
    let summary =
        format!("the request's head of about {size} is too large for the gateway ({status})");
    Some(
        Finding::new(Confidence::Likely, summary)
            .because(view.answer_evidence())
            .because(view.head_size_evidence()),
    )
}

fn message_too_big(view: &View<'_>) -> Option<Finding> {
    if !too_big(view) {
        return None;
    }
    let allowed = view.application().max_message;
    let summary = match (largest(view), allowed) {
        (Some(size), Some(allowed)) => format!(
            "a message of {} was too big for the gateway, which takes {}",
            human_bytes(size),
            human_bytes(allowed)
        ),
        (Some(size), None) => {
            format!(
                "a message of {} was too big for the gateway",
                human_bytes(size)
            )
        }
        (None, _) => "a message was too big for the gateway".to_owned(),
    };
    Some(Finding::new(Confidence::Certain, summary).because(view.both_legs()))
}

fn slow_consumer(view: &View<'_>) -> Option<Finding> {
    let frames = view.frames_of(Direction::ToClient)?;
    let blocked = view.latency.as_ref()?.blocked_ms.to_client;
    let cut = frames.in_progress.is_some() || frames.partial_header > 0;
    if !view.left(Leg::Gateway) || !view.was_open() || !cut || blocked < 1000.0 {
        return None;
    }
    let summary = format!(
        "the client read too slowly (our writes to it waited {}), and the gateway cut the session",
        human_ms(blocked)
    );
    Some(
        Finding::new(Confidence::Likely, summary)
            .because(buffer(view))
            .because(view.both_legs()),
    )
}

/// How much the gateway lets wait.
pub(super) fn buffer(view: &View<'_>) -> Option<Evidence> {
    let most = view.application().max_buffered?;
    Some(fact(format!(
        "the gateway lets at most {} wait for a client (policy.maxBufferedBytes)",
        human_bytes(most)
    )))
}
