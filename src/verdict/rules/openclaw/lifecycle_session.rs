//! Sessions that the gateway ended because their device, auth or policy changed.

use crate::session::party::Party;
use crate::session::record::verdict::ActOn;
use crate::session::record::{Class, Confidence};
use crate::verdict::finding::Finding;
use crate::verdict::rule::{Find, Rule, Versions};
use crate::verdict::view::{View, fact, quoted, short};

const fn cycle(id: &'static str, act_on: ActOn, find: Find) -> Rule {
    Rule::of(id, Class::GatewayLifecycle, Party::Gateway, act_on, find)
}

pub(super) const RULES: &[Rule] = &[
    Rule {
        title: "The gateway's auth was changed",
        explanation: "Close 4001 \"gateway auth changed\": gateway.auth.token or password was \
                      changed in its configuration, and it closed the sessions that had used the \
                      old one.",
        evidence: "a Close 4001 \"gateway auth changed\"",
        versions: Versions::Seen,
        action: "give the client the new token or password, then connect again",
        ..cycle(
            "gateway.lifecycle.auth_changed",
            ActOn::Client,
            auth_changed,
        )
    },
    Rule {
        title: "The device was removed",
        explanation: "Close 4001 \"device removed\": the device was removed from the gateway's \
                      pairing table. Rotating or revoking its token closes with the same reason.",
        evidence: "a Close 4001 \"device removed\"",
        versions: Versions::Seen,
        action: "pair the device again: connect, then on the gateway host run `openclaw devices list` and `openclaw devices approve` with the id that it shows",
        ..cycle(
            "gateway.lifecycle.device_removed",
            ActOn::Operator,
            device_removed,
        )
    },
    Rule {
        title: "The gateway invalidated the session",
        explanation: "Close 4001 with a reason other than the well-known ones: role, user or \
                      authority of the client changed while it was connected.",
        evidence: "a Close 4001 of the gateway with another reason",
        versions: Versions::Read,
        action: "connect again; if it is refused then, the refusal says what changed",
        ..cycle("gateway.lifecycle.invalidated", ActOn::Client, invalidated)
    },
    Rule {
        title: "The gateway wants this client to connect again",
        explanation: "Close 1012 with a reason that is not a restart: what the session was built on \
                      changed, such as the capabilities of a node or the identity of a browser's \
                      route. The gateway goes on running.",
        evidence: "a Close 1012 \"node capabilities changed\" or \"browser identity route changed\"",
        versions: Versions::Read,
        action: "nothing to do: clients connect again by themselves",
        ..cycle("gateway.lifecycle.reconnect", ActOn::Nobody, reconnect)
    },
    Rule {
        title: "The gateway's policy was changed",
        explanation: "Close 4001 \"gateway policy changed\": trustedProxies, roles or another part \
                      of the gateway's policy was changed; that closes every session.",
        evidence: "a Close 4001 \"gateway policy changed\"",
        versions: Versions::Seen,
        action: "nothing to do: clients connect again by themselves",
        ..cycle(
            "gateway.lifecycle.policy_changed",
            ActOn::Nobody,
            policy_changed,
        )
    },
];

/// A Close of the gateway with this code whose reason begins like this.
fn closed(view: &View<'_>, code: u16, reason: &str) -> bool {
    view.gateway_close().is_some_and(|(close, sent)| {
        sent == Some(code) && close.reason.as_str().starts_with(reason)
    })
}

fn kicked(view: &View<'_>, reason: &str, summary: &str) -> Option<Finding> {
    if !view.is_openclaw() || !closed(view, 4001, reason) {
        return None;
    }
    Some(Finding::new(Confidence::Certain, summary).because(view.both_legs()))
}

fn auth_changed(view: &View<'_>) -> Option<Finding> {
    let summary = "the gateway's token or password was changed, so it closed the session";
    kicked(view, "gateway auth changed", summary)
}

fn device_removed(view: &View<'_>) -> Option<Finding> {
    let summary = "the gateway removed this device or its token, and closed the session";
    let device = view
        .openclaw()
        .and_then(|dialect| dialect.device.id.as_ref())
        .map(|id| fact(format!("the device is {}", short(id))));
    Some(kicked(view, "device removed", summary)?.because(device))
}

fn policy_changed(view: &View<'_>) -> Option<Finding> {
    let summary = "the gateway's policy was changed, which closes every session";
    kicked(view, "gateway policy changed", summary)
}

fn reconnect(view: &View<'_>) -> Option<Finding> {
    let what = [
        "node capabilities changed",
        "browser identity route changed",
    ]
    .into_iter()
    .find(|reason| closed(view, 1012, reason))?;
    if !view.is_openclaw() {
        return None;
    }
    let summary = format!("the gateway wants the client to connect again: {what}");
    Some(Finding::new(Confidence::Certain, summary).because(view.both_legs()))
}

fn invalidated(view: &View<'_>) -> Option<Finding> {
    let (close, code) = view.gateway_close()?;
    if code != Some(4001) || !view.is_openclaw() {
        return None;
    }
    let summary = format!(
        "the gateway invalidated the session: {}",
        quoted(&close.reason)
    );
    Some(Finding::new(Confidence::Likely, summary).because(view.both_legs()))
}
