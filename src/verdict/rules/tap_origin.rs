//! The tap's own check of the Origin header.

use crate::session::party::{Leg, Party};
use crate::session::record::verdict::ActOn;
use crate::session::record::{
    Class, Confidence, DeniedKey, Evidence, Miss, NearestEntry, OriginError, OriginFacts,
};
use crate::session::text::is_plain_origin;
use crate::verdict::finding::Finding;
use crate::verdict::rule::{Rule, Versions};
use crate::verdict::view::{View, fact, short};

pub(super) const RULES: &[Rule] = &[
    Rule {
        id: "tap.denied.origin",
        class: Class::TapDenied,
        party: Party::Tap,
        act_on: ActOn::Operator,
        title: "The page's origin is not on our list",
        explanation: "A web page asked for a WebSocket and its origin is not in origins.allowed \
                      (nor let in by the gateway's own configuration, where that is read). Scheme, \
                      host and port must be equal; the entry that it nearly matched is in the \
                      evidence. A browser shows the page only 1006 for our 403; with \
                      origins.deny_with: close it shows 1008 and the reason. If the page is not \
                      yours, the check works as intended: without it any site that a user \
                      visits could use the gateway in the user's name.",
        evidence: "our refusal by origins.allowed",
        versions: Versions::Any,
        action: "if the page is yours, add its origin to origins.allowed",
        find: not_allowed,
    },
    Rule {
        id: "tap.denied.origin_missing",
        class: Class::TapDenied,
        party: Party::Tap,
        act_on: ActOn::Operator,
        title: "The client sent no Origin, but we require one",
        explanation: "origins.missing is deny, so an upgrade without an Origin header is refused. \
                      Browsers always send one; the command line, nodes and apps never do.",
        evidence: "our refusal by origins.missing",
        versions: Versions::Any,
        action: "set origins.missing to allow if native clients are to connect",
        find: missing,
    },
];

fn detail_of<'a>(view: &View<'a>, key: &DeniedKey) -> Option<&'a str> {
    let denied = view.record().close.denied.as_ref()?;
    (denied.key == *key).then_some(denied.detail.as_str())
}

/// Evidence of the answer that the client got.
fn answer_evidence(view: &View<'_>) -> Vec<Evidence> {
    let mut evidence = Vec::new();
    match (&view.close.tap, view.answer.as_ref()) {
        (Some(close), _) => evidence.push(Evidence {
            at: Some(close.at),
            fact: "we answered 101 and closed with 1008 (origins.deny_with: close)".to_owned(),
        }),
        (None, Some(answer)) => evidence.push(fact(format!("we answered {}", answer.status))),
        (None, None) => {}
    }
    evidence.extend(view.close_evidence(Leg::Client));
    evidence.extend(view.end_evidence(Leg::Client));
    evidence
}

fn not_allowed(view: &View<'_>) -> Option<Finding> {
    let detail = detail_of(view, &DeniedKey::OriginsAllowed)?;
    let origin = view.record().origin.as_ref();
    let normalised = origin.and_then(|origin| origin.normalised.as_deref());
    let summary = match (normalised, origin.and_then(|origin| origin.value.as_ref())) {
        (Some(normalised), _) => {
            let name: String = normalised.chars().take(100).collect();
            format!("we refused the page: {name} is not in origins.allowed")
        }
        (None, Some(value)) => format!("we refused the page: {} is no plain origin", short(value)),
        (None, None) => "we refused the page: its origin is not in origins.allowed".to_owned(),
    };
    let nearest = origin.and_then(|origin| origin.nearest.as_ref());
    let near = nearest.map(|nearest| {
        fact(format!(
            "the nearest entry is {}: {}",
            nearest.entry.as_str(),
            nearest.text.as_str()
        ))
    });
    let finding = Finding::new(Confidence::Certain, summary)
        .because([fact(format!("origins.allowed: {detail}"))])
        .because(near)
        .because(answer_evidence(view));
    let origin = origin.filter(|origin| origin.value.is_some() || origin.normalised.is_some());
    if origin.is_none() {
        return Some(finding.next(
            "find out what between the browser and the tap drops the Origin header: a browser sends \
             scheme://host[:port]",
        ));
    }
    Some(match origin.and_then(|origin| action(origin, nearest)) {
        Some(action) => finding.next(action),
        None => finding,
    })
}

/// What to do, with the exact line; it contains text of a peer only if that is plain.
fn action(origin: &OriginFacts, nearest: Option<&NearestEntry>) -> Option<String> {
    let Some(normalised) = &origin.normalised else {
        return Some(
            match origin.error_kind? {
                OriginError::Null | OriginError::NoHost => {
                    "open the page from an http or https address and allow that: what files and \
                     sandboxed frames send as their origin cannot be allowed"
                }
                _ => {
                    "find out what between the browser and the tap rewrites the Origin header: a \
                     browser sends scheme://host[:port] and nothing else"
                }
            }
            .to_owned(),
        );
    };
    if !is_plain_origin(normalised) {
        return None;
    }
    let line = format!("`origins: {{ allowed: [\"{normalised}\"] }}`");
    let entry = nearest
        .map(|nearest| (nearest.why, nearest.entry.as_str()))
        .filter(|(_, entry)| is_plain_origin(entry));
    Some(match entry {
        Some((Miss::Prefix | Miss::Suffix | Miss::LookAlike, entry)) => format!(
            "do not add it unless that name is really yours: it only looks like {entry}; the line \
             would be {line}"
        ),
        Some((Miss::TrailingSlash | Miss::DefaultPort | Miss::Path | Miss::Spelling, entry)) => {
            format!(
                "in openclaw.json write \"{normalised}\" instead of \"{entry}\" in \
                 gateway.controlUi.allowedOrigins"
            )
        }
        Some((Miss::Scheme | Miss::Port | Miss::HostAlias | Miss::TrailingDot, entry)) => format!(
            "open the page as {entry}, or put {line} into wstap's configuration, beside the \
             entries that are there"
        ),
        _ => format!(
            "if the page is yours, put {line} into wstap's configuration, beside the entries that \
             are there"
        ),
    })
}

fn missing(view: &View<'_>) -> Option<Finding> {
    let detail = detail_of(view, &DeniedKey::OriginsMissing)?;
    let agent = view
        .request
        .as_ref()
        .and_then(|request| request.user_agent.as_ref())
        .map(|agent| fact(format!("its User-Agent is {}", short(agent))));
    let summary = "we refused an upgrade without an Origin header: origins.missing is deny";
    Some(
        Finding::new(Confidence::Certain, summary)
            .because([fact(format!("origins.missing: {detail}"))])
            .because(agent)
            .because(answer_evidence(view))
            .next(
                "set `origins: { missing: allow }` if native clients (command line, nodes, apps) \
                 are to connect",
            ),
    )
}
