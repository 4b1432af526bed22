//! A limit of the gateway was reached.

use crate::session::party::{Direction, Leg, Party};
use crate::session::record::verdict::ActOn;
use crate::session::record::{BodyKind, Class, Confidence, Evidence};
use crate::session::text::PeerText;
use crate::verdict::finding::Finding;
use crate::verdict::rule::{Find, Rule, Versions};
use crate::verdict::skew::Release;
use crate::verdict::view::{View, fact, human_bytes, human_ms, short};

const fn limit(id: &'static str, act_on: ActOn, find: Find) -> Rule {
    Rule {
        id,
        class: Class::GatewayLimit,
        party: Party::Gateway,
        act_on,
        title: "",
        explanation: "",
        evidence: "",
        versions: Versions::Any,
        action: "",
        find,
    }
}

pub(super) const RULES: &[Rule] = &[
    Rule {
        title: "The first message was too big",
        explanation: "Before it has accepted a client the gateway takes frames up to a limit, and \
                      closes with 1009 for a larger one: 64 KiB since 2026.4, 25 MiB in 2026.2 and \
                      2026.3, 512 KiB in 2026.1.",
        evidence: "a Close 1009 in the handshake, and a first message above 64 KiB, or above the limit of the gateway's version where that is known",
        versions: Versions::Seen,
        action: "make the connect request smaller: nothing but the fields of the protocol belongs into it",
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
        title: "A smaller limit than the gateway's own",
        explanation: "Close 1009 for a message that is not larger than the gateway takes: 64 KiB before \
                      hello-ok (since 2026.4; more before), then what it says there (policy.maxPayload). So the limit is \
                      somebody else's: a proxy between tap and gateway that takes frames apart, or \
                      another program in the gateway's place.",
        evidence: "a Close 1009 of the gateway's side, and no frame to it above the gateway's own limit",
        versions: Versions::Seen,
        action: "look for a proxy between tap and gateway with a limit for WebSocket messages, and raise it to what the gateway takes (policy.maxPayload of hello-ok, which its records show as dialect.max_payload) or more",
        ..limit("gateway.limit.smaller_limit", ActOn::Hop, smaller_limit)
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

fn too_big(view: &View<'_>) -> bool {
    view.gateway_close()
        .is_some_and(|(_, code)| code == Some(1009))
}

/// The largest frame of the client, finished or not.
fn largest(view: &View<'_>) -> Option<u64> {
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
    let other = !view.expects_openclaw() && view.body_kind() != Some(BodyKind::Html);
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

fn first_frame(view: &View<'_>) -> Option<Finding> {
    if !too_big(view) || !view.was_in_handshake() {
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

/// The smallest limit for a first frame that any version has.
const FIRST: u64 = 64 * 1024;

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
    // Then a frame's size is not its message's.
    if frames.opcodes.continuation > 0 || frames.compressed_messages > 0 {
        return None;
    }
    let dialect = view.dialect.as_ref()?;
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
    Some(Finding::new(Confidence::Certain, summary).because(said.evidence(view)))
}

fn message_too_big(view: &View<'_>) -> Option<Finding> {
    if !too_big(view) {
        return None;
    }
    let allowed = view
        .dialect
        .as_ref()
        .and_then(|dialect| dialect.max_payload);
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
fn buffer(view: &View<'_>) -> Option<Evidence> {
    let most = view.dialect.as_ref()?.max_buffered?;
    Some(fact(format!(
        "the gateway lets at most {} wait for a client (policy.maxBufferedBytes)",
        human_bytes(most)
    )))
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
