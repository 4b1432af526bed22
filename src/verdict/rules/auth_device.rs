//! Device tokens, device identities and their signatures.

use crate::session::party::Party;
use crate::session::record::verdict::ActOn;
use crate::session::record::{Class, Confidence};
use crate::session::text::PeerText;
use crate::verdict::credential::odd_form;
use crate::verdict::registry::Find;
use crate::verdict::said::Said;
use crate::verdict::view::{fact, short};
use crate::verdict::{Finding, Rule, Stage, Versions, View};

const fn device(id: &'static str, order: u8, find: Find) -> Rule {
    Rule {
        id,
        class: Class::GatewayAuth,
        party: Party::Gateway,
        act_on: ActOn::Client,
        stage: Stage::Refusal,
        order,
        title: "",
        explanation: "",
        evidence: "",
        versions: Versions::Any,
        action: "",
        find,
    }
}

pub(super) const RULES: &[Rule] = &[
    Rule {
        title: "The Control UI has no device identity",
        explanation: "A browser makes a device identity only in a secure context: https, or \
                      localhost. Over plain http on another host the Control UI has none, and the \
                      gateway refuses it. In trusted-proxy mode the same words can hide a missing \
                      identity header.",
        evidence: "details.code CONTROL_UI_DEVICE_IDENTITY_REQUIRED, or a reason that begins \"control ui requires device identity\"",
        versions: Versions::Seen,
        action: "open the Control UI with https:// (give the tap's listener a `tls` section), or on localhost",
        ..device("gateway.auth.control_ui_insecure", 30, control_ui)
    },
    Rule {
        title: "The device's clock is wrong",
        explanation: "The signature of the device's connect request is dated more than two minutes \
                      off the gateway's clock.",
        evidence: "details.code DEVICE_AUTH_SIGNATURE_EXPIRED",
        versions: Versions::Seen,
        action: "set the clocks: compare `date -u` on the client's and the gateway's host",
        ..device("gateway.auth.device_clock", 30, clock)
    },
    Rule {
        title: "The device's identity is broken",
        explanation: "The device id is not the hash of its public key, or the key cannot be read: \
                      the client's stored identity is damaged or was put together from two.",
        evidence: "details.code DEVICE_AUTH_DEVICE_ID_MISMATCH or DEVICE_AUTH_PUBLIC_KEY_INVALID",
        versions: Versions::Seen,
        action: "delete the client's stored device identity so that it makes a new one, then approve it",
        ..device("gateway.auth.device_identity_broken", 30, identity_broken)
    },
    Rule {
        title: "The client has neither a device identity nor a token",
        explanation: "The connect request carries no device and no credential that would do without \
                      one.",
        evidence: "details.code DEVICE_IDENTITY_REQUIRED",
        versions: Versions::Seen,
        action: "give the client the gateway's token (--token, or OPENCLAW_GATEWAY_TOKEN), or let it use its device identity",
        ..device(
            "gateway.auth.device_identity_required",
            30,
            identity_required,
        )
    },
    Rule {
        title: "The challenge was not answered",
        explanation: "The nonce in the signed connect request is missing or is not the one of this \
                      connection's challenge: a client that reuses a request, or a proxy that joins \
                      two connections.",
        evidence: "details.code DEVICE_AUTH_NONCE_MISMATCH or DEVICE_AUTH_NONCE_REQUIRED, or a schema error at /device/nonce",
        versions: Versions::Seen,
        action: "let the client sign the nonce of the connect.challenge that came on the same connection",
        ..device("gateway.auth.device_nonce", 30, nonce)
    },
    Rule {
        title: "The device's signature is wrong",
        explanation: "The signature of the connect request does not fit what was sent. It covers \
                      device, client, role, scopes, time, token, nonce and platform: one of them \
                      was changed after signing.",
        evidence: "details.code DEVICE_AUTH_SIGNATURE_INVALID",
        versions: Versions::Seen,
        action: "update the client; if it is your own, check the order of the signed fields",
        ..device("gateway.auth.device_signature", 30, signature)
    },
    Rule {
        title: "The device token is stale",
        explanation: "The device's own token was rotated, revoked or belongs to a device that was \
                      removed. OpenClaw clients delete their stored token when they see this.",
        evidence: "details.code AUTH_DEVICE_TOKEN_MISMATCH",
        versions: Versions::Seen,
        action: "pair the device again: connect, then run `openclaw devices list` and `openclaw devices approve REQUEST-ID` on the gateway host",
        ..device("gateway.auth.device_token_mismatch", 30, token_mismatch)
    },
    Rule {
        title: "The device token is valid for less than was asked",
        explanation: "The device's token is right and does not cover the scopes that the client \
                      asks for.",
        evidence: "details.code AUTH_SCOPE_MISMATCH",
        versions: Versions::Seen,
        action: "approve the larger scopes: run `openclaw devices list` on the gateway host, or ask for fewer at the client",
        ..device("gateway.auth.device_token_scope", 30, token_scope)
    },
];

fn found(view: &View<'_>, said: &Said<'_>, summary: impl Into<String>) -> Finding {
    let dialect = view.dialect.as_ref();
    let id = dialect
        .and_then(|dialect| dialect.device.id.as_ref())
        .map(|id| fact(format!("the device is {}", short(id))));
    Finding::new(Confidence::Certain, summary)
        .because(said.evidence(view))
        .because(id)
        .because(view.credential_evidence())
}

