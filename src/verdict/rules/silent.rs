//! The gateway took the connection and did not answer.
//!
//! Who ended the wait differs (the client gave up, a timer of ours, the gateway's own), so the
//! findings say it.

use super::network::kernel;
use crate::dialect::openclaw::endpoint::may_be_canvas;
use crate::session::party::{Direction, Leg, Party, Phase};
use crate::session::record::verdict::ActOn;
use crate::session::record::{Class, Confidence, GatewayErrorKind, TimerKey};
use crate::verdict::finding::Finding;
use crate::verdict::rule::{Find, Rule, Versions};
use crate::verdict::view::{Decisive, View, at, fact, human_ms};

/// An `OpenClaw` gateway sends its challenge at once after the 101.
const CHALLENGE_MS: f64 = 1000.0;

/// It answers connect within milliseconds, but delays wrong tokens of local clients by up to 5 s.
const HELLO_MS: f64 = 2000.0;

/// Shorter waits for an answer's head are judged as the client's impatience.
const UPGRADE_MS: f64 = 5000.0;

/// `policy.tickIntervalMs` where hello-ok did not say; a client gives up after twice that.
const TICK_MS: u64 = 30_000;

const fn silent(id: &'static str, find: Find) -> Rule {
    Rule {
        id,
        class: Class::GatewaySilent,
        party: Party::Gateway,
        act_on: ActOn::Gateway,
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
        title: "The gateway opened the WebSocket and never challenged",
        explanation: "An OpenClaw gateway sends connect.challenge at once after the 101. None came \
                      until somebody gave up waiting: the gateway is stuck, what answers is no \
                      OpenClaw gateway, or a proxy between tap and gateway holds its frames back.",
        evidence: "a 101 and not one message of the gateway until somebody gave up, a second or more later",
        versions: Versions::Seen,
        action: "check that gateway.url points at an OpenClaw gateway that answers /healthz, without a buffering proxy in between",
        ..silent("gateway.silent.no_challenge", no_challenge)
    },
    Rule {
        title: "The gateway never answered connect",
        explanation: "The client's connect request went to the gateway and neither hello-ok nor a \
                      refusal came until somebody gave up waiting (the gateway itself closes with \
                      1000 after 15 s): the gateway is overloaded or stuck while it starts, or a proxy in between \
                      holds frames back.",
        evidence: "a connect request that went to the gateway and no answer for two seconds or more",
        versions: Versions::Seen,
        action: "look into the gateway's log at this time, and at its load; its readiness is at /readyz",
        ..silent("gateway.silent.no_hello", no_hello)
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
        title: "The gateway's ticks stopped",
        explanation: "OpenClaw gateways send a tick every 30 s. None came through the tap for so \
                      long that the client gave up (4000 \"tick timeout\"): the gateway's process \
                      was blocked or suspended, or packets between tap and gateway were lost.",
        evidence: "a Close 4000 \"tick timeout\" of the client, and nothing of the gateway for longer than its ticks are apart, although the client read",
        versions: Versions::Read,
        action: "look into the gateway's log and at its load at this time: it had stopped sending",
        ..silent("gateway.silent.ticks", ticks)
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
    // A TLS port of Node's ends plain HTTP just so, without an alert that would tell.
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

/// Who gave up waiting for the gateway during the handshake.
fn gave_up(view: &View<'_>) -> Option<Party> {
    let idle = view
        .close
        .timer
        .is_some_and(|timer| timer.key == TimerKey::Idle);
    match view.decisive() {
        Decisive::ClientClose | Decisive::ClientTransport => Some(Party::Client),
        Decisive::Tap if idle => Some(Party::Tap),
        // Its own handshake timer: an empty reason, nothing said before.
        Decisive::GatewayClose => {
            let (close, code) = view.gateway_close()?;
            (matches!(code, None | Some(1000)) && close.reason.is_empty()).then_some(Party::Gateway)
        }
        _ => None,
    }
}

pub(super) fn no_challenge(view: &View<'_>) -> Option<Finding> {
    let dialect = view.dialect.as_ref()?;
    let nothing = dialect.challenge_at.is_none()
        && dialect.connect_at.is_none()
        && view
            .frames_of(Direction::ToClient)
            .is_none_or(|frames| frames.messages == 0);
    if !view.is_openclaw() || !view.was_in_handshake() || !nothing {
        return None;
    }
    let party = gave_up(view).filter(|party| *party != Party::Gateway)?;
    let waited = view.tunnel_ms();
    if waited < CHALLENGE_MS {
        return None;
    }
    let summary = format!(
        "the gateway opened the WebSocket and sent no challenge for {}; the {} gave up",
        human_ms(waited),
        party.as_str()
    );
    Some(
        Finding::new(likely_after(waited), summary)
            .because([fact("no connect.challenge of the gateway came")])
            .because(view.both_legs())
            .ended_by(party),
    )
}

pub(super) fn no_hello(view: &View<'_>) -> Option<Finding> {
    let dialect = view.dialect.as_ref()?;
    let asked = dialect.connect_at?;
    let ended = view.decided_at()?;
    if !view.was_in_handshake() || dialect.answered_at.is_some() {
        return None;
    }
    // What came and could not be read may have been the answer.
    let said = view.frames_of(Direction::ToClient)?;
    if said.messages > 1 && said.last_at.is_some_and(|last| last > asked) {
        return None;
    }
    let party = gave_up(view)?;
    #[expect(clippy::cast_precision_loss, reason = "milliseconds of one session")]
    let waited = ended.millis_since(asked).max(0) as f64;
    // What waits for the client to read may hold the answer back, or be the beginning of it.
    let unread = view.held_up_ms(Direction::ToClient, waited).is_some();
    if waited < HELLO_MS || unread {
        return None;
    }
    let who = match party {
        Party::Gateway => "closed without a word".to_owned(),
        party => format!("the {} gave up", party.as_str()),
    };
    let summary = format!(
        "the gateway did not answer connect for {}; {}",
        human_ms(waited),
        if party == Party::Gateway {
            format!("it {who}")
        } else {
            who
        }
    );
    let found = Finding::new(likely_after(waited), summary)
        .because([at(
            asked,
            "the client's connect request went to the gateway",
        )])
        .because(view.both_legs())
        .ended_by(party);
    let request = view.request.as_ref();
    let canvas = request.is_some_and(|request| may_be_canvas(request.path.as_str()));
    if !canvas || dialect.first_of_gateway.is_some() {
        return Some(found);
    }
    let other = Finding {
        confidence: Confidence::Possible,
        ..found
    };
    let path = fact(
        "on /__openclaw__/ws gateways before 2026.4 only announce changes of a canvas and answer nobody",
    );
    Some(
        other.because([path]).next(
            "take /__openclaw__/ws off the client's URL: the gateway's own WebSocket is at /",
        ),
    )
}

fn likely_after(waited: f64) -> Confidence {
    if waited >= 5000.0 {
        Confidence::Likely
    } else {
        Confidence::Possible
    }
}

fn ticks(view: &View<'_>) -> Option<Finding> {
    let (close, code) = view.client_close()?;
    let says_so = close.reason.as_str().starts_with("tick timeout");
    let silence = view.silent_ms(Direction::ToClient)?;
    let fits = view.is_openclaw() && view.was_open() && code == Some(4000) && says_so;
    let interval = view.dialect.as_ref()?.tick_interval_ms.unwrap_or(TICK_MS);
    #[expect(clippy::cast_precision_loss, reason = "an interval is minutes at most")]
    if !fits || silence < interval as f64 * 1.5 {
        return None;
    }
    // While the client does not read, its gateway's ticks wait where we do not see them.
    if view.held_up_ms(Direction::ToClient, silence).is_some() {
        return None;
    }
    let summary = format!(
        "the gateway sent nothing for {}, and the client gave up",
        human_ms(silence)
    );
    Some(
        Finding::new(Confidence::Certain, summary)
            .because(view.both_legs())
            .ended_by(Party::Client),
    )
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
