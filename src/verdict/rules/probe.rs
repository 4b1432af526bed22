//! Connections that only test whether something listens.

use crate::session::party::{Direction, Leg, Party, Phase};
use crate::session::record::verdict::ActOn;
use crate::session::record::{Class, Confidence};
use crate::verdict::finding::Finding;
use crate::verdict::rule::{Rule, Versions};
use crate::verdict::view::{View, at, fact, human_ms};
use crate::verdict::visits::Visitor;

/// Health checks leave sooner.
const WAITED_MS: f64 = 2000.0;

pub(super) const RULES: &[Rule] = &[
    Rule {
        id: "probe.tcp",
        class: Class::Probe,
        party: Party::Client,
        act_on: ActOn::Nobody,
        title: "A bare TCP connect",
        explanation: "A connection was opened and ended without one byte: what load balancers, \
                      container health checks and port scanners do.",
        evidence: "a connection that ended without one byte",
        versions: Versions::Any,
        action: "nothing to do",
        find: tcp,
    },
    Rule {
        id: "probe.tls",
        class: Class::Probe,
        party: Party::Client,
        act_on: ActOn::Nobody,
        title: "A bare TLS connect",
        explanation: "The TLS handshake completed and the client left without a request: a health \
                      check that looks at the certificate, or a browser's spare connection. With a \
                      certificate that clients do not trust by themselves it is \
                      tap.certificate.untrusted, unless a request of the same address came through \
                      this certificate or its connections come at even intervals. A client that pins the certificate's \
                      fingerprint and found another one looks the same from here: OpenClaw's then \
                      says \"gateway tls fingerprint mismatch\".",
        evidence: "a completed TLS handshake and no byte of a request",
        versions: Versions::Any,
        action: "nothing to do, unless a client complains of a TLS fingerprint mismatch: then \
                 update its pin (gateway.remote.tlsFingerprint)",
        find: tls,
    },
    Rule {
        id: "probe.spare",
        class: Class::Probe,
        party: Party::Tap,
        act_on: ActOn::Nobody,
        title: "A spare connection that was not used",
        explanation: "A client connected (and on a listener with TLS may have completed it), sent \
                      nothing, and timeouts.request_head or timeouts.tls_handshake ended it; a request \
                      of the same address had come. Browsers open such connections in advance. Where \
                      no request of the address had come, it is tap.timeout.",
        evidence: "a timer of ours on a connection without one byte, and a request of the same address within a day before",
        versions: Versions::Any,
        action: "nothing to do",
        find: spare,
    },
    Rule {
        id: "probe.websocket",
        class: Class::Probe,
        party: Party::Client,
        act_on: ActOn::Nobody,
        title: "A WebSocket that was opened and not used",
        explanation: "The upgrade succeeded and the client left before the application had \
                      accepted it, without having sent one byte: a health check of the upgrade, or \
                      a client that changed its mind. A client whose key or answer a proxy in front of \
                      the tap changes leaves so too: it says \"Invalid Sec-WebSocket-Accept \
                      header\". A client that ends its sending side with the upgrade request, and then \
                      only reads, is a probe with any dialect. With `dialect: plain` nothing \
                      distinguishes any other probe from a client that only listens, so it is \
                      client.left there.",
        evidence: "a 101, and a client that left before hello-ok without one byte",
        versions: Versions::Seen,
        action: "nothing to do, unless a client complains of Sec-WebSocket-Accept: then let the \
                 proxy in front of the tap pass Sec-WebSocket-* unchanged",
        find: websocket,
    },
];

fn tcp(view: &View<'_>) -> Option<Finding> {
    if !view.is_bare_connect() || view.client.tls.is_some() {
        return None;
    }
    let summary = "the client connected, sent nothing and left: a health check";
    Some(Finding::new(Confidence::Likely, summary).because(view.end_evidence(Leg::Client)))
}

fn tls(view: &View<'_>) -> Option<Finding> {
    let tls = view.client.tls.as_ref()?;
    let completed = tls.failure.is_none() && view.phase >= Phase::Request && view.is_bare_connect();
    let known = view.left_at_certificate() && view.visitor() != Visitor::Unknown;
    if !completed && !known {
        return None;
    }
    let summary = match view.visitor() {
        Visitor::Accepts(_) => {
            "the client, which trusts the certificate, left a spare TLS connection"
        }
        Visitor::Checks(_) => "the client begins TLS at even intervals and leaves: a health check",
        Visitor::Unknown => "the client completed TLS, asked for nothing and left: a health check",
    };
    Some(
        Finding::new(Confidence::Likely, summary)
            .because(view.visits_evidence())
            .because(view.end_evidence(Leg::Client)),
    )
}

fn spare(view: &View<'_>) -> Option<Finding> {
    let asked_at = view.visits()?.asked_at?;
    if !view.waited_in_silence() {
        return None;
    }
    let summary = "the client left a spare connection unused until our timer ended it";
    let asked = at(asked_at, "a request of this address had come");
    Some(
        Finding::new(Confidence::Likely, summary)
            .because([asked])
            .because(view.timer_evidence()),
    )
}

fn websocket(view: &View<'_>) -> Option<Finding> {
    let sent = view.frames_of(Direction::ToGateway)?.wire_bytes;
    // Once it is open (with `dialect: plain` from the start) a client may well only listen.
    if !view.left(Leg::Client) || sent > 0 {
        return None;
    }
    if view.ended_before_tunnel(Leg::Client) {
        let summary =
            "the client asked for a WebSocket and ended its sending side with the request";
        return Some(Finding::new(Confidence::Likely, summary).because(view.both_legs()));
    }
    if !view.was_in_handshake() {
        return None;
    }
    let summary = "the client opened a WebSocket and left without sending one byte";
    // A client answers the challenge at once; one that stayed waited for it.
    let waited = view.tunnel_ms();
    let challenged = view.application().greeted_at.is_some();
    let held = (challenged && waited >= WAITED_MS).then(|| {
        fact(format!(
            "the challenge had been written to it {} before: a proxy between client and tap that \
             holds frames back looks the same",
            human_ms(waited)
        ))
    });
    let confidence = if held.is_some() {
        Confidence::Possible
    } else {
        Confidence::Likely
    };
    Some(
        Finding::new(confidence, summary)
            .because(view.both_legs())
            .because(held),
    )
}
