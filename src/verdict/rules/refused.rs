//! The gateway's own answers to an upgrade other than a valid 101, and answers without the marks of
//! another server.

use crate::session::party::Party;
use crate::session::record::verdict::ActOn;
use crate::session::record::{BodyKind, Class, Confidence, GatewayErrorKind};
use crate::verdict::finding::Finding;
use crate::verdict::hops::{Need, mend};
use crate::verdict::rule::{Find, Rule, Versions};
use crate::verdict::view::{View, fact};

const fn refused(id: &'static str, act_on: ActOn, find: Find) -> Rule {
    Rule::of(id, Class::GatewayRefused, Party::Gateway, act_on, find)
}

pub(super) const RULES: &[Rule] = &[
    Rule {
        title: "A 101 with a wrong key",
        explanation: "The server behind us answered 101, and its Sec-WebSocket-Accept is missing \
                      or does not answer the client's key: a cache, a broken server, or a proxy \
                      that changes Sec-WebSocket-Key on the way. The tunnel was not opened (RFC \
                      6455 section 4.1).",
        evidence: "a 101 whose Sec-WebSocket-Accept is missing or does not fit the key",
        versions: Versions::Any,
        action: "check that gateway.url points at the gateway itself and not at a cache or a test server, and that no proxy in between changes Sec-WebSocket-*",
        ..refused("gateway.refused.accept_key", ActOn::Gateway, accept_key)
    },
    Rule {
        title: "The gateway found the handshake malformed",
        explanation: "400: for the gateway Sec-WebSocket-Version is not 13 or 8, the key is \
                      malformed, or `Connection: Upgrade` is missing. The tap passes on no such \
                      handshake, so a proxy between tap and gateway changed it, or the server is \
                      not a gateway.",
        evidence: "400 without the marks of another server",
        versions: Versions::Seen,
        action: "look for a proxy between tap and gateway, and let it pass Connection and Sec-WebSocket-* unchanged",
        ..refused("gateway.refused.bad_handshake", ActOn::Hop, bad_handshake)
    },
    Rule {
        title: "A 101 that does not switch to WebSocket",
        explanation: "The server behind us answered 101 without `Upgrade: websocket` and \
                      `Connection: Upgrade`. The tunnel was not opened.",
        evidence: "a 101 without Upgrade: websocket or Connection: Upgrade",
        versions: Versions::Any,
        action: "check that gateway.url points at the gateway itself",
        ..refused("gateway.refused.bad_upgrade", ActOn::Gateway, bad_upgrade)
    },
    Rule {
        title: "The gateway wants a credential for this path",
        explanation: "The gateway's main WebSocket path never asks for a credential over HTTP; \
                      paths of plugins and of desktop and node portals do (401).",
        evidence: "401 without WWW-Authenticate and without the marks of another server",
        versions: Versions::Seen,
        action: "check the path of the client's URL: the gateway's WebSocket is at /",
        ..refused("gateway.refused.credential", ActOn::Client, credential)
    },
    Rule {
        title: "What listens there does not speak HTTP",
        explanation: "The answer to our request is no HTTP: another service listens on the \
                      gateway's port.",
        evidence: "an answer that is not HTTP",
        versions: Versions::Any,
        action: "correct the port in gateway.url",
        ..refused("gateway.refused.not_http", ActOn::Operator, not_http)
    },
    Rule {
        title: "The gateway refused the upgrade",
        explanation: "An answer other than 101 that bears no marks of another server. OpenClaw \
                      answers an upgrade with 403, 503, 400 or 401 in forms that have rules of \
                      their own; other answers mean another kind of gateway or another port.",
        evidence: "an answer other than 101 without the marks of another server",
        versions: Versions::Any,
        action: "check that path and port of gateway.url and of the client's URL are those of the gateway's WebSocket",
        ..refused("gateway.refused.other", ActOn::Operator, other)
    },
    Rule {
        title: "Too many failed logins on a plugin's path",
        explanation: "The gateway answered 429: too many failed attempts. Its main WebSocket path \
                      says so inside the tunnel instead.",
        evidence: "429 in the gateway's own form",
        versions: Versions::Read,
        action: "wait as long as Retry-After says, then use the right credential",
        ..refused("gateway.refused.rate_limited", ActOn::Client, rate_limited)
    },
];

fn bad_101(view: &View<'_>, kind: GatewayErrorKind, summary: &str) -> Option<Finding> {
    if view.gateway_error() != Some(kind) {
        return None;
    }
    Some(
        Finding::new(Confidence::Certain, summary)
            .because(view.gateway_error_evidence())
            .because(view.answer_evidence()),
    )
}

fn accept_key(view: &View<'_>) -> Option<Finding> {
    let summary = "a 101 came whose Sec-WebSocket-Accept does not answer the client's key";
    bad_101(view, GatewayErrorKind::AcceptKey, summary)
}

