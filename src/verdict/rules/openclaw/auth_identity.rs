//! Identities that a proxy or a network vouches for, and refusals without a code.

use crate::session::party::Party;
use crate::session::record::gateway::ForwardedMode;
use crate::session::record::verdict::ActOn;
use crate::session::record::{Class, Confidence};
use crate::verdict::finding::Finding;
use crate::verdict::rule::{Find, Rule, Versions};
use crate::verdict::view::{View, close_words, fact, short};

const fn identity(id: &'static str, act_on: ActOn, find: Find) -> Rule {
    Rule::of(id, Class::GatewayAuth, Party::Gateway, act_on, find)
}

pub(super) const RULES: &[Rule] = &[
    Rule {
        title: "The gateway does not trust the headers that say who the client is",
        explanation: "The gateway refused the client inside the tunnel instead of with a 403 \
                      before it, as it usually does: the request came through a proxy that \
                      gateway.trustedProxies does not name.",
        evidence: "a refusal or Close inside the tunnel whose reason begins \"gateway ingress attribution required\"",
        versions: Versions::Read,
        action: "add the address that the gateway sees us under to gateway.trustedProxies",
        ..identity("gateway.auth.attribution", ActOn::Gateway, attribution)
    },
    Rule {
        title: "The gateway forbade it (3003)",
        explanation: "Close 3003 (forbidden): the client is known, but may not do what it asked for.",
        evidence: "a Close 3003 of the gateway",
        versions: Versions::Any,
        action: "give this client the right that it lacks, or use a credential that has it",
        ..identity("gateway.auth.forbidden", ActOn::Operator, forbidden)
    },
    Rule {
        title: "The identity header is missing",
        explanation: "The gateway is in trusted-proxy mode and wants a header that names the user \
                      or vouches for the proxy (gateway.auth.trustedProxy.userHeader and \
                      requiredHeaders); the request has none. When the header's name begins with X-Forwarded- or Tailscale-, the tap \
                      drops it unless it comes from a peer in trusted_proxies.",
        evidence: "details.code AUTH_IDENTITY_HEADER_REQUIRED",
        versions: Versions::Seen,
        action: "let the identity proxy set the header that gateway.auth.trustedProxy names, on the WebSocket path too",
        ..identity("gateway.auth.identity_header", ActOn::Hop, identity_header)
    },
    Rule {
        title: "The gateway withdrew its access",
        explanation: "The operator's or user's access to this gateway is not active any more.",
        evidence: "a refusal with the code FORBIDDEN about the access itself",
        versions: Versions::Read,
        action: "ask an administrator of the gateway to restore the access",
        ..identity("gateway.auth.access_denied", ActOn::Operator, access_denied)
    },
    Rule {
        title: "The user's profile is not available",
        explanation: "The gateway knows the user, but could not load the user's profile.",
        evidence: "details.code AUTHENTICATED_PROFILE_UNAVAILABLE",
        versions: Versions::Read,
        action: "look into the gateway's log at this time, then connect again",
        ..identity(
            "gateway.auth.profile_unavailable",
            ActOn::Gateway,
            profile_unavailable,
        )
    },
    Rule {
        title: "The gateway refused the client's credential",
        explanation: "The gateway said \"unauthorized\" with no code that this version of wstap \
                      knows.",
        evidence: "a refusal that begins \"unauthorized\" with no code that is known",
        versions: Versions::Read,
        action: "look into the gateway's log for this connection: its `unauthorized` line names the reason",
        ..identity("gateway.auth.refused", ActOn::Client, refused)
    },
    Rule {
        title: "Too many forbidden calls",
        explanation: "Close 1008 \"repeated unauthorized calls\": the client is connected and went \
                      on making calls that its role does not allow.",
        evidence: "a Close 1008 \"repeated unauthorized calls\" after hello-ok",
        versions: Versions::Read,
        action: "give this client's role the methods that it calls, or stop it calling them",
        ..identity("gateway.auth.repeated_calls", ActOn::Client, repeated_calls)
    },
    Rule {
        title: "The Tailscale identity was not accepted",
        explanation: "The gateway takes identities from Tailscale Serve and this request has none \
                      that it could verify: headers missing, a failed whois, or another user. A \
                      proxy between Tailscale Serve and the gateway loses them.",
        evidence: "details.code AUTH_TAILSCALE_…",
        versions: Versions::Read,
        action: "use the gateway's token or password for clients that come through the tap",
        ..identity("gateway.auth.tailscale", ActOn::Client, tailscale)
    },
    Rule {
        title: "The proxy's user is not accepted",
        explanation: "The gateway is in trusted-proxy mode and did not accept who the proxy says it \
                      is: no user in the header, a user who is not in allowUsers, a source that is \
                      loopback without allowLoopback or not trusted.",
        evidence: "details.code AUTH_UNAUTHORIZED with an authReason trusted_proxy_…",
        versions: Versions::Seen,
        action: "check gateway.auth.trustedProxy (userHeader, allowUsers, allowLoopback) against what the proxy sends",
        ..identity("gateway.auth.trusted_proxy", ActOn::Operator, trusted_proxy)
    },
    Rule {
        title: "The gateway wants a login (3000)",
        explanation: "Close 3000 (unauthorized): the credential is missing, wrong or expired.",
        evidence: "a Close 3000 of the gateway",
        versions: Versions::Any,
        action: "give the client a valid credential for this gateway",
        ..identity("gateway.auth.unauthorized", ActOn::Client, unauthorized)
    },
    Rule {
        title: "The gateway wants a verified user",
        explanation: "The gateway asks for a user whose identity was verified, and this client has \
                      none.",
        evidence: "details.code AUTH_VERIFIED_USER_REQUIRED",
        versions: Versions::Read,
        action: "sign in as a user of this gateway, then pair the client again",
        ..identity("gateway.auth.verified_user", ActOn::Client, verified_user)
    },
];

