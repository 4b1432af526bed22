//! The gateway took the connection and did not answer.
//!
//! Who ended the wait differs (the client gave up, a timer of ours, the gateway's own), so the
//! findings say it.

use crate::session::party::{Direction, Leg, Party, Phase};
use crate::session::record::dialect::FirstMessage;
use crate::session::record::verdict::ActOn;
use crate::session::record::{Class, Confidence, GatewayErrorKind, TimerKey};
use crate::verdict::registry::Find;
use crate::verdict::view::{at, fact, human_ms};
use crate::verdict::{Decisive, Finding, Rule, Stage, View};

/// An `OpenClaw` gateway sends its challenge at once after the 101.
const CHALLENGE_MS: f64 = 1000.0;

/// It answers connect within milliseconds, but delays wrong tokens of local clients by up to 5 s.
const HELLO_MS: f64 = 2000.0;

/// Shorter waits for an answer's head are judged as the client's impatience.
const UPGRADE_MS: f64 = 5000.0;

/// Ticks come every 30 s; a client gives up after 60 s.
const TICKS_MS: f64 = 45_000.0;

const fn silent(id: &'static str, stage: Stage, order: u8, find: Find) -> Rule {
    Rule {
        id,
        class: Class::GatewaySilent,
        party: Party::Gateway,
        act_on: ActOn::Gateway,
        stage,
        order,
        title: "",
        explanation: "",
        action: "",
        find,
    }
}

pub(super) const RULES: &[Rule] = &[
    Rule {
        title: "The gateway ended the connection before it answered",
        explanation: "The request had gone out and the gateway's side ended with FIN before a \
                      status line: the process is stuck or going down, or what listens there is \
                      not the gateway.",
        action: "check that the gateway is healthy: `curl -s http://GATEWAY/healthz` must say live",
        ..silent("gateway.silent.closed", Stage::Dial, 50, closed)
    },
    Rule {
        title: "The gateway opened the WebSocket and never challenged",
        explanation: "An OpenClaw gateway sends connect.challenge at once after the 101. None came \
                      until somebody gave up waiting: the gateway is stuck, what answers is no \
                      OpenClaw gateway, or a proxy between tap and gateway holds its frames back.",
        action: "check that gateway.url points at an OpenClaw gateway that answers /healthz, without a buffering proxy in between",
        ..silent(
            "gateway.silent.no_challenge",
            Stage::Close,
            35,
            no_challenge,
        )
    },
    Rule {
        title: "The gateway never answered connect",
        explanation: "The client's connect request went to the gateway and neither hello-ok nor a \
                      refusal came until somebody gave up waiting (the gateway itself closes with \
                      1000 after 15 s): the gateway is overloaded or stuck while it starts.",
        action: "look into the gateway's log at this time, and at its load; its readiness is at /readyz",
        ..silent("gateway.silent.no_hello", Stage::Close, 35, no_hello)
    },
    Rule {
        title: "What opened the WebSocket is no OpenClaw gateway",
        explanation: "An OpenClaw gateway's first message is connect.challenge. What stands behind \
                      us opened the WebSocket, sent something else and no challenge, until somebody \
                      gave up: another program, or another service behind the same name.",
        action: "check that gateway.url (host, port and path) leads to the OpenClaw gateway; for another kind of gateway set `gateway: { dialect: plain }`",
        ..silent(
            "gateway.silent.not_openclaw",
            Stage::Close,
            34,
            not_openclaw,
        )
    },
    Rule {
        title: "The gateway reset the connection before it answered",
        explanation: "The request had gone out and the gateway's side reset the connection before a \
                      status line: the process died, or a TLS port got plain HTTP.",
        action: "check that the gateway runs, and whether it wants https in gateway.url",
        ..silent("gateway.silent.reset", Stage::Dial, 50, reset)
    },
    Rule {
        title: "The gateway's ticks stopped",
        explanation: "OpenClaw gateways send a tick every 30 s. None came through the tap for so \
                      long that the client gave up (4000 \"tick timeout\"): the gateway's process \
                      was blocked or suspended, or packets between tap and gateway were lost.",
        action: "look into the gateway's log and at its load at this time: it had stopped sending",
        ..silent("gateway.silent.ticks", Stage::Close, 50, ticks)
    },
    Rule {
        title: "The gateway never answered the request",
        explanation: "The connection was made and the request sent; no status line came until \
                      timeouts.upgrade ran out (for plain requests timeouts.idle) or the client \
                      gave up. TCP acknowledged, so the process is there and stuck, or a proxy in \
                      between waits for it.",
        action: "look into the gateway's log and at its load; if it needs this long, raise timeouts.upgrade",
        ..silent("gateway.silent.upgrade", Stage::Dial, 50, upgrade)
    },
];

