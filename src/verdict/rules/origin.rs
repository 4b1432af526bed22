//! The gateway's own check of the Origin header.
//!
//! Its list is compared as text: no wildcards in names, no slash at the end, no default port. A
//! browser's Origin must stand in it exactly as the browser sends it.

use crate::session::party::Party;
use crate::session::record::verdict::ActOn;
use crate::session::record::{Class, Confidence, OriginDecision};
use crate::session::text::is_plain_origin;
use crate::verdict::registry::Find;
use crate::verdict::said::Said;
use crate::verdict::view::{fact, short};
use crate::verdict::{Finding, Rule, Stage, Versions, View};

const fn origin(id: &'static str, order: u8, find: Find) -> Rule {
    Rule {
        id,
        class: Class::GatewayOrigin,
        party: Party::Gateway,
        act_on: ActOn::Gateway,
        stage: Stage::Refusal,
        order,
        title: "",
        explanation: "",
        evidence: "",
        versions: Versions::Any,
        action: "add the browser's origin, as its address bar shows it without a path, to gateway.controlUi.allowedOrigins",
        find,
    }
}

pub(super) const RULES: &[Rule] = &[
    Rule {
        title: "The page's origin was taken off the list",
        explanation: "gateway.controlUi.allowedOrigins was changed while the client was connected, \
                      and its origin is not on it any more.",
        evidence: "a Close 1008 \"origin not allowed\" after hello-ok",
        versions: Versions::Seen,
        ..origin("gateway.origin.changed", 25, changed)
    },
    Rule {
        act_on: ActOn::Client,
        title: "The origin is missing or invalid",
        explanation: "The gateway wants an origin of the form scheme://host[:port] from browsers \
                      and found none: pages opened from a file, from a sandboxed frame or from \
                      some apps send `null`. Clients that call themselves Control UI or webchat \
                      must send one.",
        evidence: "details.code CONTROL_UI_ORIGIN_NOT_ALLOWED with the reason \"origin missing or invalid\"",
        versions: Versions::Seen,
        action: "open the Control UI from the gateway's own address, not from a file or a frame",
        ..origin("gateway.origin.invalid", 25, invalid)
    },
    Rule {
        title: "The page's origin is not allowed",
        explanation: "The gateway compares the Origin header with \
                      gateway.controlUi.allowedOrigins, text by text: scheme, host and port must \
                      be equal, there are no wildcard subdomains, and an entry with a slash at its \
                      end never matches.",
        evidence: "details.code CONTROL_UI_ORIGIN_NOT_ALLOWED, or a reason that begins \"origin not allowed\"",
        versions: Versions::Seen,
        ..origin("gateway.origin.not_allowed", 30, not_allowed)
    },
];

fn found(view: &View<'_>, said: &Said<'_>, summary: String) -> Finding {
    let request = view.request.as_ref();
    let sent = request
        .and_then(|request| request.origin.as_ref())
        .map_or_else(
            || fact("the request has no Origin header"),
            |origin| fact(format!("the request's Origin is {}", short(origin))),
        );
    let host = request
        .and_then(|request| request.host.as_ref())
        .map(|host| fact(format!("its Host is {}", short(host))));
    let ours = view
        .record()
        .origin
        .as_ref()
        .and_then(|origin| origin.error.as_ref())
        .map(|error| fact(format!("we cannot read it as an origin: {error}")));
    let allowed = view
        .record()
        .origin
        .as_ref()
        .filter(|origin| origin.decision == OriginDecision::Allowed)
        .map(|origin| {
            let rule = origin.rule.as_deref().unwrap_or("origins.allowed");
            let rule: String = rule.chars().take(120).collect();
            fact(format!(
                "our own list lets it in (by {rule}): the two lists differ"
            ))
        });
    Finding::new(Confidence::Certain, summary)
        .because(said.evidence(view))
        .because([sent])
        .because(host)
        .because(ours)
        .because(allowed)
}

/// The origin as the gateway compares it, if it may stand in a line that people paste.
fn line(view: &View<'_>) -> Option<String> {
    let normalised = view.record().origin.as_ref()?.normalised.as_ref()?;
    is_plain_origin(normalised).then(|| {
        format!(
            "if that page is yours, in openclaw.json set \"gateway\": {{ \"controlUi\": {{ \"allowedOrigins\": [\"{normalised}\"] }} }}, \
             adding to the list if there is one"
        )
    })
}

fn name(view: &View<'_>) -> String {
    view.request
        .as_ref()
        .and_then(|request| request.origin.as_ref())
        .map_or_else(|| "of this page".to_owned(), short)
}

fn refused<'a>(view: &View<'a>) -> Option<Said<'a>> {
    view.refused(
        &["CONTROL_UI_ORIGIN_NOT_ALLOWED"],
        &["origin not allowed", "origin missing"],
    )
}

fn changed(view: &View<'_>) -> Option<Finding> {
    let said = refused(view).filter(|_| view.was_open())?;
    let summary = format!("the origin {} was taken off the gateway's list", name(view));
    Some(with_line(view, found(view, &said, summary)))
}

fn invalid(view: &View<'_>) -> Option<Finding> {
    let said = refused(view)?;
    let invalid = said
        .reason()
        .is_some_and(|reason| reason.starts_with("origin missing"))
        || said.begins_with(&["origin missing"]);
    if !invalid {
        return None;
    }
    let sent = view
        .request
        .as_ref()
        .and_then(|request| request.origin.as_ref());
    let summary = match sent {
        Some(origin) => format!("the gateway cannot use the origin {}", short(origin)),
        None => "the client sent no Origin, which the gateway wants from browsers".to_owned(),
    };
    Some(found(view, &said, summary))
}

fn not_allowed(view: &View<'_>) -> Option<Finding> {
    let said = refused(view)?;
    let summary = format!("the gateway does not allow the origin {}", name(view));
    Some(with_line(view, found(view, &said, summary)))
}

fn with_line(view: &View<'_>, finding: Finding) -> Finding {
    match line(view) {
        Some(line) => finding.next(line),
        None => finding,
    }
}