fn bad_upgrade(view: &View<'_>) -> Option<Finding> {
    let summary = "a 101 came that does not say that it switches to WebSocket";
    bad_101(view, GatewayErrorKind::BadUpgrade, summary)
}

fn not_http(view: &View<'_>) -> Option<Finding> {
    let summary = "what listens on the gateway's port does not speak HTTP";
    bad_101(view, GatewayErrorKind::NotHttp, summary)
}

fn bad_handshake(view: &View<'_>) -> Option<Finding> {
    let own = view.answers_with_header("sec-websocket-version")
        || matches!(
            view.body_kind(),
            Some(BodyKind::Gateway | BodyKind::Text | BodyKind::Empty)
        );
    if view.refused_upgrade()? != 400 || !own || view.foreign_server().is_some() {
        return None;
    }
    let summary = "the gateway found the handshake malformed (400), and it had left us whole: a \
                   proxy in between may have changed it";
    let request = view.record().request.as_ref();
    let headers = request.map(|request| {
        let names: Vec<&str> = request
            .headers
            .iter()
            .map(|header| header.name.as_str())
            .collect();
        fact(format!("the request came with {}", names.join(", ")))
    });
    Some(
        Finding::new(Confidence::Likely, summary)
            .because(view.answer_evidence())
            .because(headers)
            .next(mend(None, Need::Handshake)),
    )
}

fn credential(view: &View<'_>) -> Option<Finding> {
    let own = matches!(
        view.body_kind(),
        None | Some(BodyKind::Empty | BodyKind::Gateway)
    );
    let asks = view.challenge().is_some();
    if view.refused_upgrade()? != 401 || !own || asks || view.foreign_server().is_some() {
        return None;
    }
    let summary = match view.refused_credential() {
        Some(sent) => format!(
            "the gateway did not accept the credential at {} for this path (401)",
            sent.place
        ),
        None => "the gateway wants a ticket or credential for this path (401), and none was sent"
            .to_owned(),
    };
    Some(
        Finding::new(Confidence::Likely, summary)
            .because(view.answer_evidence())
            .because(view.login_evidence()),
    )
}

fn rate_limited(view: &View<'_>) -> Option<Finding> {
    if view.refused_upgrade()? != 429 || view.body_kind() != Some(BodyKind::Gateway) {
        return None;
    }
    let summary = match view.retry_after() {
        Some(wait) => format!(
            "the gateway refused the upgrade: too many failed attempts on this path (429), wait {wait}"
        ),
        None => "the gateway refused the upgrade: too many failed attempts on this path (429)"
            .to_owned(),
    };
    let wait = view.retry_after().unwrap_or_else(|| "a minute".to_owned());
    Some(
        Finding::new(Confidence::Certain, summary)
            .because(view.answer_evidence())
            .because([view.retry_after_evidence()])
            .because(view.login_evidence())
            .next(format!(
                "stop the client that has the wrong credential, wait {wait}, then connect with the right one"
            )),
    )
}

fn other(view: &View<'_>) -> Option<Finding> {
    let status = view.refused_upgrade()?;
    let (summary, confidence) = match status {
        200..300 => (
            format!("the upgrade was answered with {status}: no WebSocket is served there"),
            Confidence::Likely,
        ),
        404 => (
            "the upgrade was answered with 404: there is no such path".to_owned(),
            Confidence::Likely,
        ),
        503 => (
            "the gateway failed the upgrade with 503".to_owned(),
            Confidence::Likely,
        ),
        401 => (
            match view.refused_credential() {
                Some(_) => "the upgrade was answered with 401: the credential was not accepted",
                None => {
                    "the upgrade was answered with 401: it wants a credential, and none was sent"
                }
            }
            .to_owned(),
            Confidence::Likely,
        ),
        429 => (
            "the upgrade was answered with 429: too many requests".to_owned(),
            Confidence::Likely,
        ),
        _ => (
            format!("the gateway refused the upgrade with {status}"),
            Confidence::Likely,
        ),
    };
    let finding = Finding::new(confidence, summary).because(view.answer_evidence());
    if status == 401 {
        return Some(finding.because(view.login_evidence()).next(
            "give the client the credential that this path wants; a page's WebSocket cannot send an \
             Authorization header",
        ));
    }
    if status == 429 {
        let wait = view
            .retry_after()
            .map_or_else(String::new, |wait| format!("wait {wait}, then try again; "));
        return Some(finding.because([view.retry_after_evidence()]).next(format!(
            "{wait}if it happens again, raise the limit of what answers there, or find the client \
             that asks so often"
        )));
    }
    Some(if status >= 500 {
        finding.next(
            "look into the gateway's log at this time for the error; if a proxy stands between \
             tap and gateway, into its log too",
        )
    } else {
        finding
    })
}