fn before_status(view: &View<'_>, kind: GatewayErrorKind, how: &str) -> Option<Finding> {
    if view.gateway_error() != Some(kind) {
        return None;
    }
    let detail = view
        .gateway
        .as_ref()
        .and_then(|gateway| gateway.error.as_ref())
        .map(|error| fact(error.detail.clone()));
    let summary = format!("the gateway {how} the connection before it answered the request");
    Some(
        Finding::new(Confidence::Certain, summary)
            .because(detail)
            .because(view.end_evidence(Leg::Gateway))
            .because([fact(format!("the gateway is {}", view.gateway_name()))]),
    )
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

fn no_challenge(view: &View<'_>) -> Option<Finding> {
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

/// Paths on which the gateway itself speaks in another way, without a challenge.
const OTHER_SPEECH: [&str; 4] = [
    "/__openclaw__/",
    "/desktop/",
    "/node-desktop/",
    "/node-portal/",
];

fn not_openclaw(view: &View<'_>) -> Option<Finding> {
    let dialect = view.dialect.as_ref()?;
    let frames = view.frames_of(Direction::ToClient)?;
    // What is compressed may have been a challenge.
    let spoke = frames.messages > 0 && frames.compressed_messages == 0;
    let unasked = dialect.challenge_at.is_none()
        && dialect.answered_at.is_none()
        && matches!(dialect.first_message, None | Some(FirstMessage::Connect));
    let elsewhere = view.request.as_ref().is_some_and(|request| {
        let path = request.path.as_str();
        OTHER_SPEECH.iter().any(|start| path.starts_with(start))
    });
    if !view.is_openclaw() || !view.was_in_handshake() || !spoke || !unasked || elsewhere {
        return None;
    }
    let party = gave_up(view)?;
    let summary = format!(
        "what is behind us opened the WebSocket and sent something that is no challenge; the {} gave up",
        party.as_str()
    );
    let first = frames
        .first_at
        .map(|first| at(first, "its first message came, and is no connect.challenge"));
    Some(
        Finding::new(Confidence::Possible, summary)
            .because(first)
            .because(view.both_legs())
            .ended_by(party),
    )
}

fn no_hello(view: &View<'_>) -> Option<Finding> {
    let dialect = view.dialect.as_ref()?;
    let asked = dialect.connect_at?;
    let ended = view.decided_at()?;
    if !view.was_in_handshake() || dialect.answered_at.is_some() {
        return None;
    }
    let party = gave_up(view)?;
    #[expect(clippy::cast_precision_loss, reason = "milliseconds of one session")]
    let waited = ended.millis_since(asked).max(0) as f64;
    if waited < HELLO_MS {
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
    Some(
        Finding::new(likely_after(waited), summary)
            .because([at(
                asked,
                "the client's connect request went to the gateway",
            )])
            .because(view.both_legs())
            .ended_by(party),
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
    if !fits || silence < TICKS_MS {
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
    let waited = view.duration_ms
        - view.gateway.as_ref().map_or(0.0, |gateway| {
            gateway.connect_ms.unwrap_or_default() + gateway.dns.as_ref().map_or(0.0, |dns| dns.ms)
        });
    let gone = view.end_of(Leg::Client).is_by_peer() && view.gateway_error().is_none();
    if view.phase != Phase::Upgrade || view.answer.is_some() || !gone || waited < UPGRADE_MS {
        return None;
    }
    let summary = format!(
        "the gateway took the request and did not answer for {}; the client gave up",
        human_ms(waited)
    );
    Some(
        Finding::new(Confidence::Likely, summary)
            .because(view.end_evidence(Leg::Client))
            .because([fact(format!("the gateway is {}", view.gateway_name()))])
            .ended_by(Party::Client),
    )
}
