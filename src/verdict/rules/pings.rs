//! Sessions that ended because pings had no answer. The end that gave up waiting ended the session;
//! the end that did not answer is where to look.

use crate::session::party::{Leg, Party};
use crate::session::record::verdict::ActOn;
use crate::session::record::{Class, CloseSeen, Confidence};
use crate::verdict::finding::Finding;
use crate::verdict::pings::Missed;
use crate::verdict::rule::{Rule, Versions};
use crate::verdict::view::{View, close_words, fact, human_ms};
use crate::ws::CloseCode;

/// Close sent by the Python library websockets, and by others that copied it, when a pong is
/// missing.
const NO_PONG: (CloseCode, &str) = (CloseCode::INTERNAL_ERROR, "keepalive ping timeout");

pub(super) const RULES: &[Rule] = &[
    Rule {
        id: "gateway.lifecycle.missed_pongs",
        class: Class::GatewayLifecycle,
        party: Party::Gateway,
        act_on: ActOn::Client,
        title: "The gateway missed the client's pongs",
        explanation: "OpenClaw gateways ping every 25 s and end the connection with a bare FIN when \
                      a pong is missing (at 50 or 75 s); its log then says heartbeat-timeout. \
                      Other servers that do this have their own times. The gateway's pings passed \
                      the tap and no pong came back: the client is suspended or busy, or a proxy \
                      in front of the tap answers or drops pings. The evidence says whether the \
                      client's kernel acknowledged them. A ping that was answered late, or was in \
                      flight when the session ended, does not count; nor does one whose pong could \
                      not pass because the gateway did not read.",
        evidence: "FIN or RST of the gateway first, and a ping of it that the client had left unanswered although the gateway read: for 20 s with OpenClaw, for 5 s with others, to which the client had also sent nothing else since then",
        versions: Versions::Seen,
        action: "check why the client did not answer pings: a sleeping machine, a blocked process, a proxy in front of the tap",
        find: missed_pongs,
    },
    Rule {
        id: "gateway.lifecycle.ping_timeout",
        class: Class::GatewayLifecycle,
        party: Party::Gateway,
        act_on: ActOn::Client,
        title: "The gateway closed because the client did not answer its pings",
        explanation: "Close 1011 \"keepalive ping timeout\" is what servers made with Python's \
                      websockets send when a pong is missing, and the tap saw the ping that had \
                      no answer. It is no failure inside the gateway. The client is suspended or \
                      busy, its network is gone, or a proxy in front of the tap drops pings. \
                      If the gateway did not read the client's data, a pong may have waited \
                      unseen, and this rule does not apply.",
        evidence: "a Close 1011 of the gateway that says \"keepalive ping timeout\" or gives no reason, or a Close 3008 (timeout) without one, and a ping of it that the client had left unanswered for 5 s or more although the gateway read",
        versions: Versions::Any,
        action: "check why the client did not answer pings: a sleeping machine, a blocked process, a proxy in front of the tap",
        find: ping_timeout,
    },
    Rule {
        id: "gateway.silent.pings",
        class: Class::GatewaySilent,
        party: Party::Client,
        act_on: ActOn::Gateway,
        title: "The gateway did not answer the client's pings",
        explanation: "The client's pings passed the tap to the gateway, no pong came back, and the \
                      client gave up: with Close 1011 (\"keepalive ping timeout\"), or by ending its \
                      connection. If the gateway's kernel acknowledged them, its process is stuck \
                      or stopped (a blocked event loop, a paused container); if it did not, its \
                      host or the network in between is gone. A ping that was in flight when the \
                      session ended for another reason does not count; nor does one whose pong \
                      could not pass because the client did not read.",
        evidence: "an end by the client (Close 1011 or 3008, FIN or RST) and a ping of it that the gateway had left unanswered for 5 s or more although the client read; without the Close also nothing else from the gateway since then",
        versions: Versions::Any,
        action: "look into the gateway's log and at its load at this time: it did not answer pings",
        find: gateway_silent,
    },
];

/// Whether a Close may be for a missing pong, and whether its reason says so. Any other reason is
/// believed. 3008 says only that something took too long.
fn for_a_missing_pong(close: &CloseSeen) -> Option<bool> {
    let (code, words) = NO_PONG;
    let says_so = close.reason.as_str().starts_with(words);
    let may_be = |sent: CloseCode| sent == code || sent == CloseCode::TIMEOUT;
    let fits = close.code.is_some_and(may_be) && (says_so || close.reason.is_empty());
    fits.then_some(says_so)
}

