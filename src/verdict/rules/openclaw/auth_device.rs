//! Device tokens, device identities and their signatures.

use crate::session::page::PageOrigin;
use crate::session::party::Party;
use crate::session::record::verdict::ActOn;
use crate::session::record::{Class, Confidence, Evidence};
use crate::verdict::finding::Finding;
use crate::verdict::openclaw::credential::odd_form;
use crate::verdict::openclaw::releases::NeedsSecureContext;
use crate::verdict::openclaw::said::GatewayRefusal;
use crate::verdict::rule::{Find, Rule, Versions};
use crate::verdict::view::{View, fact, short};

const fn device(id: &'static str, find: Find) -> Rule {
    Rule::of(id, Class::GatewayAuth, Party::Gateway, ActOn::Client, find)
}

pub(super) const RULES: &[Rule] = &[
    Rule {
        title: "The Control UI's page was opened over plain http",
        explanation: "Before 2026.8 the Control UI made a device identity only in a secure \
                      context: a page of https, or of localhost. The page's Origin shows that it \
                      was opened over plain http on another host, so it has none, and the gateway \
                      refuses it. The address that the page's WebSocket goes to changes nothing.",
        evidence: "details.code CONTROL_UI_DEVICE_IDENTITY_REQUIRED (or the words \"control ui requires …\") to a page whose Origin is http:// on a host that is not loopback, and whose version is not known to be 2026.9 or later",
        versions: Versions::Seen,
        action: "open the Control UI with https:// (give the tap's listener a `tls` section), or on localhost",
        ..device("gateway.auth.control_ui_insecure", control_ui_insecure)
    },
    Rule {
        title: "The Control UI sent no device identity",
        explanation: "The client says that it is the Control UI, and its connect request has no \
                      device. Plain http is not why: the page's Origin is https or localhost, or \
                      the Control UI is of 2026.9 or later, which makes its identity on every \
                      page, or there is no page at all (browsers always send an Origin). Known \
                      causes are a program that connects under the Control UI's name, a page of an \
                      old build in a cache or inside a frame of an insecure page, and in \
                      trusted-proxy mode a failed login of the proxy's user: the gateway then \
                      says the same.",
        evidence: "details.code CONTROL_UI_DEVICE_IDENTITY_REQUIRED (or the words \"control ui requires …\"), and an Origin, or a version, that excludes plain http as the cause",
        versions: Versions::Seen,
        action: "find which program connected (its User-Agent and version are in the record); reload the page without its cache, in a tab of its own; in trusted-proxy mode check the identity header",
        ..device("gateway.auth.control_ui_no_device", control_ui_no_device)
    },
    Rule {
        title: "The device's clock is wrong",
        explanation: "The signature of the device's connect request is dated more than two minutes \
                      off the gateway's clock.",
        evidence: "details.code DEVICE_AUTH_SIGNATURE_EXPIRED",
        versions: Versions::Seen,
        action: "set the clocks: compare `date -u` on the client's and the gateway's host",
        ..device("gateway.auth.device_clock", clock)
    },
    Rule {
        title: "The device's identity is broken",
        explanation: "The device id is not the hash of its public key, or the key cannot be read: \
                      the client's stored identity is damaged or was put together from two.",
        evidence: "details.code DEVICE_AUTH_DEVICE_ID_MISMATCH or DEVICE_AUTH_PUBLIC_KEY_INVALID",
        versions: Versions::Seen,
        action: "delete the client's stored device identity so that it makes a new one, then approve it",
        ..device("gateway.auth.device_identity_broken", identity_broken)
    },
    Rule {
        title: "The client has neither a device identity nor a token",
        explanation: "The connect request carries no device and no credential that would do without \
                      one.",
        evidence: "details.code DEVICE_IDENTITY_REQUIRED",
        versions: Versions::Seen,
        action: "give the client the gateway's token (--token, or OPENCLAW_GATEWAY_TOKEN), or let it use its device identity",
        ..device("gateway.auth.device_identity_required", identity_required)
    },
    Rule {
        title: "The challenge was not answered",
        explanation: "The nonce in the signed connect request is missing or is not the one of this \
                      connection's challenge: a client that reuses a request, or a proxy that joins \
                      two connections.",
        evidence: "details.code DEVICE_AUTH_NONCE_MISMATCH or DEVICE_AUTH_NONCE_REQUIRED, or a schema error at /device/nonce",
        versions: Versions::Seen,
        action: "let the client sign the nonce of the connect.challenge that came on the same connection",
        ..device("gateway.auth.device_nonce", nonce)
    },
    Rule {
        title: "The device's signature is wrong",
        explanation: "The signature of the connect request does not fit what was sent. It covers \
                      device, client, role, scopes, time, token, nonce and platform: one of them \
                      was changed after signing. (For gateways before 2026.3 see \
                      gateway.protocol.device_signature.)",
        evidence: "details.code DEVICE_AUTH_SIGNATURE_INVALID",
        versions: Versions::Seen,
        action: "update the client; if it is your own, check the order of the signed fields",
        ..device("gateway.auth.device_signature", signature)
    },
    Rule {
        title: "The device token is stale",
        explanation: "The device's own token was rotated, revoked or belongs to a device that was \
                      removed. OpenClaw clients delete their stored token when they see this.",
        evidence: "details.code AUTH_DEVICE_TOKEN_MISMATCH",
        versions: Versions::Seen,
        action: "pair the device again: connect, then on the gateway host run `openclaw devices list` and `openclaw devices approve` with the id that it shows",
        ..device("gateway.auth.device_token_mismatch", token_mismatch)
    },
    Rule {
        title: "The device token does not cover the requested scopes",
        explanation: "The device's token is valid, but does not cover the scopes that the client \
                      asks for.",
        evidence: "details.code AUTH_SCOPE_MISMATCH",
        versions: Versions::Seen,
        action: "approve the larger scopes: run `openclaw devices list` on the gateway host, or ask for fewer at the client",
        ..device("gateway.auth.device_token_scope", token_scope)
    },
];

