//! A server between us and the gateway that rejects requests by its configuration: a login, a
//! redirect, a rate limit, upgrades that are not enabled.

use super::hop::{found, hop, is_gateways, sure, who};
use crate::session::record::{BodyKind, Confidence, Evidence};
use crate::session::text::PeerText;
use crate::verdict::answers::Redirect;
use crate::verdict::credential::mark;
use crate::verdict::finding::Finding;
use crate::verdict::rule::{Rule, Versions};
use crate::verdict::view::{View, fact, quoted};

pub(super) const RULES: &[Rule] = &[
    Rule {
        title: "A login in front of the gateway",
        explanation: "The upgrade was answered with 401 or 407, with 403 and WWW-Authenticate, or \
                      with 403 of another server: Basic auth, a single sign-on or a list of \
                      addresses in front of the gateway. Browsers show scripts only 1006 for that. \
                      The gateway itself never refuses its main WebSocket path in this way. The \
                      evidence says whether a credential was sent: if so, that server compared it, \
                      not the gateway.",
        evidence: "401, 403 or 407 with WWW-Authenticate, or with another server's marks or page",
        versions: Versions::Any,
        action: "exempt the WebSocket path from that login, or give the client the credential that it asks for",
        ..hop("hop.fault.login", login)
    },
    Rule {
        title: "Another server limits how often this client may ask",
        explanation: "The upgrade was answered with 429 by another server between us and the \
                      gateway: its own limit of requests or connections, often counted for each \
                      address, so that all clients of one network share it. The gateway's own 429 \
                      has another form (gateway.refused.rate_limited), and so has ours.",
        evidence: "429 to an upgrade with the marks, the page or the body of another server",
        versions: Versions::Any,
        action: "wait as long as Retry-After says; then raise that server's limit for the WebSocket path, or find the client that asks so often",
        ..hop("hop.fault.rate_limited", rate_limited)
    },
    Rule {
        title: "The upgrade was redirected",
        explanation: "The upgrade was answered with a redirect. WebSocket clients do not follow \
                      redirects, and OpenClaw's gateway sends none: a hop wants https, another \
                      host, a slash at the path's end or a login. The evidence has the target.",
        evidence: "a status from 301 to 308 in answer to an upgrade",
        versions: Versions::Any,
        action: "use the URL that the Location header names, or exempt the WebSocket path from the redirect",
        ..hop("hop.fault.redirect", redirect)
    },
    Rule {
        title: "Envoy is not set up for upgrades",
        explanation: "A bare 403 made by Envoy itself: that is its answer to an upgrade on a route \
                      for which WebSocket upgrades are not enabled. An authorization filter \
                      (ext_authz) can refuse in the same form; one of role-based access writes a \
                      body.",
        evidence: "403 without a body and without WWW-Authenticate to an upgrade, with Envoy's Server header and no mark that it came from behind Envoy",
        versions: Versions::Any,
        action: "in Envoy's http_connection_manager for this listener set upgrade_configs: [{ upgrade_type: websocket }] (or in the route's own upgrade_configs); if it is there, look at its ext_authz filter",
        ..hop("hop.fault.upgrade_not_enabled", upgrade_not_enabled)
    },
];

fn login(view: &View<'_>) -> Option<Finding> {
    let status = view
        .refused_upgrade()
        .filter(|status| matches!(status, 401 | 403 | 407))?;
    let asks = view.challenge().is_some();
    let page = view.body_kind() == Some(BodyKind::Html);
    let marked = view.foreign_server().is_some();
    if is_gateways(view) || !(asks || page || marked) {
        return None;
    }
    let confidence = if marked && asks {
        Confidence::Certain
    } else {
        sure(view)
    };
    let who = who(view);
    let sent = view.refused_credential();
    // A 403 without a challenge does not say what would change it.
    let wants_login = status != 403 || asks;
    let summary = match sent {
        _ if !wants_login => format!("{who} before the gateway forbids the upgrade (403)"),
        Some(_) => format!(
            "{who} before the gateway did not accept the credential that was sent ({status})"
        ),
        None => format!(
            "{who} asks for a login of its own before the gateway ({status}), and no credential was sent"
        ),
    };
    let found = found(view, confidence, summary).because(view.login_evidence());
    Some(match sent {
        _ if !wants_login => found.next(format!(
            "look at the access rules of {who} for the WebSocket path and this client's address"
        )),
        Some(sent) => found.next(format!(
            "give the client the credential that {who} knows: it read {} at {}, not the gateway; or \
             exempt the WebSocket path from that login",
            mark(sent),
            sent.place
        )),
        None => found.next(
            "exempt the WebSocket path from that login (a page's WebSocket cannot send an \
             Authorization header), or give the client the credential that it asks for",
        ),
    })
}

