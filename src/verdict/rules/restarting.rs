//! Callers and sessions that met a gateway while it was shutting down or down, as the record's
//! `context` shows from other sessions.

use super::hop::is_gateways;
use crate::session::party::{Leg, Party};
use crate::session::record::GatewayErrorKind as Kind;
use crate::session::record::context::GoingDown;
use crate::session::record::verdict::ActOn;
use crate::session::record::{AnswerBy, BodyKind, Class, Confidence, Evidence};
use crate::verdict::finding::Finding;
use crate::verdict::rule::{Find, Rule, Versions};
use crate::verdict::view::{View, at, fact, human_ms};

pub(super) const fn down(id: &'static str, act_on: ActOn, find: Find) -> Rule {
    Rule {
        versions: Versions::Seen,
        ..Rule::of(id, Class::GatewayLifecycle, Party::Gateway, act_on, find)
    }
}

pub(super) const RULES: &[Rule] = &[
    Rule {
        title: "The gateway's restart took the session along",
        explanation: "The gateway's connection ended without a Close, and less than a minute before \
                      that the gateway had told another session that it restarts. Sessions whose \
                      handshake is in progress often get no announcement (none before gateway \
                      2026.8), and a session that a dying process still accepted ends with it. A \
                      session that the new process let in does not count.",
        evidence: "the gateway's leg lost without a Close, and in the context a shutdown event or a Close 1012 of another session less than a minute before",
        action: "connect again; if it is refused for more than a minute, check whether the gateway runs",
        ..down(
            "gateway.lifecycle.lost_in_restart",
            ActOn::Nobody,
            lost_in_restart,
        )
    },
    Rule {
        title: "The gateway's stop took the session along",
        explanation: "The gateway's connection ended without a Close, and less than a minute before \
                      that the gateway had told another session that it stops (a shutdown event \
                      without a time by which it is back).",
        evidence: "the gateway's leg lost without a Close, and in the context a shutdown event without restartExpectedMs less than a minute before",
        action: "start the gateway again if it was not stopped on purpose",
        ..down(
            "gateway.lifecycle.lost_in_stop",
            ActOn::Operator,
            lost_in_stop,
        )
    },
    Rule {
        title: "The gateway is down for a restart",
        explanation: "The gateway could not be reached or ended the connection before it answered, \
                      and less than a minute before that it had said that it restarts. A restart \
                      takes about 7 s, 5 of them without a listener. Until it is back, callers are \
                      refused, reset or cut by the dying process, or by what forwards its port; a \
                      proxy in front of it answers 502, 503 or 504. If it announced nothing, but \
                      lost all its sessions at once, or one without a Close seconds ago, a refused \
                      connection counts as well. A gateway that said that it stops does not count.",
        evidence: "no connection, no answer, or 502, 503 or 504 of another server; and in the context a shutdown event, a Close 1012 or a crash less than a minute before, and no session that was let in since",
        action: "wait for the gateway to come back; if it stays away for more than a minute, start it",
        ..down("gateway.lifecycle.restarting", ActOn::Nobody, restarting)
    },
    Rule {
        title: "The gateway is stopping",
        explanation: "The gateway ended the connection before it answered, or a proxy in front of \
                      it answered 502, 503 or 504, and less than a minute before that the gateway \
                      had said that it stops. Once nothing listens any more, the rule is \
                      gateway.unreachable.refused.",
        evidence: "the end of the connection before a status line, or 502, 503 or 504 of another server; and in the context a shutdown event without restartExpectedMs less than a minute before, and no session that was let in since",
        action: "start the gateway again if it was not stopped on purpose",
        ..down("gateway.lifecycle.stopping", ActOn::Operator, stopping)
    },
];

/// How a caller noticed that the gateway was down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Met {
    /// Nothing listens at its address.
    Nobody,
    /// No route to its address, no address for its name, or another connect error.
    NoWay,
    /// The connection ended without an answer.
    CutShort,
    /// Neither an answer nor an end until our timer fired.
    Silence,
    /// A proxy reports that it cannot reach the gateway.
    Hop(u16),
}

/// The symptom that this caller met, if a shutdown of the gateway can cause it.
fn met(view: &View<'_>) -> Option<Met> {
    // A refusal says more than how its body ended.
    let decided = view.decided_answer().is_some();
    if let Some(kind) = view.gateway_error().filter(|_| !decided) {
        return Some(match kind {
            Kind::Refused | Kind::SocketMissing => Met::Nobody,
            Kind::Unreachable | Kind::Dns | Kind::Connect => Met::NoWay,
            Kind::ResetBeforeStatus
            | Kind::ClosedBeforeStatus
            | Kind::TlsCut
            | Kind::BodyIncomplete => Met::CutShort,
            Kind::ConnectTimeout | Kind::UpgradeTimeout | Kind::Unacknowledged | Kind::Unread => {
                Met::Silence
            }
            _ => return None,
        });
    }
    let status = view.status().filter(|status| matches!(status, 502..=504))?;
    let passed_on = view.answer.as_ref();
    let passed_on = passed_on.is_none_or(|answer| answer.by == AnswerBy::Gateway);
    (passed_on && is_a_proxys(view, status) && !view.had_tunnel()).then_some(Met::Hop(status))
}

