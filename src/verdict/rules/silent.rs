//! The gateway took the connection and did not answer.
//!
//! The wait can be ended by the client, by our timer or by the gateway, so the findings say who
//! ended it.

use super::network::kernel;
use crate::session::party::{Leg, Party, Phase};
use crate::session::record::verdict::ActOn;
use crate::session::record::{Class, Confidence, GatewayErrorKind, TimerKey};
use crate::verdict::finding::Finding;
use crate::verdict::rule::{Find, Rule, Versions};
use crate::verdict::view::{View, fact, human_ms};

/// Shorter waits for an answer's head are judged as the client's impatience.
const UPGRADE_MS: f64 = 5000.0;

pub(super) const fn silent(id: &'static str, find: Find) -> Rule {
    Rule::of(
        id,
        Class::GatewaySilent,
        Party::Gateway,
        ActOn::Gateway,
        find,
    )
}

pub(super) const RULES: &[Rule] = &[
    Rule {
        title: "The gateway ended the connection before it answered",
        explanation: "The request had gone out and the gateway's side ended with FIN before a \
                      status line: the process is stuck or going down, what listens there is not \
                      the gateway, or it speaks TLS (gateway.tls.enabled) and gateway.url says \
                      http.",
        evidence: "FIN of the gateway after the request and before a status line",
        versions: Versions::Any,
        action: "check that the gateway is healthy: its /healthz must say live",
        ..silent("gateway.silent.closed", closed)
    },
    Rule {
        title: "The gateway reset the connection before it answered",
        explanation: "The request had gone out and the gateway's side reset the connection before a \
                      status line: the process died, or a TLS port got plain HTTP.",
        evidence: "RST of the gateway after the request and before a status line",
        versions: Versions::Any,
        action: "check that the gateway runs, and whether it wants https in gateway.url",
        ..silent("gateway.silent.reset", reset)
    },
    Rule {
        title: "The gateway stopped reading the request",
        explanation: "The request was on its way, and for tcp.user_timeout the gateway read nothing \
                      more of it, so that the kernel gave the connection up. Its host acknowledged \
                      all that was sent: the network works, and the process is stuck, or a proxy in \
                      between waits for it.",
        evidence: "a time-out of the gateway's connection before a status line, with nothing sent again and no probe without an answer",
        versions: Versions::Any,
        action: "look into the gateway's log and at its load; if it pauses uploads for this long, raise tcp.user_timeout",
        ..silent("gateway.silent.unread", unread)
    },
    Rule {
        title: "The gateway never answered the request",
        explanation: "The connection was made and the request sent; no status line came until \
                      timeouts.upgrade ran out (for plain requests timeouts.idle) or the client \
                      gave up. TCP acknowledged, so the process is there and stuck, or a proxy in \
                      between waits for it.",
        evidence: "no status line until timeouts.upgrade ran out, or until the client gave up after 5 s or more",
        versions: Versions::Any,
        action: "look into the gateway's log and at its load; if it needs this long, raise timeouts.upgrade",
        ..silent("gateway.silent.upgrade", upgrade)
    },
];

fn before_status(view: &View<'_>, kind: GatewayErrorKind, how: &str) -> Option<Finding> {
    if view.gateway_error() != Some(kind) {
        return None;
    }
    let summary = format!("the gateway {how} the connection before it answered the request");
    let finding = Finding::new(Confidence::Certain, summary)
        .because(view.gateway_error_evidence())
        .because(view.end_evidence(Leg::Gateway))
        .because([fact(format!("the gateway is {}", view.gateway_name()))])
        .because(view.retry_evidence());
    let gateway = view.gateway.as_ref();
    // It spoke plain HTTP on the kept connection of the first try.
    if gateway.is_some_and(|gateway| gateway.retried.is_some()) {
        return Some(finding.next("look into the gateway's log at this time"));
    }
    // A TLS port of Node ends plain HTTP in the same way, without an alert.
    let url = gateway.map(|gateway| gateway.url.as_str());
    let address = url.and_then(|url| url.strip_prefix("http://"));
    let plain = |text: &&str| {
        let byte = |b: u8| b.is_ascii_alphanumeric() || b".:[]-_".contains(&b);
        !text.is_empty() && text.len() <= 80 && text.bytes().all(byte)
    };
    Some(match address.filter(plain) {
        Some(address) => finding.next(format!(
            "run `curl -sk https://{address}/healthz` on this host: if that answers, the gateway \
             speaks TLS and gateway.url must begin with https://; if it does not, look into the \
             gateway's log at this time"
        )),
        None => finding,
    })
}

fn closed(view: &View<'_>) -> Option<Finding> {
    before_status(view, GatewayErrorKind::ClosedBeforeStatus, "ended")
}

fn reset(view: &View<'_>) -> Option<Finding> {
    before_status(view, GatewayErrorKind::ResetBeforeStatus, "reset")
}

fn unread(view: &View<'_>) -> Option<Finding> {
    if view.gateway_error() != Some(GatewayErrorKind::Unread) {
        return None;
    }
    let summary = "the gateway stopped reading the request, until the connection was given up";
    let tcp = view.gateway.as_ref().and_then(|gateway| gateway.tcp);
    Some(
        Finding::new(Confidence::Likely, summary)
            .because(view.gateway_error_evidence())
            .because(view.end_evidence(Leg::Gateway))
            .because(tcp.map(|tcp| kernel(Leg::Gateway, tcp)))
            .because([fact(format!("the gateway is {}", view.gateway_name()))]),
    )
}

fn upgrade(view: &View<'_>) -> Option<Finding> {
    if view.had_tunnel() || view.status().is_some() {
        return None;
    }
    if view.gateway_error() == Some(GatewayErrorKind::UpgradeTimeout) {
        let waited = view
            .close
            .timer
            .map_or(view.duration_ms, |timer| timer.observed_ms);
        let summary = format!(
            "the gateway took the request and did not answer within {}",
            human_ms(waited)
        );
        let found = Finding::new(Confidence::Certain, summary)
            .because(view.timer_evidence())
            .because([fact(format!("the gateway is {}", view.gateway_name()))])
            .ended_by(Party::Tap);
        return Some(found);
    }
    // The client gave up first, after a wait that no healthy gateway needs.
    let waited = view.ms_since(Phase::Upgrade)?;
    let gone = view.end_of(Leg::Client).is_by_peer() && view.gateway_error().is_none();
    if view.phase != Phase::Upgrade || view.answer.is_some() || !gone || waited < UPGRADE_MS {
        return None;
    }
    let half_closed = view
        .close
        .timer
        .filter(|timer| timer.key == TimerKey::HalfClose);
    let client = if half_closed.is_some() {
        "the client had ended its sending side with the request"
    } else {
        "the client gave up"
    };
    let summary = format!(
        "the gateway took the request and did not answer for {}; {client}",
        human_ms(waited)
    );
    Some(
        Finding::new(Confidence::Likely, summary)
            .because(view.end_evidence(Leg::Client))
            .because(half_closed.and_then(|_| view.timer_evidence()))
            .because([fact(format!("the gateway is {}", view.gateway_name()))])
            .ended_by(Party::Client),
    )
}
