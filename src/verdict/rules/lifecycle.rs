//! Restarts and stops of the gateway, as its own Close codes and events report them.

use crate::session::party::Party;
use crate::session::record::verdict::ActOn;
use crate::session::record::{Class, Confidence};
use crate::verdict::finding::Finding;
use crate::verdict::rule::{Find, Rule, Versions};
use crate::verdict::view::{Decisive, View, at, close_words, human_ms, short};

pub(super) const fn cycle(id: &'static str, act_on: ActOn, find: Find) -> Rule {
    Rule::of(id, Class::GatewayLifecycle, Party::Gateway, act_on, find)
}

pub(super) const RULES: &[Rule] = &[
    Rule {
        title: "The gateway went away",
        explanation: "Close 1001: the server behind us was shutting down or leaving.",
        evidence: "a Close 1001 of the gateway",
        versions: Versions::Any,
        action: "wait for the gateway to come back, then connect again",
        ..cycle("gateway.lifecycle.going_away", ActOn::Nobody, going_away)
    },
    Rule {
        title: "The gateway restarted",
        explanation: "The gateway said that it restarts (a shutdown event with a time by which it \
                      expects to be back) and closed with 1012. Clients reconnect; it takes about \
                      7 s.",
        evidence: "a shutdown event with restartExpectedMs, then Close 1012 or the end of the connection",
        versions: Versions::Seen,
        action: "wait for the gateway to come back; clients connect again by themselves",
        ..cycle("gateway.lifecycle.restart", ActOn::Nobody, restart)
    },
    Rule {
        title: "The gateway restarted or stopped",
        explanation: "Close 1012 without a shutdown event that would say which. OpenClaw sends the \
                      same \"service restart\" for both, and no event before a client is accepted.",
        evidence: "a Close 1012 without a shutdown event before it",
        versions: Versions::Seen,
        action: "connect again; if it is refused for more than ten seconds, check whether the gateway runs",
        ..cycle(
            "gateway.lifecycle.restart_or_stop",
            ActOn::Nobody,
            restart_or_stop,
        )
    },
    Rule {
        title: "The gateway stopped",
        explanation: "The gateway said that it stops (a shutdown event without a time by which it \
                      is back). It closes with 1012 \"service restart\" all the same.",
        evidence: "a shutdown event without restartExpectedMs, then Close 1012 or the end of the connection",
        versions: Versions::Seen,
        action: "start the gateway again if it was not stopped on purpose",
        ..cycle("gateway.lifecycle.stop", ActOn::Operator, stop)
    },
];

fn going_away(view: &View<'_>) -> Option<Finding> {
    let (_, code) = view.gateway_close()?;
    if code != Some(1001) {
        return None;
    }
    let summary = "the gateway went away";
    Some(Finding::new(Confidence::Certain, summary).because(view.both_legs()))
}

/// The shutdown event, when it explains the end: a Close 1012 or a lost transport of the gateway
/// after it.
fn shutdown<'a>(view: &View<'a>) -> Option<&'a crate::session::record::dialect::ShutdownFacts> {
    let event = view.record().application().shutdown?;
    let explains = match view.decisive() {
        Decisive::GatewayClose => view.gateway_close()?.1 == Some(1012),
        Decisive::GatewayTransport => true,
        _ => false,
    };
    (explains && view.decided_at()? >= event.at).then_some(event)
}

fn announced(view: &View<'_>, summary: String) -> Option<Finding> {
    let event = shutdown(view)?;
    let reason = event
        .reason
        .as_ref()
        .map_or_else(|| "without a reason".to_owned(), short);
    let event_fact = at(
        event.at,
        format!("the gateway sent the shutdown event: {reason}"),
    );
    Some(
        Finding::new(Confidence::Certain, summary)
            .because([event_fact])
            .because(view.both_legs()),
    )
}

fn restart(view: &View<'_>) -> Option<Finding> {
    #[expect(clippy::cast_precision_loss, reason = "shown with two digits")]
    let expected = shutdown(view)?.restart_expected_ms? as f64;
    let summary = format!(
        "the gateway restarted; it expected to be back in {}",
        human_ms(expected)
    );
    announced(view, summary)
}

fn stop(view: &View<'_>) -> Option<Finding> {
    if shutdown(view)?.restart_expected_ms.is_some() {
        return None;
    }
    announced(
        view,
        "the gateway stopped, and did not say that it would be back".to_owned(),
    )
}

fn restart_or_stop(view: &View<'_>) -> Option<Finding> {
    let (close, code) = view.gateway_close()?;
    if code != Some(1012) {
        return None;
    }
    let service = close.reason.is_empty()
        || ["service restart", "gateway-shutdown"]
            .iter()
            .any(|reason| close.reason.as_str().starts_with(reason));
    let what = if service {
        "restarted or stopped"
    } else {
        "wants the client to connect again"
    };
    let summary = format!("the gateway {what}: it closed with {}", close_words(close));
    Some(Finding::new(Confidence::Likely, summary).because(view.both_legs()))
}