/// Whether another server answered with this 502, 503 or 504. The gateway sends 503 itself, and its own
/// words say more.
fn is_a_proxys(view: &View<'_>, status: u16) -> bool {
    let body = view.body_kind();
    let page = match body {
        Some(BodyKind::Html | BodyKind::LibraryClosing) => true,
        // All answers of the gateway to an upgrade are known; its 503 for a failed handler is
        // empty.
        Some(BodyKind::Json | BodyKind::Text | BodyKind::Other) => view.is_websocket(),
        _ => false,
    };
    !is_gateways(view) && (status != 503 || page || view.foreign_server().is_some())
}

/// The last time that the gateway was down, if it explains what this caller met.
fn explained<'a>(view: &View<'a>, met: Met) -> Option<&'a GoingDown> {
    let down = view.record().context.as_ref()?.going_down.as_ref()?;
    // A wait that began before may have another reason.
    let in_time = met != Met::Silence || down.at <= view.opened_at;
    let alone = down.announced
        || met == Met::Nobody
        || down.lost >= 3 && matches!(met, Met::NoWay | Met::CutShort);
    (in_time && alone).then_some(down)
}

pub(super) fn ago(view: &View<'_>, down: &GoingDown) -> String {
    let until = view.decided_at().unwrap_or(view.closed_at);
    #[expect(clippy::cast_precision_loss, reason = "a minute at most")]
    let ago = until.millis_since(down.at).max(0) as f64;
    human_ms(ago)
}

/// What the gateway had announced or done, as evidence.
pub(super) fn before(down: &GoingDown) -> Vec<Evidence> {
    let what = match (down.announced, down.lost) {
        (true, _) if down.stops => "the gateway said that it stops",
        (true, _) => "the gateway said that it restarts or stops",
        (false, 0..=2) => "the gateway left a session without a Close",
        (false, _) => "the gateway lost all these sessions within a second",
    };
    #[expect(clippy::cast_precision_loss, reason = "shown with two digits")]
    let expected = down
        .restart_expected_ms
        .map(|ms| fact(format!("it expected to be back in {}", human_ms(ms as f64))));
    std::iter::once(at(down.at, what)).chain(expected).collect()
}

fn restarting(view: &View<'_>) -> Option<Finding> {
    let met = met(view)?;
    // Do not wait for a gateway that stops for good.
    let down = explained(view, met).filter(|down| !down.stops)?;
    let ago = ago(view, down);
    let what = match met {
        Met::Nobody => "nothing listens there".to_owned(),
        Met::NoWay => "the gateway could not be reached".to_owned(),
        Met::CutShort => "the gateway ended the connection before it answered".to_owned(),
        Met::Silence => "the gateway did not answer".to_owned(),
        Met::Hop(status) => format!("a proxy in front of the gateway answered {status}"),
    };
    let (confidence, summary) = match (down.announced, down.lost) {
        (true, _) => (
            Confidence::Likely,
            format!("{what}: the gateway said {ago} ago that it restarts or stops"),
        ),
        (false, 0..=2) => (
            Confidence::Possible,
            format!("{what}, and {ago} ago the gateway left a session without a Close"),
        ),
        (false, lost) => (
            if met == Met::Nobody {
                Confidence::Likely
            } else {
                Confidence::Possible
            },
            format!("{what}: the gateway lost {lost} sessions {ago} ago"),
        ),
    };
    Some(found(view, confidence, summary, down))
}

fn stopping(view: &View<'_>) -> Option<Finding> {
    let met = met(view).filter(|met| matches!(met, Met::CutShort | Met::Hop(_)))?;
    let down = explained(view, met).filter(|down| down.stops)?;
    let what = match met {
        Met::Hop(status) => format!("a proxy in front of the gateway answered {status}"),
        _ => "the gateway ended the connection before it answered".to_owned(),
    };
    let summary = format!("{what}: it had said {} ago that it stops", ago(view, down));
    Some(found(view, Confidence::Likely, summary, down))
}

fn found(view: &View<'_>, confidence: Confidence, summary: String, down: &GoingDown) -> Finding {
    Finding::new(confidence, summary)
        .because(before(down))
        .because(view.gateway_error_evidence())
        .because(view.end_evidence(Leg::Gateway))
        .because(view.kept_evidence())
        .because(view.retry_evidence())
        .because(view.answer_evidence())
}

/// The announcement that explains why this session was lost.
fn took_along<'a>(view: &View<'a>) -> Option<&'a GoingDown> {
    view.announced_to_others()
        .filter(|_| view.left(Leg::Gateway))
}

fn lost_in_restart(view: &View<'_>) -> Option<Finding> {
    let down = took_along(view).filter(|down| !down.stops)?;
    let summary = format!(
        "the gateway left the session without a Close: it had said {} before that it restarts",
        ago(view, down)
    );
    Some(lost(view, summary, down))
}

fn lost_in_stop(view: &View<'_>) -> Option<Finding> {
    let down = took_along(view).filter(|down| down.stops)?;
    let summary = format!(
        "the gateway left the session without a Close: it had said {} before that it stops",
        ago(view, down)
    );
    Some(lost(view, summary, down))
}

fn lost(view: &View<'_>, summary: String, down: &GoingDown) -> Finding {
    Finding::new(Confidence::Likely, summary)
        .because(before(down))
        .because(view.both_legs())
}
