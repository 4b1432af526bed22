//! The gateway's own check of the Origin header.
//!
//! Its list is compared as text: no wildcards in names, no slash at the end, no default port. The
//! list must contain a browser's Origin exactly as the browser sends it.

use crate::session::party::Party;
use crate::session::record::verdict::ActOn;
use crate::session::record::{Class, Confidence, OriginDecision};
use crate::session::text::{PeerText, is_plain_origin};
use crate::verdict::finding::Finding;
use crate::verdict::openclaw::said::GatewayRefusal;
use crate::verdict::rule::{Find, Rule, Versions};
use crate::verdict::view::{View, fact, short};

const fn origin(id: &'static str, find: Find) -> Rule {
    Rule {
        action: "add the browser's origin, as its address bar shows it without a path, to gateway.controlUi.allowedOrigins",
        ..Rule::of(
            id,
            Class::GatewayOrigin,
            Party::Gateway,
            ActOn::Gateway,
            find,
        )
    }
}

pub(super) const RULES: &[Rule] = &[
    Rule {
        title: "The page's origin was taken off the list",
        explanation: "gateway.controlUi.allowedOrigins was changed while the client was connected, \
                      and its origin is not on it any more.",
        evidence: "a Close 1008 \"origin not allowed\" after hello-ok",
        versions: Versions::Seen,
        ..origin("gateway.origin.changed", changed)
    },
    Rule {
        act_on: ActOn::Client,
        title: "The origin is missing or invalid",
        explanation: "The gateway wants an origin of the form scheme://host[:port] from browsers \
                      and found none: pages opened from a file, from a sandboxed frame or from \
                      some apps send `null`. Clients that call themselves Control UI or webchat \
                      must send one. No list can allow a value that is not an origin. Gateways \
                      before 2026.4 give no reason with their refusal; there the request shows \
                      that it had no origin.",
        evidence: "details.code CONTROL_UI_ORIGIN_NOT_ALLOWED with the reason \"origin missing or invalid\"; or a refusal that begins \"origin not allowed\" without a reason, and no Origin in the request, or none of the form scheme://host[:port]",
        versions: Versions::Seen,
        action: "open the Control UI from the gateway's own address, not from a file or a frame",
        ..origin("gateway.origin.invalid", invalid)
    },
    Rule {
        title: "The page's origin is not allowed",
        explanation: "The gateway compares the Origin header with \
                      gateway.controlUi.allowedOrigins, text by text: scheme, host and port must \
                      be equal, there are no wildcard subdomains, and an entry with a slash at its \
                      end never matches.",
        evidence: "details.code CONTROL_UI_ORIGIN_NOT_ALLOWED, or a reason that begins \"origin not allowed\"",
        versions: Versions::Seen,
        ..origin("gateway.origin.not_allowed", not_allowed)
    },
];

fn found(view: &View<'_>, summary: String) -> Finding {
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
        .because(view.refusal_evidence())
        .because([sent])
        .because(host)
        .because(ours)
        .because(allowed)
}

/// The origin as the gateway compares it, if it is safe in a line that people paste.
fn line(view: &View<'_>) -> Option<String> {
    let normalised = view.record().origin.as_ref()?.normalised.as_ref()?;
    is_plain_origin(normalised).then(|| {
        format!(
            "if that page is yours, in openclaw.json set \"gateway\": {{ \"controlUi\": {{ \"allowedOrigins\": [\"{normalised}\"] }} }}, \
             adding to the list if there is one"
        )
    })
}

/// The origin that the client sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sent {
    /// No Origin header, or an empty one.
    Nothing,
    /// Something that is no origin: `null`, a path, a list.
    Invalid,
    /// An origin.
    Origin,
}

fn sent(view: &View<'_>) -> Sent {
    let value = view
        .request
        .as_ref()
        .and_then(|request| request.origin.as_ref());
    let normalised = view
        .record()
        .origin
        .as_ref()
        .is_some_and(|origin| origin.normalised.is_some());
    match value.map(PeerText::as_str) {
        None | Some("") => Sent::Nothing,
        Some(_) if normalised => Sent::Origin,
        // Records without our own reading of it: `null` is what browsers send.
        Some(value) if view.record().origin.is_none() && value != "null" => Sent::Origin,
        Some(_) => Sent::Invalid,
    }
}

fn name(view: &View<'_>) -> String {
    view.request
        .as_ref()
        .and_then(|request| request.origin.as_ref())
        .map_or_else(|| "of this client".to_owned(), short)
}

fn refused<'a>(view: &View<'a>) -> Option<GatewayRefusal<'a>> {
    view.refused(
        &["CONTROL_UI_ORIGIN_NOT_ALLOWED"],
        &["origin not allowed", "origin missing"],
    )
}

fn changed(view: &View<'_>) -> Option<Finding> {
    refused(view).filter(|_| view.was_open())?;
    let summary = match sent(view) {
        Sent::Origin => format!("the origin {} was taken off the gateway's list", name(view)),
        _ => "the gateway's rules for origins changed, and this client sent none that they allow"
            .to_owned(),
    };
    Some(with_next(view, found(view, summary)))
}

fn invalid(view: &View<'_>) -> Option<Finding> {
    let said = refused(view)?;
    let invalid = match said.reason() {
        Some(reason) => reason.starts_with("origin missing"),
        // Gateways before 2026.4 send no reason.
        None => said.begins_with(&["origin missing"]) || sent(view) != Sent::Origin,
    };
    if !invalid {
        return None;
    }
    let summary = match sent(view) {
        Sent::Nothing => {
            "the client sent no Origin, which the gateway wants from browsers".to_owned()
        }
        _ => format!("the gateway cannot use the origin {}", name(view)),
    };
    Some(with_next(view, found(view, summary)))
}

fn not_allowed(view: &View<'_>) -> Option<Finding> {
    refused(view)?;
    let summary = match sent(view) {
        Sent::Nothing => {
            "the gateway does not allow the origin of this client, which sent none to us".to_owned()
        }
        _ => format!("the gateway does not allow the origin {}", name(view)),
    };
    Some(with_next(view, found(view, summary)))
}

/// The line for the gateway's list where there is an origin to put into it.
fn with_next(view: &View<'_>, finding: Finding) -> Finding {
    match sent(view) {
        Sent::Origin => match line(view) {
            Some(line) => finding.next(line),
            None => finding,
        },
        Sent::Nothing => finding.next(
            "if it is a page, find what between the browser and the gateway drops or writes the Origin \
             header: browsers always send one; if it is another program, let it connect as a client of \
             its own kind and not as the Control UI, or let it send its origin",
        ),
        Sent::Invalid => finding.next(
            "open the page from an http or https address, best the gateway's own: what files, \
             sandboxed frames and some apps send as their origin cannot be allowed",
        ),
    }
}
