//! Endings that the tap itself caused: its policy, its shutdown, its faults.

use crate::session::party::{Leg, Party, Phase};
use crate::session::record::verdict::ActOn;
use crate::session::record::{Class, Confidence, DeniedFact, DeniedKey, Kind, TlsFailureKind};
use crate::verdict::finding::Finding;
use crate::verdict::rule::{Rule, Versions};
use crate::verdict::view::{Decisive, View, fact, human_bytes};

pub(super) const RULES: &[Rule] = &[
    Rule {
        id: "tap.denied.connections",
        class: Class::TapDenied,
        party: Party::Tap,
        act_on: ActOn::Operator,
        title: "Too many connections",
        explanation: "limits.connections was reached when this client connected; it was closed at \
                      once, or its request got 503 where it is a stream of HTTP/2, which counts \
                      like a connection. Look first for a client that opens connections and keeps them: `wstap \
                      sessions` shows the open ones.",
        evidence: "our refusal by limits.connections",
        versions: Versions::Any,
        action: "raise limits.connections",
        find: connections,
    },
    Rule {
        id: "tap.denied.head_bytes",
        class: Class::TapDenied,
        party: Party::Tap,
        act_on: ActOn::Operator,
        title: "The request head is too large",
        explanation: "The request line and headers together are larger than limits.head_bytes; the \
                      tap answered 431. Large cookies and tokens are the common cause.",
        evidence: "our 431 by limits.head_bytes",
        versions: Versions::Any,
        action: "raise limits.head_bytes, or make the client's cookies smaller",
        find: head_bytes,
    },
    Rule {
        id: "tap.denied.handshakes",
        class: Class::TapDenied,
        party: Party::Tap,
        act_on: ActOn::Operator,
        title: "Too many handshakes at once",
        explanation: "limits.handshakes was reached when this client connected: that many \
                      connections were in their TLS handshake, had not sent a request, or waited \
                      for the gateway to answer their upgrade. It was closed at once (a stream of \
                      HTTP/2 counts like a connection and got 503). Clients that all reconnect \
                      after a restart do this, and so does a client that opens connections and \
                      sends nothing.",
        evidence: "our refusal by limits.handshakes",
        versions: Versions::Any,
        action: "look whether one client opens connections and sends nothing; raise limits.handshakes if they are all yours",
        find: handshakes,
    },
    Rule {
        id: "tap.denied.headers",
        class: Class::TapDenied,
        party: Party::Tap,
        act_on: ActOn::Operator,
        title: "Too many headers",
        explanation: "The request has more header lines than limits.headers allows; the tap \
                      answered 431.",
        evidence: "our 431 by limits.headers",
        versions: Versions::Any,
        action: "raise limits.headers, or find out which hop adds so many",
        find: headers,
    },
    Rule {
        id: "tap.denied.per_client",
        class: Class::TapDenied,
        party: Party::Tap,
        act_on: ActOn::Operator,
        title: "Too many connections of one client",
        explanation: "limits.per_client was reached by this client's address (IPv6: by its /64). \
                      Each stream of HTTP/2 counts like a connection. \
                      An address that many people share is mostly a proxy: if it is listed in \
                      trusted_proxies, the clients that it names are counted instead.",
        evidence: "our refusal by limits.per_client",
        versions: Versions::Any,
        action: "look for a client that opens connections and keeps them; if the address is a proxy of yours, put it in trusted_proxies; else raise limits.per_client",
        find: per_client,
    },
    Rule {
        id: "tap.denied.policy",
        class: Class::TapDenied,
        party: Party::Tap,
        act_on: ActOn::Operator,
        title: "Our policy refused it",
        explanation: "A rule of the tap's configuration refused this session; the evidence names \
                      the key and what it is set to.",
        evidence: "a refusal of ours that no other rule knows",
        versions: Versions::Any,
        action: "change the key that is named, if the client should be let in",
        find: policy,
    },
    Rule {
        id: "tap.drain.request",
        class: Class::TapDrain,
        party: Party::Tap,
        act_on: ActOn::Nobody,
        title: "The tap was shutting down",
        explanation: "A request or a connection was refused or ended because the tap was asked to \
                      stop.",
        evidence: "our shutdown while a request or a connection waited",
        versions: Versions::Any,
        action: "connect again once the tap is back",
        find: drained_request,
    },
    Rule {
        id: "tap.drain.session",
        class: Class::TapDrain,
        party: Party::Tap,
        act_on: ActOn::Nobody,
        title: "The tap shut down under an open session",
        explanation: "The tap was asked to stop and ended the session with Close 1001 where a \
                      Close could be sent, otherwise by cutting it. Closes are spread over half of \
                      timeouts.drain so that not all clients come back at once.",
        evidence: "our shutdown while a session was open, first on the wire",
        versions: Versions::Any,
        action: "nothing to do: clients reconnect by themselves once the tap is back",
        find: drained_session,
    },
    Rule {
        id: "tap.fault.bug",
        class: Class::TapFault,
        party: Party::Tap,
        act_on: ActOn::Tap,
        title: "A bug of wstap",
        explanation: "A task of the tap panicked, or one of its assumptions failed. Any other \
                      ending in the record may be a consequence of that.",
        evidence: "a panic or a broken assumption in the tap's own code",
        versions: Versions::Any,
        action: "report this record to the wstap project",
        find: bug,
    },
    Rule {
        id: "tap.fault.certificate",
        class: Class::TapFault,
        party: Party::Tap,
        act_on: ActOn::Operator,
        title: "The tap has no certificate for this client",
        explanation: "The client verifies signatures of another kind of key (RSA, ECDSA, Ed25519) \
                      than the listener's certificates for that name have. Old clients take RSA \
                      only; hardly any takes Ed25519. A client that could work with no kind of key \
                      is client.fault.tls.",
        evidence: "a TLS handshake that failed because the client takes other kinds of certificate keys than ours",
        versions: Versions::Any,
        action: "add a certificate with a key of the kind that is named above to listeners[].tls.certificates: the tap shows each client the one that it takes",
        find: no_certificate,
    },
    Rule {
        id: "tap.fault.unexplained",
        class: Class::TapFault,
        party: Party::Tap,
        act_on: ActOn::Tap,
        title: "The tap ended a tunnel and does not say why",
        explanation: "Neither end closed or left, no timer fired and the tap was not shutting \
                      down: the record lacks the fact that explains this.",
        evidence: "a tunnel that we ended, without a timer, a drain, a Close or the end of a connection",
        versions: Versions::Any,
        action: "report this record to the wstap project",
        find: unexplained,
    },
];

