//! The gateway sent no challenge, no answer to connect, or no ticks; and whether it had announced a shutdown.
//!
//! The wait may be ended by the client, by our timer or by the gateway's own, so the findings say
//! who ended it.

use crate::dialect::openclaw::endpoint::may_be_canvas;
use crate::session::party::{Direction, Party};
use crate::session::record::verdict::ActOn;
use crate::session::record::{Confidence, TimerKey};
use crate::verdict::finding::Finding;
use crate::verdict::rule::{Rule, Versions};
use crate::verdict::rules::restarting::{ago, before, down};
use crate::verdict::rules::silent::silent;
use crate::verdict::view::{Decisive, View, at, fact, human_ms};

/// An `OpenClaw` gateway sends its challenge at once after the 101.
const CHALLENGE_MS: f64 = 1000.0;

/// It answers connect within milliseconds, but delays wrong tokens of local clients by up to 5 s.
const HELLO_MS: f64 = 2000.0;

/// `policy.tickIntervalMs` where hello-ok did not say; a client gives up after twice that.
const TICK_MS: u64 = 30_000;

pub(super) const RULES: &[Rule] = &[
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
        title: "The gateway shut down while the client waited",
        explanation: "The gateway never answered the handshake until somebody gave up waiting, and less \
                      than a minute before that it had told another session that it restarts or stops. \
                      Gateways before 2026.4 keep sessions whose handshake is under way open until the \
                      process ends, and answer nothing on them.",
        evidence: "a handshake without an answer until somebody gave up, and in the context a shutdown event or a Close 1012 of another session less than a minute before",
        versions: Versions::Any,
        action: "connect again; if it is refused for more than a minute, check whether the gateway runs",
        ..down(
            "gateway.lifecycle.unanswered_in_shutdown",
            ActOn::Nobody,
            unanswered,
        )
    },
];

/// Who gave up waiting for the gateway during the handshake.
fn gave_up(view: &View<'_>) -> Option<Party> {
    let idle = view
        .close
        .timer
        .is_some_and(|timer| timer.key == TimerKey::Idle);
    match view.decisive() {
        Decisive::ClientClose | Decisive::ClientTransport => Some(Party::Client),
        Decisive::Tap if idle => Some(Party::Tap),
        // Its own handshake timer: an empty reason, and no message before.
        Decisive::GatewayClose => {
            let (close, code) = view.gateway_close()?;
            (matches!(code, None | Some(1000)) && close.reason.is_empty()).then_some(Party::Gateway)
        }
        _ => None,
    }
}

fn no_challenge(view: &View<'_>) -> Option<Finding> {
    let dialect = view.openclaw()?;
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

fn no_hello(view: &View<'_>) -> Option<Finding> {
    let dialect = view.openclaw()?;
    let asked = dialect.connect_at?;
    let ended = view.decided_at()?;
    if !view.was_in_handshake() || dialect.answered_at.is_some() {
        return None;
    }
    // A message that could not be read may have been the answer.
    let said = view.frames_of(Direction::ToClient)?;
    if said.messages > 1 && said.last_at.is_some_and(|last| last > asked) {
        return None;
    }
    let party = gave_up(view)?;
    #[expect(clippy::cast_precision_loss, reason = "milliseconds of one session")]
    let waited = ended.millis_since(asked).max(0) as f64;
    // Bytes that wait for the client to read may hold the answer back, or be its beginning.
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
    let interval = view.openclaw()?.tick_interval_ms.unwrap_or(TICK_MS);
    #[expect(clippy::cast_precision_loss, reason = "an interval is minutes at most")]
    if !fits || silence < interval as f64 * 1.5 {
        return None;
    }
    // While the client does not read, the gateway's ticks wait where we do not see them.
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

fn unanswered(view: &View<'_>) -> Option<Finding> {
    let down = view.announced_to_others()?;
    let waited = no_challenge(view).or_else(|| no_hello(view))?;
    let what = if down.stops {
        "stops"
    } else {
        "restarts or stops"
    };
    let summary = format!(
        "the gateway never answered the handshake: it had said {} before that it {what}",
        ago(view, down)
    );
    Some(Finding {
        summary,
        confidence: Confidence::Likely,
        ..waited.because(before(down))
    })
}
