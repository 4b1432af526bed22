//! The gateway closed for reasons that nothing known explains.

use crate::session::party::{Direction, Party};
use crate::session::record::verdict::ActOn;
use crate::session::record::{Class, Confidence};
use crate::verdict::finding::Finding;
use crate::verdict::rule::{Find, Rule, Versions};
use crate::verdict::view::{Decisive, View, close_words, fact, human_ms, quoted};
use crate::ws::CloseCode;

const fn closed(id: &'static str, find: Find) -> Rule {
    Rule::of(
        id,
        Class::GatewayClosed,
        Party::Gateway,
        ActOn::Gateway,
        find,
    )
}

pub(super) const RULES: &[Rule] = &[
    Rule {
        title: "The gateway closed before it accepted or refused",
        explanation: "The gateway closed with 1000 or an empty Close during the handshake, without \
                      an answer to connect. That is no refusal of a token: OpenClaw's clients try \
                      once more by themselves.",
        evidence: "a Close 1000 or an empty one of the gateway in the handshake, and nothing that explains it",
        versions: Versions::Seen,
        action: "connect again; if it happens again, look into the gateway's log for this \
        connection",
        ..closed("gateway.closed.before_hello", before_hello)
    },
    Rule {
        title: "The gateway closed with a code of its own",
        explanation: "The gateway sent a Close frame with a code and a reason that no rule knows. \
                      With `dialect: plain` that is all that can be said about 1008, 3xxx and \
                      4xxx.",
        evidence: "a Close of the gateway with a code and reason that no other rule knows",
        versions: Versions::Any,
        action: "look into the gateway's log at this time for the code and reason shown",
        ..closed("gateway.closed.code", code)
    },
    Rule {
        title: "The gateway could not read what it got",
        explanation: "The gateway closed with 1002, 1003 or 1007, and the tap saw no breach of the \
                      protocol in what the client sent: the frames were changed between tap and \
                      gateway, or the gateway objects to the content.",
        evidence: "a Close 1002, 1003 or 1007 of the gateway, and no breach in what the client sent",
        versions: Versions::Any,
        action: "take proxies between tap and gateway out of the path and compare; then look into the gateway's log",
        ..closed("gateway.closed.protocol", protocol)
    },
    Rule {
        act_on: ActOn::Operator,
        title: "The gateway waited too long and closed",
        explanation: "Close 3008 is \"timeout\" in IANA's registry of close codes: the gateway waited for \
                      something longer than it allows. The code does not say who was slow: the client \
                      may have sent nothing, or the gateway may not have read it. If the client left \
                      pings unanswered, or acknowledged nothing, other rules say so.",
        evidence: "a Close 3008 of the gateway, no sign of a lost network, and, unless it gives a reason, no ping of it that the client had left unanswered",
        versions: Versions::Any,
        action: "find in the gateway's log what it waited for; then see whether the client sent that in time",
        ..closed("gateway.closed.timeout", timeout)
    },
    Rule {
        title: "The gateway refused connect for a reason that no rule knows",
        explanation: "The gateway answered connect with ok: false and with a code that this version \
                      of wstap does not know. Its own words are in the summary.",
        evidence: "an answer to connect with ok: false that no other rule knows",
        versions: Versions::Read,
        action: "follow the gateway's message; its log has more on this connection",
        ..closed("gateway.closed.refused", refused)
    },
];

fn before_hello(view: &View<'_>) -> Option<Finding> {
    let (_, code) = view.gateway_close()?;
    if !view.was_in_handshake() || !matches!(code, None | Some(1000)) {
        return None;
    }
    let summary = "the gateway closed without having accepted or refused";
    Some(Finding::new(Confidence::Likely, summary).because(view.both_legs()))
}

fn code(view: &View<'_>) -> Option<Finding> {
    let (close, _) = view.gateway_close()?;
    let what = match close.code {
        Some(code) if !close.reason.is_empty() => format!("{code} {}", quoted(&close.reason)),
        _ => close_words(close),
    };
    let when = if view.was_in_handshake() {
        " before it had accepted"
    } else {
        ""
    };
    let summary = format!("the gateway closed with {what}{when}");
    Some(Finding::new(Confidence::Certain, summary).because(view.both_legs()))
}

fn protocol(view: &View<'_>) -> Option<Finding> {
    let (_, code) = view.gateway_close()?;
    let code = code.filter(|code| matches!(code, 1002 | 1003 | 1007))?;
    let summary = format!("the gateway could not read what it got and closed with {code}");
    Some(Finding::new(Confidence::Likely, summary).because(view.both_legs()))
}

fn timeout(view: &View<'_>) -> Option<Finding> {
    let (close, _) = view
        .gateway_close()
        .filter(|(close, _)| close.code == Some(CloseCode::TIMEOUT))?;
    let summary = format!(
        "the gateway waited too long for something and closed with {}",
        close_words(close)
    );
    Some(
        Finding::new(Confidence::Likely, summary)
            .because(view.both_legs())
            .because(view.silent_ms(Direction::ToGateway).map(|ms| {
                fact(format!(
                    "the last bytes of the client came {} before that",
                    human_ms(ms)
                ))
            })),
    )
}

fn refused(view: &View<'_>) -> Option<Finding> {
    if view.decisive() != Decisive::Refusal {
        return None;
    }
    let summary = format!("the gateway refused the client: {}", view.refusal_words());
    Some(Finding::new(Confidence::Likely, summary).because(view.refusal_evidence()))
}
