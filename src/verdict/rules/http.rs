//! Plain requests that the gateway answered with an error, kept apart from WebSocket tickets.

use crate::session::party::Party;
use crate::session::record::verdict::ActOn;
use crate::session::record::{BodyKind, Class, Confidence};
use crate::verdict::finding::Finding;
use crate::verdict::rule::{Rule, Versions};
use crate::verdict::view::View;

pub(super) const RULES: &[Rule] = &[
    Rule {
        id: "http.error.attribution",
        class: Class::HttpError,
        party: Party::Gateway,
        act_on: ActOn::Gateway,
        title: "The gateway does not trust the headers that say who the client is",
        explanation: "A plain request carried Forwarded, X-Real-IP, X-Forwarded-* or Tailscale-* \
                      and came from an address that is not in gateway.trustedProxies (or the \
                      client that they name is missing or a loopback one): the gateway answers 403 \
                      proxy_attribution_required. WebSocket upgrades get the same answer.",
        evidence: "403 with the body proxy_attribution_required to a plain request",
        versions: Versions::Seen,
        action: "add the address that the gateway sees us under to gateway.trustedProxies",
        find: attribution,
    },
    Rule {
        id: "http.error.client",
        class: Class::HttpError,
        party: Party::Gateway,
        act_on: ActOn::Client,
        title: "The gateway refused a plain request",
        explanation: "A request that is not a WebSocket upgrade was answered with 4xx. 401 on the \
                      gateway's HTTP API asks for `Authorization: Bearer`, 404 also means an \
                      endpoint that is not enabled (gateway.http.endpoints), 405 for a wrong \
                      method.",
        evidence: "a status from 400 to 499 to a plain request",
        versions: Versions::Any,
        action: "check path, method and credential of the request",
        find: client_error,
    },
    Rule {
        id: "http.error.server",
        class: Class::HttpError,
        party: Party::Gateway,
        act_on: ActOn::Gateway,
        title: "The gateway failed a plain request",
        explanation: "A request that is not a WebSocket upgrade was answered with 5xx. 503 from a \
                      readiness path says that the gateway is starting or draining.",
        evidence: "a status from 500 to 599 to a plain request",
        versions: Versions::Any,
        action: "look into the gateway's log at this time",
        find: server_error,
    },
];

/// The status of the answer from behind us, if it is an error.
fn error_status(view: &View<'_>) -> Option<u16> {
    view.failed_request()
}

fn attribution(view: &View<'_>) -> Option<Finding> {
    error_status(view)?;
    if view.body_kind() != Some(BodyKind::Attribution) {
        return None;
    }
    let summary = "the gateway refused the request: it does not trust our forwarding headers (403)";
    Some(
        Finding::new(Confidence::Certain, summary)
            .because(view.answer_evidence())
            .because(view.attribution_evidence())
            .next(view.end_disbelief()),
    )
}

fn client_error(view: &View<'_>) -> Option<Finding> {
    let status = error_status(view).filter(|status| *status < 500)?;
    let sent = view.refused_credential();
    let wait = view.retry_after();
    let what = match status {
        401 if sent.is_some() => "it did not accept the credential that was sent",
        401 => "it wants a credential, and none was sent",
        403 => "it is forbidden",
        404 => "it has no such path",
        405 => "it takes no such method there",
        413 => "its body is too large",
        414 => "its target is too long",
        429 => "there were too many",
        431 => "its head is too large",
        _ => "it found fault with it",
    };
    let next = match status {
        401 if sent.is_some() => {
            "compare the credential that was sent (its fingerprint is above) with what this path \
             wants: the gateway's token in the header Authorization with the scheme Bearer, webhooks a token of their own"
                .to_owned()
        }
        401 => "send the gateway's token with this request, in the header Authorization with the scheme Bearer".to_owned(),
        404 => "check the path; the gateway's HTTP API needs gateway.http.endpoints to be enabled"
            .to_owned(),
        405 => "use a method that this path takes (health paths take GET and HEAD)".to_owned(),
        413 => "send less in one request".to_owned(),
        429 => format!(
            "wait {}, then send the right credential",
            wait.as_deref().unwrap_or("a minute")
        ),
        414 | 431 => "clear the cookies of this host in the browser, or let the client send less; \
                      else start the gateway with NODE_OPTIONS=--max-http-header-size=65536"
            .to_owned(),
        _ => "check path, method and credential of the request".to_owned(),
    };
    let facts = match status {
        401 | 403 => view.login_evidence(),
        429 => vec![view.retry_after_evidence()],
        414 | 431 => view.head_size_evidence(),
        _ => Vec::new(),
    };
    let summary = format!("the gateway refused a plain request with {status}: {what}");
    Some(
        Finding::new(Confidence::Certain, summary)
            .because(view.answer_evidence())
            .because(facts)
            .next(next),
    )
}

fn server_error(view: &View<'_>) -> Option<Finding> {
    let status = error_status(view).filter(|status| *status >= 500)?;
    let (summary, next) = if status == 503 {
        (
            "the gateway says that it is not ready (503)".to_owned(),
            "wait until it has started; if it stays so, look into the gateway's log",
        )
    } else {
        (
            format!("the gateway failed a plain request with {status}"),
            "look into the gateway's log at this time",
        )
    };
    Some(
        Finding::new(Confidence::Certain, summary)
            .because(view.answer_evidence())
            .next(next),
    )
}