fn found(view: &View<'_>, summary: impl Into<String>) -> Finding {
    Finding::new(Confidence::Certain, summary)
        .because(view.refusal_evidence())
        .because(view.attribution_evidence())
}

fn attribution(view: &View<'_>) -> Option<Finding> {
    view.refused(
        &[],
        &[
            "gateway ingress attribution required",
            "unauthorized: proxy client attribution is required",
        ],
    )?;
    let summary = "the gateway does not trust us to say who the client is";
    Some(found(view, summary).next(view.trust_us()))
}

fn by_code(view: &View<'_>, wanted: u16, what: &str) -> Option<Finding> {
    let (close, code) = view.gateway_close()?;
    if code != Some(wanted) {
        return None;
    }
    let summary = format!("the gateway {what}: it closed with {}", close_words(close));
    Some(
        Finding::new(Confidence::Certain, summary)
            .because(view.both_legs())
            .because(view.credential_evidence()),
    )
}

fn unauthorized(view: &View<'_>) -> Option<Finding> {
    by_code(view, 3000, "wants a valid credential")
}

fn forbidden(view: &View<'_>) -> Option<Finding> {
    by_code(view, 3003, "forbade it")
}

fn identity_header(view: &View<'_>) -> Option<Finding> {
    let said = view.refused(&["AUTH_IDENTITY_HEADER_REQUIRED"], &[])?;
    let dropped = view
        .forwarded()
        .filter(|forwarded| forwarded.mode != ForwardedMode::Pass)
        .filter(|_| view.record().client.via.is_none())
        .and_then(|forwarded| {
            forwarded.brought.iter().find(|name| {
                let name = name.as_str().to_ascii_lowercase();
                ["user", "email", "groups"]
                    .iter()
                    .any(|part| name.contains(part))
            })
        });
    let missing = said
        .reason()
        .and_then(|reason| reason.strip_prefix("trusted_proxy_missing_header_"))
        .filter(|name| {
            let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
            !name.is_empty() && name.len() <= 64 && name.bytes().all(plain)
        });
    let finding = match missing {
        Some(name) => {
            let summary =
                format!("the gateway wants the header {name} (trusted-proxy), and it did not come");
            found(view, summary).next(format!(
                "let the identity proxy set {name} on the WebSocket path too: \
                 gateway.auth.trustedProxy.requiredHeaders names it"
            ))
        }
        None => found(
            view,
            "the gateway wants a header that names the user, and none came (trusted-proxy)",
        ),
    };
    Some(match dropped {
        Some(name) => finding
            .because([fact(format!("we dropped {} of the client", short(name)))])
            .next(
                "put the identity proxy's address into trusted_proxies of wstap, so that what it \
                 says of the user is passed on",
            ),
        None => finding,
    })
}

