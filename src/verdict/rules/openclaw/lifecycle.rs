//! The gateway reports in a message that it is starting, draining or unavailable.

use crate::session::record::verdict::ActOn;
use crate::session::record::{BodyKind, Confidence};
use crate::verdict::finding::Finding;
use crate::verdict::rule::{Rule, Versions};
use crate::verdict::rules::lifecycle::cycle;
use crate::verdict::view::{View, close_words, fact};

pub(super) const RULES: &[Rule] = &[
    Rule {
        title: "The gateway is draining",
        explanation: "The upgrade was answered with 503 \"Gateway websocket admission closed\": the \
                      gateway is about to restart or stop, or is suspended. After a restart it \
                      takes about 7 s until it accepts again. Before 2026.8 the gateway has no \
                      message of its own for that, and its WebSocket library (ws, for Node) \
                      answers: 503 \"Service Unavailable\" as text/html, with Connection, \
                      Content-Type and Content-Length and no other header. Another Node program in \
                      the gateway's place that is closing sends the same, so this form only makes \
                      it likely that it is the gateway's.",
        evidence: "503 with the body \"Gateway websocket admission closed\"; or the library's 503 in exactly its form, from no gateway that is known to be of 2026.8 or later",
        versions: Versions::Seen,
        action: "wait for the gateway to come back, then connect again",
        ..cycle(
            "gateway.lifecycle.admission_closed",
            ActOn::Nobody,
            admission_closed,
        )
    },
    Rule {
        title: "The gateway is not ready for WebSockets yet",
        explanation: "The upgrade was answered with 503 \"Gateway websocket handlers unavailable\": \
                      the gateway has just started.",
        evidence: "503 with the body \"Gateway websocket handlers unavailable\"",
        versions: Versions::Read,
        action: "connect again in a few seconds",
        ..cycle(
            "gateway.lifecycle.handlers_unavailable",
            ActOn::Nobody,
            handlers_unavailable,
        )
    },
    Rule {
        title: "The gateway is starting",
        explanation: "Close 1013, or a refusal that says so: the gateway accepts connections and is \
                      not ready to serve them, which takes a second or two after it began to \
                      listen.",
        evidence: "a refusal or Close that begins \"gateway starting\", or the reason startup-sidecars",
        versions: Versions::Seen,
        action: "connect again in a few seconds; clients do so by themselves",
        ..cycle("gateway.lifecycle.starting", ActOn::Nobody, starting)
    },
    Rule {
        title: "The gateway is not available now",
        explanation: "The gateway asked to try again later: Close 1013, or a refusal with the code \
                      UNAVAILABLE. A restart or suspension in progress is the usual reason.",
        evidence: "a Close 1013, or a refusal with the code UNAVAILABLE, of no more specific kind",
        versions: Versions::Read,
        action: "connect again later",
        ..cycle("gateway.lifecycle.unavailable", ActOn::Nobody, unavailable)
    },
];

fn admission_closed(view: &View<'_>) -> Option<Finding> {
    if view.library_closes() {
        let summary = "the gateway stops: its WebSocket library takes no new sessions (503)";
        let confidence = if view.expects_openclaw() {
            Confidence::Likely
        } else {
            Confidence::Possible
        };
        let form = fact(
            "its form is exactly that of the ws library for Node while a server closes: three headers, \
             none of them Date, Server or Via",
        );
        return Some(
            Finding::new(confidence, summary)
                .because(view.answer_evidence())
                .because([form]),
        );
    }
    if !view.refused_with(BodyKind::AdmissionClosed) {
        return None;
    }
    let summary = "the gateway takes no new sessions: it is about to restart or stop (503)";
    Some(Finding::new(Confidence::Certain, summary).because(view.answer_evidence()))
}

fn handlers_unavailable(view: &View<'_>) -> Option<Finding> {
    if !view.refused_with(BodyKind::HandlersUnavailable) {
        return None;
    }
    let summary = "the gateway has just started and takes no WebSockets yet (503)";
    Some(Finding::new(Confidence::Certain, summary).because(view.answer_evidence()))
}

fn starting(view: &View<'_>) -> Option<Finding> {
    let said = view.said()?;
    let says_so = said.begins_with(&["gateway starting", "gateway message handler loading"])
        || said.reason() == Some("startup-sidecars");
    if !says_so {
        return None;
    }
    let retry = said
        .error()
        .and_then(|error| error.retry_after_ms)
        .map(|ms| fact(format!("the gateway asks to try again after {ms} ms")));
    let summary = "the gateway is still starting and asked to try again";
    Some(
        Finding::new(Confidence::Certain, summary)
            .because(view.refusal_evidence())
            .because(retry),
    )
}

fn unavailable(view: &View<'_>) -> Option<Finding> {
    // Not limited to the dialect: with `gateway.dialect: plain` the code alone is enough.
    let later = view
        .gateway_close()
        .is_some_and(|(_, code)| code == Some(1013));
    let said = view.said();
    let refused = said.is_some_and(|said| {
        said.error_code() == Some("UNAVAILABLE") || said.close_code() == Some(1013)
    });
    if !later && !refused {
        return None;
    }
    let words = match (said, view.gateway_close()) {
        (Some(said), _) => said.words(),
        (None, Some((close, _))) => close_words(close),
        (None, None) => String::new(),
    };
    let summary = format!("the gateway is not available now: {words}");
    let evidence = if said.is_some() {
        view.refusal_evidence()
    } else {
        view.both_legs()
    };
    Some(Finding::new(Confidence::Certain, summary).because(evidence))
}
