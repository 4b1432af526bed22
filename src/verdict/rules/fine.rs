//! Sessions that ended as both ends intended.
//!
//! How real sessions end: the `OpenClaw` CLI sends an empty Close, the gateway echoes it and sends
//! FIN. A TLS connection that is truncated after a completed Close handshake is normal.

use crate::session::party::{Leg, Party};
use crate::session::record::verdict::ActOn;
use crate::session::record::{AnswerBy, Class, Confidence};
use crate::verdict::finding::Finding;
use crate::verdict::rule::{Rule, Versions};
use crate::verdict::view::View;

pub(super) const RULES: &[Rule] = &[
    Rule {
        id: "ok.client_closed",
        class: Class::Ok,
        party: Party::None,
        act_on: ActOn::Nobody,
        title: "The client was done",
        explanation: "The client ended an open session with Close 1000 or with an empty Close \
                      (which an API shows as 1005), as command line clients do. How the \
                      connections ended afterwards does not matter.",
        evidence: "after the session was open, a Close 1000 or an empty one of the client",
        versions: Versions::Any,
        action: "nothing to do",
        find: client_closed,
    },
    Rule {
        id: "ok.client_going_away",
        class: Class::Ok,
        party: Party::None,
        act_on: ActOn::Nobody,
        title: "The client went away",
        explanation: "The client ended an open session with Close 1001: a browser does so when its \
                      page's tab is closed or the page is reloaded. If sessions flap with this \
                      code, the client ends them. When another page is opened in the same tab, not \
                      every browser sends it at once: some versions keep the page that was left in \
                      their back/forward cache with its WebSocket open (seen with Chromium 156: no \
                      Close within 30 s). Until then the session stays open.",
        evidence: "after the session was open, a Close 1001 of the client",
        versions: Versions::Any,
        action: "nothing to do",
        find: client_going_away,
    },
    Rule {
        id: "ok.gateway_closed",
        class: Class::Ok,
        party: Party::None,
        act_on: ActOn::Nobody,
        title: "The gateway was done",
        explanation: "The gateway ended an open session with Close 1000 or with an empty Close.",
        evidence: "after the session was open, a Close 1000 or an empty one of the gateway",
        versions: Versions::Any,
        action: "nothing to do",
        find: gateway_closed,
    },
    Rule {
        id: "ok.http",
        class: Class::Ok,
        party: Party::None,
        act_on: ActOn::Nobody,
        title: "A plain request was answered",
        explanation: "The gateway answered a request that is not a WebSocket upgrade, whole and \
                      with a status below 400.",
        evidence: "a whole answer with a status below 400",
        versions: Versions::Any,
        action: "nothing to do",
        find: http,
    },
];

fn client_closed(view: &View<'_>) -> Option<Finding> {
    let (_, code) = view.client_close()?;
    let how = match code {
        Some(1000) => "1000",
        None => "an empty Close",
        Some(_) => return None,
    };
    open_end(view, format!("the client was done and ended it with {how}"))
}

fn client_going_away(view: &View<'_>) -> Option<Finding> {
    let (_, code) = view.client_close()?;
    if code != Some(1001) {
        return None;
    }
    open_end(
        view,
        "the client went away (a page was closed, left or reloaded)".to_owned(),
    )
}

fn gateway_closed(view: &View<'_>) -> Option<Finding> {
    let (_, code) = view.gateway_close()?;
    let how = match code {
        Some(1000) => "1000",
        None => "an empty Close",
        Some(_) => return None,
    };
    open_end(
        view,
        format!("the gateway was done and ended it with {how}"),
    )
}

fn open_end(view: &View<'_>, summary: String) -> Option<Finding> {
    if !view.was_open() || view.broken_close().is_some() {
        return None;
    }
    let mut evidence = view.both_legs();
    if view.close_of(Leg::Client).is_some() && view.close_of(Leg::Gateway).is_some() {
        evidence.push(crate::verdict::view::fact("both ends sent their Close"));
    }
    Some(Finding::new(Confidence::Certain, summary).because(evidence))
}

fn http(view: &View<'_>) -> Option<Finding> {
    let answer = view.answer.as_ref()?;
    let by_gateway = answer.by == AnswerBy::Gateway;
    if !view.is_http() || !by_gateway || answer.status >= 400 || !answer.complete {
        return None;
    }
    let summary = format!("answered with {}", answer.status);
    Some(
        Finding::new(Confidence::Certain, summary)
            .because(view.answer_evidence())
            .because(view.retry_evidence()),
    )
}