fn found(view: &View<'_>, summary: impl Into<String>) -> Finding {
    let dialect = view.openclaw();
    let id = dialect
        .and_then(|dialect| dialect.device.id.as_ref())
        .map(|id| fact(format!("the device is {}", short(id))));
    Finding::new(Confidence::Certain, summary)
        .because(view.refusal_evidence())
        .because(id)
        .because(view.credential_evidence())
}

/// The beginning of the message of gateways before 2026.3.
const OLD_WORDS: &str = "control ui requires HTTPS or localhost";

/// The gateway refused a Control UI because it has no device identity. Gateways before 2026.3 sent
/// no code and mentioned only the secure context.
fn control_ui<'a>(view: &View<'a>) -> Option<GatewayRefusal<'a>> {
    view.refused(
        &["CONTROL_UI_DEVICE_IDENTITY_REQUIRED"],
        &["control ui requires device identity", OLD_WORDS],
    )
}

/// The page's plain http explains it.
fn is_insecure(view: &View<'_>) -> bool {
    view.page() == Some(PageOrigin::PlainHttp)
        && view.needs_secure_context() != NeedsSecureContext::No
}

fn control_ui_insecure(view: &View<'_>) -> Option<Finding> {
    let said = control_ui(view).filter(|_| is_insecure(view))?;
    let summary =
        "the Control UI was opened over plain http, where one before 2026.9 has no device identity";
    // Only gateways before 2026.3 send this text, and the page is theirs unless it reports another
    // version.
    let old = said.begins_with(&[OLD_WORDS]);
    let confidence = match view.needs_secure_context() {
        NeedsSecureContext::Yes => Confidence::Likely,
        NeedsSecureContext::Unknown if old => Confidence::Likely,
        _ => Confidence::Possible,
    };
    let found = found(view, summary).because(page_evidence(view));
    Some(Finding {
        confidence,
        ..found
    })
}

fn control_ui_no_device(view: &View<'_>) -> Option<Finding> {
    control_ui(view).filter(|_| !is_insecure(view))?;
    let (summary, next) = match view.page() {
        Some(PageOrigin::Https | PageOrigin::Loopback) => (
            "the Control UI sent no device identity, though its page came over https or from localhost",
            "open the page in a tab of its own (not in a frame of another page) and reload it without \
             its cache; if it is not the gateway's own page, give that program a device identity; in \
             trusted-proxy mode check the identity header",
        ),
        Some(PageOrigin::PlainHttp) => (
            "the Control UI sent no device identity; plain http is not why: its version makes one there too",
            "reload the page without its cache and look for failed files in the browser's console; if \
             it is not the gateway's own page, give that program a device identity; in trusted-proxy \
             mode check the identity header",
        ),
        None if view.page_origin().is_none() => (
            "a client without an Origin says that it is the Control UI, and sent no device identity",
            "find the program that connects as openclaw-control-ui without being a page, and give it a \
             device identity, or let it connect as a client of its own kind",
        ),
        None => (
            "the Control UI sent no device identity, and its Origin does not show how it was opened",
            "open the Control UI at its https:// address or on localhost, in a tab of its own; in \
             trusted-proxy mode check the identity header",
        ),
    };
    Some(found(view, summary).because(page_evidence(view)).next(next))
}