fn control_ui(view: &View<'_>) -> Option<Finding> {
    let said = view.refused(
        &["CONTROL_UI_DEVICE_IDENTITY_REQUIRED"],
        &["control ui requires device identity"],
    )?;
    let (summary, leg) = match how_opened(view) {
        Opened::Tls => (
            "the Control UI sent no device identity, though it came over TLS",
            "the client's leg to us is TLS",
        ),
        Opened::TlsBeforeUs => (
            "the Control UI sent no device identity, though its proxy says that it came over TLS",
            "the request says X-Forwarded-Proto: https",
        ),
        Opened::BehindProxy => (
            "the Control UI sent no device identity; a proxy stands in front of us",
            "the request came with the headers of a proxy, and none says https",
        ),
        Opened::Plain => (
            "the Control UI was opened over plain http, where a browser has no device identity",
            "the client's leg to us is plain",
        ),
    };
    let found = found(view, &said, summary).because([fact(leg)]);
    Some(match how_opened(view) {
        Opened::Tls | Opened::TlsBeforeUs => found.next(
            "open the page by the https:// address itself (not in a frame of another page); in \
             trusted-proxy mode check the identity header",
        ),
        Opened::BehindProxy => found.next(
            "open the Control UI with https:// at that proxy, or on localhost; in trusted-proxy \
             mode check the identity header",
        ),
        Opened::Plain => found,
    })
}

/// How the browser has come, as far as it can be seen from here.
enum Opened {
    Tls,
    TlsBeforeUs,
    BehindProxy,
    Plain,
}

fn how_opened(view: &View<'_>) -> Opened {
    let mut headers = view.request.iter().flat_map(|request| &request.headers);
    let says_https = headers.any(|header| {
        let name = header.name.as_str();
        let value = header.value.as_ref().map(PeerText::as_str);
        name.eq_ignore_ascii_case("x-forwarded-proto") && value == Some("https")
    });
    let proxied =
        view.client.via.is_some() || view.forwarded().is_some_and(|it| !it.brought.is_empty());
    match (view.client.tls.is_some(), says_https, proxied) {
        (true, _, _) => Opened::Tls,
        (false, true, _) => Opened::TlsBeforeUs,
        (false, false, true) => Opened::BehindProxy,
        (false, false, false) => Opened::Plain,
    }
}

fn clock(view: &View<'_>) -> Option<Finding> {
    let said = view.refused(
        &["DEVICE_AUTH_SIGNATURE_EXPIRED"],
        &["device signature expired"],
    )?;
    let summary = "the device's clock is more than two minutes off the gateway's";
    let ours = fact(format!(
        "our own clock showed {} when it came",
        view.opened_at
    ));
    Some(found(view, &said, summary).because([ours]))
}

fn identity_broken(view: &View<'_>) -> Option<Finding> {
    let said = view.refused(
        &[
            "DEVICE_AUTH_DEVICE_ID_MISMATCH",
            "DEVICE_AUTH_PUBLIC_KEY_INVALID",
            "DEVICE_AUTH_INVALID",
        ],
        &["device identity mismatch", "device public key invalid"],
    )?;
    let summary = "the device's identity is broken: its id does not belong to its public key";
    Some(found(view, &said, summary))
}

fn identity_required(view: &View<'_>) -> Option<Finding> {
    let said = view.refused(&["DEVICE_IDENTITY_REQUIRED"], &["device identity required"])?;
    // An empty secret is as good as none.
    let odd = view.effective_credential().and_then(odd_form);
    if let Some((form, mend)) = odd {
        let summary = format!("the client sent no device identity, and its secret {form}");
        return Some(found(view, &said, summary).next(format!("at the client: {mend}")));
    }
    let summary = if view.effective_credential().is_some() {
        "the gateway wants a device identity from this client, and it sent none"
    } else {
        "the client sent neither a device identity nor a token"
    };
    let found = found(view, &said, summary);
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
    let said = view.refused(
        &["DEVICE_AUTH_NONCE_MISMATCH", "DEVICE_AUTH_NONCE_REQUIRED"],
        &["device nonce mismatch", "device nonce required"],
    )?;
    let summary = "the device did not sign the challenge of this connection (nonce)";
    Some(found(view, &said, summary))
}

fn signature(view: &View<'_>) -> Option<Finding> {
    let said = view.refused(
        &["DEVICE_AUTH_SIGNATURE_INVALID"],
        &["device signature invalid"],
    )?;
    Some(found(
        view,
        &said,
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
    let summary = "the device's token is stale: it was rotated, revoked, or the device was removed";
    Some(found(view, &said, summary))
}

fn token_scope(view: &View<'_>) -> Option<Finding> {
    let said = view.refused(
        &["AUTH_SCOPE_MISMATCH"],
        &["unauthorized: device token scope mismatch"],
    )?;
    let asked = view
        .dialect
        .as_ref()
        .and_then(|dialect| dialect.scopes_asked.as_ref())
        .map(|scopes| {
            let names: Vec<String> = scopes.iter().take(8).map(short).collect();
            fact(format!("it asked for {}", names.join(", ")))
        });
    let summary = "the device's token does not cover the scopes that it asked for";
    Some(found(view, &said, summary).because(asked))
}