fn rate_limited(view: &View<'_>) -> Option<Finding> {
    if view.refused_upgrade()? != 429 || is_gateways(view) {
        return None;
    }
    let marked = view.foreign_server().is_some();
    let page = view.body_kind() == Some(BodyKind::Html);
    let other_body = view.expected().answers_are_known
        && matches!(
            view.body_kind(),
            Some(BodyKind::Json | BodyKind::Text | BodyKind::Other)
        );
    if !(marked || page || other_body) {
        return None;
    }
    let confidence = if marked || page {
        sure(view)
    } else {
        Confidence::Possible
    };
    let who = who(view);
    let summary = format!("{who} between us and the gateway limits requests: 429");
    let wait = view
        .retry_after()
        .map_or_else(String::new, |wait| format!("wait {wait}; "));
    Some(
        found(view, confidence, summary)
            .because([view.retry_after_evidence()])
            .because(tries(view))
            .next(format!(
                "{wait}raise the limit of {who} for the WebSocket path, or find the client that \
                 asks so often"
            )),
    )
}

/// Number of attempts of this client address.
fn tries(view: &View<'_>) -> Option<Evidence> {
    let context = view.record().context.as_ref()?;
    (context.attempts > 1).then(|| {
        fact(format!(
            "this client address tried {} times within a minute",
            context.attempts
        ))
    })
}

fn redirect(view: &View<'_>) -> Option<Finding> {
    let status = view
        .refused_upgrade()
        .filter(|status| (300..400).contains(status))?;
    let location = view.location();
    let target = location.map_or_else(String::new, |location| {
        format!(" to {}", quoted(&PeerText::new(location.as_str(), 80)))
    });
    let summary = format!("{} redirected the upgrade ({status}){target}", who(view));
    let known = view.expected().answers_are_known || view.foreign_server().is_some();
    let confidence = if known {
        Confidence::Likely
    } else {
        Confidence::Possible
    };
    let shown = fact(match location {
        Some(location) => format!("its Location is {}", quoted(location)),
        None => "it has no Location that can be shown".to_owned(),
    });
    let plain = view.record().gateway.as_ref()?.tls.is_none();
    let next = match view.redirect() {
        Some(Redirect::Https) if plain => {
            "it wants https for the same address: point gateway.url at the gateway itself, or at that \
             server's https:// address"
        }
        Some(Redirect::Https) => {
            "it wants https though we came by TLS: let that server believe X-Forwarded-Proto, or \
             point gateway.url at the gateway itself"
        }
        Some(Redirect::Slash) => {
            "it wants a slash at the path's end: add it to the client's URL, or let that server match \
             the path without one"
        }
        Some(Redirect::Login) => {
            "it wants a login first: exempt the WebSocket path from that login, or point gateway.url at \
             the gateway itself"
        }
        Some(Redirect::OtherHost) => {
            "it serves this under another host: use that host in the client's URL, or point \
             gateway.url at the gateway itself"
        }
        Some(Redirect::Elsewhere) | None => {
            "look at that server's redirects for this path; WebSocket upgrades must reach the gateway \
             without one"
        }
    };
    Some(found(view, confidence, summary).because([shown]).next(next))
}

fn upgrade_not_enabled(view: &View<'_>) -> Option<Finding> {
    let by_envoy = matches!(view.foreign_server(), Some("Envoy" | "Envoy (Istio)"));
    // Envoy overwrites the Server header of forwarded answers too, but adds
    // x-envoy-upstream-service-time only to those.
    let from_behind = view.answers_with_header("x-envoy-upstream-service-time");
    let bare = matches!(view.body_kind(), None | Some(BodyKind::Empty));
    if view.refused_upgrade()? != 403 || !by_envoy || from_behind || !bare {
        return None;
    }
    if view.challenge().is_some() {
        return None;
    }
    let summary = "Envoy between us and the gateway refused the upgrade (403): upgrades are not enabled there";
    Some(
        found(view, Confidence::Likely, summary.to_owned())
            .because([fact(
                "the answer has no body, no WWW-Authenticate and no x-envoy-upstream-service-time: Envoy made it itself",
            )]),
    )
}