/// How the page was loaded, and the version of the Control UI.
fn page_evidence(view: &View<'_>) -> Vec<Evidence> {
    let page = match (view.page_origin(), view.page()) {
        (None, _) => "the request has no Origin, which browsers always send".to_owned(),
        (Some(origin), Some(PageOrigin::Https)) => {
            format!("the page's Origin is {}: it came over https", short(origin))
        }
        (Some(origin), Some(PageOrigin::Loopback)) => format!(
            "the page's Origin is {}: loopback, a secure context without TLS",
            short(origin)
        ),
        (Some(origin), Some(PageOrigin::PlainHttp)) => format!(
            "the page's Origin is {}: plain http on a host that is not loopback",
            short(origin)
        ),
        (Some(origin), None) => format!("the page's Origin is {}", short(origin)),
    };
    let version = view.client_version().map(|version| {
        let words = match view.needs_secure_context() {
            NeedsSecureContext::Yes => ", which makes a device identity only in a secure context",
            NeedsSecureContext::No => ", which makes a device identity on every page",
            NeedsSecureContext::Unknown => "",
        };
        fact(format!("the Control UI is {}{words}", short(version)))
    });
    let agent = view
        .request
        .as_ref()
        .and_then(|request| request.user_agent.as_ref())
        .map(|agent| fact(format!("its User-Agent is {}", short(agent))));
    [Some(fact(page)), version, agent]
        .into_iter()
        .flatten()
        .collect()
}

fn clock(view: &View<'_>) -> Option<Finding> {
    view.refused(
        &["DEVICE_AUTH_SIGNATURE_EXPIRED"],
        &["device signature expired"],
    )?;
    let summary = "the device's clock is more than two minutes off the gateway's";
    let ours = fact(format!(
        "our own clock showed {} when it came",
        view.opened_at
    ));
    Some(found(view, summary).because([ours]))
}

fn identity_broken(view: &View<'_>) -> Option<Finding> {
    view.refused(
        &[
            "DEVICE_AUTH_DEVICE_ID_MISMATCH",
            "DEVICE_AUTH_PUBLIC_KEY_INVALID",
            "DEVICE_AUTH_INVALID",
        ],
        &["device identity mismatch", "device public key invalid"],
    )?;
    let summary = "the device's identity is broken: its id does not belong to its public key";
    Some(found(view, summary))
}

fn identity_required(view: &View<'_>) -> Option<Finding> {
    view.refused(&["DEVICE_IDENTITY_REQUIRED"], &["device identity required"])?;
    // An empty secret is as good as none.
    let odd = view.effective_credential().and_then(odd_form);
    if let Some((form, mend)) = odd {
        let summary = format!("the client sent no device identity, and its secret {form}");
        return Some(found(view, summary).next(format!("at the client: {mend}")));
    }
    let summary = if view.effective_credential().is_some() {
        "the gateway wants a device identity from this client, and it sent none"
    } else {
        "the client sent neither a device identity nor a token"
    };
    let found = found(view, summary);
    Some(if view.effective_credential().is_some() {
        found.next(
            "use a client that has a device identity; one without is accepted only from the \
             gateway's own host with the right token",
        )
    } else {
        found
    })
}

fn nonce(view: &View<'_>) -> Option<Finding> {
    view.refused(
        &["DEVICE_AUTH_NONCE_MISMATCH", "DEVICE_AUTH_NONCE_REQUIRED"],
        &["device nonce mismatch", "device nonce required"],
    )?;
    let summary = "the device did not sign the challenge of this connection (nonce)";
    Some(found(view, summary))
}

fn signature(view: &View<'_>) -> Option<Finding> {
    view.refused(
        &["DEVICE_AUTH_SIGNATURE_INVALID"],
        &["device signature invalid"],
    )?;
    Some(found(
        view,
        "the device's signature does not fit what it sent",
    ))
}

fn token_mismatch(view: &View<'_>) -> Option<Finding> {
    let said = view.refused(
        &["AUTH_DEVICE_TOKEN_MISMATCH"],
        &[
            "unauthorized: device token mismatch",
            "unauthorized: device token rejected",
        ],
    )?;
    if view.calls_it_device_token(&said) {
        return None;
    }
    let summary = "the device's token is stale: it was rotated, revoked, or the device was removed";
    Some(found(view, summary))
}

fn token_scope(view: &View<'_>) -> Option<Finding> {
    view.refused(
        &["AUTH_SCOPE_MISMATCH"],
        &["unauthorized: device token scope mismatch"],
    )?;
    let asked = view
        .openclaw()
        .and_then(|dialect| dialect.scopes_asked.as_ref())
        .map(|scopes| {
            let names: Vec<String> = scopes.iter().take(8).map(short).collect();
            fact(format!("it asked for {}", names.join(", ")))
        });
    let summary = "the device's token does not cover the scopes that it asked for";
    Some(found(view, summary).because(asked))
}