fn denied<'a>(view: &View<'a>, key: &DeniedKey) -> Option<&'a DeniedFact> {
    let denied = view.record().close.denied.as_ref();
    denied.filter(|denied| denied.key == *key)
}

fn denial(denied: &DeniedFact, summary: String, next: String) -> Finding {
    Finding::new(Confidence::Certain, summary)
        .because([fact(format!("{}: {}", denied.key, denied.detail))])
        .next(next)
}

/// How we refused a client because of a limit. Only an HTTP/2 stream gets an answer.
fn refusal(view: &View<'_>) -> String {
    match &view.answer {
        Some(answer) => format!("we refused it with {}", answer.status),
        None => "we closed it at once".to_owned(),
    }
}

fn connections(view: &View<'_>) -> Option<Finding> {
    let denied = denied(view, &DeniedKey::Connections)?;
    let limit = denied.limit;
    let what = refusal(view);
    let summary = match limit {
        Some(limit) => format!("{what}: limits.connections ({limit}) was reached"),
        None => format!("{what}: limits.connections was reached"),
    };
    let wanted = limit.unwrap_or(20_000).saturating_mul(2);
    Some(denial(
        denied,
        summary,
        format!("set `limits: {{ connections: {wanted} }}` if so many clients are really yours"),
    ))
}

fn handshakes(view: &View<'_>) -> Option<Finding> {
    let denied = denied(view, &DeniedKey::Handshakes)?;
    let limit = denied.limit.unwrap_or(4096);
    let summary = format!("{}: limits.handshakes ({limit}) was reached", refusal(view));
    let wanted = limit.saturating_mul(2);
    Some(denial(
        denied,
        summary,
        format!("set `limits: {{ handshakes: {wanted} }}` if so many clients connect at once"),
    ))
}

fn per_client(view: &View<'_>) -> Option<Finding> {
    let denied = denied(view, &DeniedKey::PerClient)?;
    let summary = format!("we refused it: {}", sentence(&denied.detail));
    Some(Finding::new(Confidence::Certain, summary).because([fact(denied.detail.clone())]))
}