fn missed_pongs(view: &View<'_>) -> Option<Finding> {
    let missed = view.missed_pings(Leg::Client)?;
    let limit_ms = view.spoken().ping_limit_ms;
    let fits = match limit_ms {
        Some(limit) => missed.age_ms >= limit && view.end_of(Leg::Gateway).is_orderly(),
        None => missed.silent,
    };
    if !fits || !view.left(Leg::Gateway) || !view.was_open() {
        return None;
    }
    let confidence = if limit_ms.is_some() {
        Confidence::Likely
    } else {
        Confidence::Possible
    };
    let summary = format!(
        "the gateway ended the session: the client had not answered its pings for {}",
        human_ms(missed.age_ms)
    );
    Some(about_the_client(
        view,
        missed,
        Finding::new(confidence, summary),
    ))
}

fn ping_timeout(view: &View<'_>) -> Option<Finding> {
    let missed = view.missed_pings(Leg::Client)?;
    let (close, _) = view.gateway_close()?;
    let confidence = if for_a_missing_pong(close)? {
        Confidence::Likely
    } else {
        Confidence::Possible
    };
    let summary = format!(
        "the gateway closed with {}: the client had not answered its pings for {}",
        close_words(close),
        human_ms(missed.age_ms)
    );
    Some(about_the_client(
        view,
        missed,
        Finding::new(confidence, summary),
    ))
}

/// The facts about a client that did not answer.
fn about_the_client(view: &View<'_>, missed: Missed, finding: Finding) -> Finding {
    let finding = finding.because(view.both_legs());
    if missed.unread_ms.is_some() && missed.acknowledged.is_none() {
        return finding.next(
            "find what keeps the client from reading (a slow link, a buffering proxy, a blocked event \
             loop): it did not read what was sent to it, so the pings may never have reached it",
        );
    }
    match (missed.silent, missed.acknowledged) {
        (false, _) => finding
            .because([fact(
                "the client sent other bytes after them: something between it and us drops or answers \
                 pings, or its library does",
            )])
            .next(
                "look for a proxy between client and tap that drops or answers pings, and whether the \
                 client's library answers pings at all",
            ),
        (true, Some(true)) => finding.next(
            "look at the client: its machine is there and its process did not answer (stopped, or \
             blocked in its event loop)",
        ),
        (true, Some(false)) => finding.next(
            "look whether the client's machine was asleep or had lost its network at this time",
        ),
        (true, None) => finding,
    }
}

fn gateway_silent(view: &View<'_>) -> Option<Finding> {
    let missed = view.missed_pings(Leg::Gateway)?;
    let (how, says_so) = match view.client_close() {
        Some((close, _)) => {
            let says_so = for_a_missing_pong(close)?;
            (format!("closed with {}", close_words(close)), says_so)
        }
        None if view.left(Leg::Client) && missed.silent => ("left".to_owned(), false),
        None => return None,
    };
    let confidence = if says_so && missed.silent {
        Confidence::Likely
    } else {
        Confidence::Possible
    };
    let summary = format!(
        "the gateway did not answer the client's pings for {}, and the client {how}",
        human_ms(missed.age_ms)
    );
    let finding = Finding::new(confidence, summary).because(view.both_legs());
    Some(finding.next(where_to_look(missed)))
}

fn where_to_look(missed: Missed) -> &'static str {
    if missed.unread_ms.is_some() && missed.acknowledged.is_none() {
        return "look into the gateway's log and at its load at this time: it did not read what was sent \
                to it, so the pings may never have reached it";
    }
    match (missed.silent, missed.acknowledged) {
        (false, _) => {
            "the gateway went on sending: look whether it, or a proxy between tap and gateway, answers \
             pings at all; else lengthen the client's ping timeout"
        }
        (true, Some(true)) => {
            "look into the gateway's log and at its load at this time: its host took the pings and its \
             process did not answer (blocked event loop, paused container)"
        }
        (true, Some(false)) => {
            "look at the path between tap and gateway, and whether the gateway's host or container was \
             stopped"
        }
        (true, None) => {
            "look into the gateway's log and at its load at this time, and at the path between tap and \
             gateway"
        }
    }
}
