//! Limits that the gateway documents: before a client is accepted, and for clients that read slowly.

use crate::session::party::Direction;
use crate::session::record::verdict::ActOn;
use crate::session::record::{BodyKind, Confidence};
use crate::session::text::PeerText;
use crate::verdict::finding::Finding;
use crate::verdict::openclaw::skew::Release;
use crate::verdict::rule::{Rule, Versions};
use crate::verdict::rules::limit::{buffer, largest, limit, too_big};
use crate::verdict::view::{View, fact, human_bytes, human_ms, short};

/// The smallest limit for a first frame that any version has.
const FIRST: u64 = 64 * 1024;

pub(super) const RULES: &[Rule] = &[
    Rule {
        title: "The first message was too big",
        explanation: "Before it has accepted a client the gateway takes frames up to a limit, and \
                      closes with 1009 for a larger one: 64 KiB since 2026.4, 25 MiB in 2026.2 and \
                      2026.3, 512 KiB in 2026.1.",
        evidence: "a Close 1009 in the handshake, and a first message above 64 KiB, or above the limit of the gateway's version where that is known",
        versions: Versions::Seen,
        action: "make the connect request smaller: it must contain only the fields of the protocol",
        ..limit("gateway.limit.first_frame", ActOn::Client, first_frame)
    },
    Rule {
        title: "Too many frames before hello",
        explanation: "The gateway queues at most 16 frames of a client that it has not accepted \
                      yet.",
        evidence: "a Close whose reason begins \"too many pending handshake frames\"",
        versions: Versions::Read,
        action: "let the client wait for hello-ok before it sends requests",
        ..limit(
            "gateway.limit.handshake_frames",
            ActOn::Client,
            handshake_frames,
        )
    },
    Rule {
        title: "A smaller limit than the gateway's own",
        explanation: "Close 1009 for a message that is not larger than the gateway takes: 64 KiB before \
                      hello-ok (since 2026.4; more before), then what it says there \
                      (policy.maxPayload). So the limit belongs to something else: a proxy between \
                      tap and gateway that parses frames, or another program in the gateway's \
                      place.",
        evidence: "a Close 1009 of the gateway's side, and no frame to it above the gateway's own limit",
        versions: Versions::Seen,
        action: "look for a proxy between tap and gateway with a limit for WebSocket messages, and raise it to what the gateway takes (policy.maxPayload of hello-ok, which its records show as dialect.max_payload) or more",
        ..limit("gateway.limit.smaller_limit", ActOn::Hop, smaller_limit)
    },
    Rule {
        title: "Too many connections that have not logged in",
        explanation: "503 \"Too many unauthenticated sockets\": the gateway allows 32 per client \
                      address. A client that leaks connections, a health check that opens \
                      WebSockets, or clients that all appear under the tap's address use them up.",
        evidence: "503 with the body \"Too many unauthenticated sockets\"",
        versions: Versions::Seen,
        action: "find what opens WebSockets without logging in (probe.websocket and refused sessions in these records)",
        ..limit(
            "gateway.limit.preauth_sockets",
            ActOn::Operator,
            preauth_sockets,
        )
    },
    Rule {
        title: "The gateway called the client a slow consumer",
        explanation: "Close 1008 \"slow consumer\": more than the gateway buffers had piled up for \
                      this client.",
        evidence: "a Close 1008 \"slow consumer\"",
        versions: Versions::Read,
        action: "let the client read faster, or find what holds its data up (a slow link, a buffering proxy, a blocked event loop)",
        ..limit(
            "gateway.limit.slow_consumer_close",
            ActOn::Client,
            slow_consumer_close,
        )
    },
];

fn first_frame(view: &View<'_>) -> Option<Finding> {
    if !view.is_openclaw() || !too_big(view) || !view.was_in_handshake() {
        return None;
    }
    let size = largest(view).map_or_else(String::new, |size| format!(" ({})", human_bytes(size)));
    let summary = format!("the client's first message{size} was too big for the gateway");
    let allowed = first_limit(view).map(|(version, most)| {
        fact(format!(
            "before hello-ok gateway {} takes at most {} a frame, unless it was set otherwise",
            short(version),
            human_bytes(most)
        ))
    });
    Some(
        Finding::new(Confidence::Certain, summary)
            .because(allowed)
            .because(view.both_legs()),
    )
}

/// The gateway's version, and its limit for frames before hello-ok (measured with 2026.1.24, 2026.2.17,
/// 2026.3.7, 2026.4.29, 2026.5.7, 2026.7.35 and 2026.9.6).
fn first_limit<'a>(view: &View<'a>) -> Option<(&'a PeerText, u64)> {
    let version = view.gateway_version()?;
    let most = match Release::of(version.as_str())? {
        Release(..=2025, ..) => return None,
        Release(2026, ..=1, _) => 512 * 1024,
        Release(2026, 2 | 3, _) => 25 * 1024 * 1024,
        Release(..) => FIRST,
    };
    Some((version, most))
}

fn smaller_limit(view: &View<'_>) -> Option<Finding> {
    if !too_big(view) || !view.is_openclaw() {
        return None;
    }
    let frames = view.frames_of(Direction::ToGateway)?;
    // With fragments or compression, a frame's size is not its message's size.
    if frames.opcodes.continuation > 0 || frames.compressed_messages > 0 {
        return None;
    }
    let dialect = view.openclaw()?;
    let known = first_limit(view).map(|(_, most)| most);
    let (allowed, at_least) = match (view.was_in_handshake(), known) {
        (true, Some(most)) => (most, ""),
        (true, None) => (FIRST, "at least "),
        (false, _) => (dialect.max_payload?, ""),
    };
    let size = largest(view).filter(|size| *size <= allowed)?;
    let summary = format!(
        "a message of {} was called too big, and the gateway takes {at_least}{}: somebody else's limit",
        human_bytes(size),
        human_bytes(allowed)
    );
    Some(Finding::new(Confidence::Possible, summary).because(view.both_legs()))
}

fn handshake_frames(view: &View<'_>) -> Option<Finding> {
    let said = view.said()?;
    if !said.begins_with(&["too many pending handshake frames"]) {
        return None;
    }
    let summary = "the client sent too many frames before the gateway had accepted it";
    Some(Finding::new(Confidence::Certain, summary).because(view.refusal_evidence()))
}

fn preauth_sockets(view: &View<'_>) -> Option<Finding> {
    if !view.refused_with(BodyKind::TooManySockets) {
        return None;
    }
    let summary = "the gateway has too many connections from this address that have not logged in";
    Some(
        Finding::new(Confidence::Certain, summary)
            .because(view.answer_evidence())
            .because(view.attribution_evidence()),
    )
}

fn slow_consumer_close(view: &View<'_>) -> Option<Finding> {
    let (close, code) = view.gateway_close()?;
    let reason = close.reason.as_str();
    let says_so = reason.starts_with("slow consumer") || reason.starts_with("slow-consumer");
    if !view.is_openclaw() || code != Some(1008) || !says_so {
        return None;
    }
    let blocked = view.latency.as_ref().map(|latency| {
        fact(format!(
            "our writes to the client had waited {} in all",
            human_ms(latency.blocked_ms.to_client)
        ))
    });
    let summary = "the client read too slowly, and the gateway closed it as a slow consumer";
    Some(
        Finding::new(Confidence::Certain, summary)
            .because(view.both_legs())
            .because(buffer(view))
            .because(blocked),
    )
}