fn head_bytes(view: &View<'_>) -> Option<Finding> {
    let denied = denied(view, &DeniedKey::HeadBytes)?;
    let largest = denied.limit.unwrap_or(64 * 1024);
    let summary = format!(
        "we refused the request head with 431: {}",
        sentence(&denied.detail)
    );
    let wanted = largest
        .saturating_add(1)
        .checked_next_power_of_two()
        .unwrap_or(largest)
        / 1024;
    Some(denial(
        denied,
        summary,
        format!(
            "set `limits: {{ head_bytes: {}KiB }}`, or make the client's cookies and tokens smaller",
            wanted.max(128)
        ),
    ))
}

fn headers(view: &View<'_>) -> Option<Finding> {
    let denied = denied(view, &DeniedKey::Headers)?;
    let most = denied.limit.unwrap_or(128);
    let summary = format!(
        "we refused the request with 431: {}",
        sentence(&denied.detail)
    );
    let wanted = most
        .saturating_add(1)
        .checked_next_power_of_two()
        .unwrap_or(most);
    let next = format!("set `limits: {{ headers: {wanted} }}`, or find out which hop adds so many");
    Some(denial(denied, summary, next))
}

fn policy(view: &View<'_>) -> Option<Finding> {
    let denied = view.record().close.denied.as_ref()?;
    let summary = format!(
        "we refused it by {}: {}",
        denied.key,
        sentence(&denied.detail)
    );
    let next = format!("change {} if this client should be let in", denied.key);
    Some(denial(denied, summary, next))
}

fn sentence(detail: &str) -> String {
    detail.chars().take(90).collect()
}

fn drained_request(view: &View<'_>) -> Option<Finding> {
    if !view.close.drained || view.had_tunnel() || view.decided_answer().is_some() {
        return None;
    }
    let what = if view.record().passthrough.is_some() {
        "we were shutting down and cut a connection that passed unread"
    } else if view.kind == Kind::Connection {
        "we were shutting down and closed a connection that had not asked for anything"
    } else if view.phase >= Phase::Dial {
        "we shut down while the request was under way"
    } else {
        "we were shutting down and refused the request"
    };
    Some(
        Finding::new(Confidence::Certain, what)
            .because([fact(format!(
                "it had got as far as `{}`",
                view.phase.as_str()
            ))])
            .because(view.end_evidence(Leg::Client)),
    )
}

fn drained_session(view: &View<'_>) -> Option<Finding> {
    let other = view.close.timer.is_some() || view.close.cap.is_some();
    if !view.close.drained || view.decisive() != Decisive::Tap || other {
        return None;
    }
    let summary = if view.close.tap.is_some() {
        "we shut down and closed the session with 1001"
    } else {
        "we shut down and cut the session, as no Close could be sent"
    };
    Some(Finding::new(Confidence::Certain, summary).because(view.both_legs()))
}

fn bug(view: &View<'_>) -> Option<Finding> {
    let what = view.close.fault.as_ref()?;
    let summary = format!("wstap failed: {}", sentence(what));
    let next = format!("report this record ({}) to the wstap project", view.id);
    Some(
        Finding::new(Confidence::Certain, summary)
            .because([fact(what.clone())])
            .because(view.both_legs())
            .next(next),
    )
}

fn no_certificate(view: &View<'_>) -> Option<Finding> {
    let failure = view.client.tls.as_ref()?.failure.as_ref()?;
    if failure.kind != Some(TlsFailureKind::CertificateKey) {
        return None;
    }
    let summary = "we had no certificate with a key that this client's TLS can use";
    Some(Finding::new(Confidence::Certain, summary).because([fact(failure.detail.clone())]))
}

fn unexplained(view: &View<'_>) -> Option<Finding> {
    if !view.had_tunnel() || !matches!(view.decisive(), Decisive::Nothing | Decisive::Tap) {
        return None;
    }
    let summary = "we ended the session, and the record does not say why";
    let moved = view.record().frames.as_ref().map(|frames| {
        fact(format!(
            "{} had gone to the gateway and {} to the client",
            human_bytes(frames.to_gateway.wire_bytes),
            human_bytes(frames.to_client.wire_bytes)
        ))
    });
    Some(
        Finding::new(Confidence::Possible, summary)
            .because(view.both_legs())
            .because(moved),
    )
}