fn access_denied(view: &View<'_>) -> Option<Finding> {
    let said = view.said()?;
    let forbidden = said.error_code() == Some("FORBIDDEN");
    if !forbidden && !said.begins_with(&["Gateway access is no longer active"]) {
        return None;
    }
    let summary = "access to the gateway was withdrawn for this operator or user";
    Some(found(view, summary))
}

fn profile_unavailable(view: &View<'_>) -> Option<Finding> {
    view.refused(&["AUTHENTICATED_PROFILE_UNAVAILABLE"], &[])?;
    let summary = "the gateway could not load the profile of this user";
    Some(found(view, summary))
}

fn refused(view: &View<'_>) -> Option<Finding> {
    let said = view.said()?;
    if !said.begins_with(&["unauthorized"]) && said.code() != Some("AUTH_UNAUTHORIZED") {
        return None;
    }
    // After hello, such a reason says nothing about the login.
    if view.was_open() {
        return None;
    }
    let summary = format!(
        "the gateway refused the client's credential: {}",
        said.words()
    );
    Some(
        Finding::new(Confidence::Likely, summary)
            .because(view.refusal_evidence())
            .because(view.credential_evidence()),
    )
}

fn repeated_calls(view: &View<'_>) -> Option<Finding> {
    let said = view.said()?;
    if !said.begins_with(&["repeated unauthorized calls"]) {
        return None;
    }
    let summary = "the client went on making calls that its role does not allow, and was closed";
    Some(found(view, summary))
}

fn tailscale(view: &View<'_>) -> Option<Finding> {
    let said = view.refused(
        &[
            "AUTH_TAILSCALE_IDENTITY_MISSING",
            "AUTH_TAILSCALE_PROXY_MISSING",
            "AUTH_TAILSCALE_WHOIS_FAILED",
            "AUTH_TAILSCALE_IDENTITY_MISMATCH",
        ],
        &["unauthorized: tailscale"],
    )?;
    let summary = format!(
        "the gateway did not accept the Tailscale identity: {}",
        said.words()
    );
    Some(found(view, summary))
}

fn trusted_proxy(view: &View<'_>) -> Option<Finding> {
    let said = view.said()?;
    let reason = said.reason()?.strip_prefix("trusted_proxy_")?;
    let (why, next) = match reason {
        "user_missing" => (
            "the proxy named no user",
            "let the identity proxy set the header that gateway.auth.trustedProxy.userHeader names",
        ),
        "user_not_allowed" => (
            "the user is not in allowUsers",
            "add the user to gateway.auth.trustedProxy.allowUsers",
        ),
        "loopback_source" => (
            "we come from loopback",
            "set gateway.auth.trustedProxy.allowLoopback to true, if everything on this host may be trusted",
        ),
        "untrusted_source" => ("our address is not trusted", &*view.trust_us()),
        "local_interface_source" => (
            "we come from an address of the gateway's own host",
            "let gateway.url name 127.0.0.1 and set gateway.auth.trustedProxy.allowLoopback to \
             true, or run wstap on another host",
        ),
        "origin_not_allowed" => (
            "the browser's origin is not allowed",
            "add the browser's origin to gateway.controlUi.allowedOrigins",
        ),
        _ => (
            "the gateway did not accept the identity",
            "check gateway.auth.trustedProxy against what the proxy sends",
        ),
    };
    let summary = format!("the gateway refused the proxy's word on who the user is: {why}");
    Some(found(view, summary).next(next))
}

fn verified_user(view: &View<'_>) -> Option<Finding> {
    view.refused(&["AUTH_VERIFIED_USER_REQUIRED"], &[])?;
    Some(found(
        view,
        "the gateway wants a verified user, and the client has none",
    ))
}
