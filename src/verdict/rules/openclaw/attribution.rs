//! Refusals because of attribution: the gateway's 403, and our own when a remote client would have
//! looked local.

use crate::session::party::Party;
use crate::session::record::gateway::{Acceptance, ForwardedWhy};
use crate::session::record::verdict::ActOn;
use crate::session::record::{BodyKind, Class, Confidence, DeniedKey};
use crate::verdict::finding::Finding;
use crate::verdict::rule::{Find, Rule, Versions};
use crate::verdict::trust::{Disbelief, PassedOn, address};
use crate::verdict::view::{View, fact};

const fn refused(id: &'static str, act_on: ActOn, find: Find) -> Rule {
    Rule::of(id, Class::GatewayRefused, Party::Gateway, act_on, find)
}

pub(super) const RULES: &[Rule] = &[
    Rule {
        title: "The gateway does not trust the headers that say who the client is",
        explanation: "The upgrade carried Forwarded, X-Real-IP, X-Forwarded-* or Tailscale-* and \
                      came from an address that is not in gateway.trustedProxies: the gateway \
                      answers 403 proxy_attribution_required and logs it only once. A gateway on \
                      the tap's own host is never sent remote clients without these headers: it \
                      would take them for local. Changing the list closes every session of the \
                      gateway once (4001).",
        evidence: "403 with the body proxy_attribution_required to a request on which the tap put the headers",
        versions: Versions::Seen,
        action: "add the address that the gateway sees us under to gateway.trustedProxies",
        ..refused("gateway.refused.attribution", ActOn::Gateway, attribution)
    },
    Rule {
        title: "The gateway does not trust a proxy between the tap and it",
        explanation: "The gateway refused attribution headers (403) that we had not sent, or its \
                      answer bears the marks of another server: a proxy between tap and gateway \
                      adds them, and it is what the gateway sees in our place. A local client can \
                      never be local behind such a proxy.",
        evidence: "403 with the body proxy_attribution_required to a request on which we put no headers, or with the marks of another server",
        versions: Versions::Seen,
        action: "point gateway.url at the gateway itself, or let the proxy in between add no attribution headers",
        ..refused("gateway.refused.attribution_behind", ActOn::Hop, behind)
    },
    Rule {
        title: "The gateway finds no client in the headers",
        explanation: "The gateway cannot believe that this is a client: its address is loopback, is \
                      itself in gateway.trustedProxies, or could not be read from what a proxy in \
                      front of the tap sent. That is refused with 403 whether it trusts us or not. \
                      A local client behind a proxy that adds X-Forwarded-For can never be local \
                      to the gateway.",
        evidence: "403 with the body proxy_attribution_required to headers that the client brought",
        versions: Versions::Seen,
        action: "let the proxy in front of the tap write its client's real address, or let the client connect without it",
        ..refused(
            "gateway.refused.attribution_client",
            ActOn::Operator,
            client,
        )
    },
    Rule {
        title: "The gateway does not trust a proxy in front of the tap",
        explanation: "The client came through a proxy on the tap's own host that adds attribution \
                      headers and is not in trusted_proxies. The headers of such a proxy are \
                      passed to a local gateway unchanged, which refuses them with 403 as it would \
                      without the tap.",
        evidence: "403 with the body proxy_attribution_required to headers of a proxy in front of the tap",
        versions: Versions::Seen,
        action: "put the proxy into trusted_proxies of wstap, and our address into gateway.trustedProxies",
        ..refused("gateway.refused.attribution_proxy", ActOn::Operator, proxy)
    },
    Rule {
        id: "tap.denied.remote_as_local",
        class: Class::TapDenied,
        party: Party::Tap,
        act_on: ActOn::Operator,
        title: "A remote client would have looked local",
        explanation: "The connection to the gateway turned out to be one over loopback, although \
                      its URL names another host, and gateway.forwarded lets requests go out \
                      without attribution headers. The gateway would have taken a remote client \
                      for local: paired without approval, never locked out. The same happens if \
                      the gateway sees us under a private address: then it takes a request without \
                      attribution headers for one of a localhost page, if Host and Origin say so. \
                      So nothing was sent.",
        evidence: "our refusal by gateway.forwarded, with the addresses of the connection to the gateway",
        versions: Versions::Any,
        action: "set gateway.forwarded: auto",
        find: remote_as_local,
    },
];

/// The gateway's own 403 to an upgrade.
fn finding(view: &View<'_>, who: Disbelief, sure: Confidence, summary: String) -> Option<Finding> {
    let fits = view.refused_with(BodyKind::Attribution) && view.disbelief() == who;
    fits.then(|| {
        Finding::new(sure, summary)
            .because(view.answer_evidence())
            .because(view.attribution_evidence())
            .next(view.end_disbelief())
    })
}

fn attribution(view: &View<'_>) -> Option<Finding> {
    let checked = view.forwarded().map(|forwarded| forwarded.acceptance);
    let sure = match checked {
        // The gateway may refuse this client instead.
        Some(Acceptance::Unknown) => Confidence::Likely,
        _ => Confidence::Certain,
    };
    let summary = match view.our_address() {
        Some(ip) => format!("the gateway does not trust {ip} (us) to say who the client is (403)"),
        None => "the gateway does not trust us to say who the client is (403)".to_owned(),
    };
    finding(view, Disbelief::Us, sure, summary)
}

fn behind(view: &View<'_>) -> Option<Finding> {
    let proxy = view.foreign_name().unwrap_or("a proxy");
    let summary = format!(
        "the gateway does not trust {proxy} between it and us to say who the client is (403)"
    );
    finding(view, Disbelief::Behind, Confidence::Likely, summary)
}

fn client(view: &View<'_>) -> Option<Finding> {
    let summary = match view.named() {
        // Whether it believes us or not, it never accepts a client on loopback.
        Some(ip) if ip.is_loopback() => format!("the gateway takes no client at {ip} (403)"),
        Some(ip) => format!("the gateway believes us, and takes no client at {ip} (403)"),
        None => "the gateway believes us, and finds no client in what we wrote (403)".to_owned(),
    };
    finding(view, Disbelief::Client, Confidence::Likely, summary).or_else(|| {
        let what = match view.passed_on() {
            PassedOn::Loopback => "says that its client is at loopback, which the gateway refuses",
            _ => "does not say who its client is, and the gateway refuses that",
        };
        let summary = format!("a proxy in front of us {what} (403)");
        finding(view, Disbelief::Nobody, Confidence::Certain, summary)
    })
}

fn proxy(view: &View<'_>) -> Option<Finding> {
    let summary = match address(&view.record().client.addr) {
        Some(ip) => format!(
            "the gateway does not trust the proxy at {ip} in front of us to say who the client is (403)"
        ),
        None => "the gateway does not trust a proxy in front of us (403)".to_owned(),
    };
    finding(view, Disbelief::Proxy, Confidence::Certain, summary)
}

fn remote_as_local(view: &View<'_>) -> Option<Finding> {
    let denied = view.record().close.denied.as_ref()?;
    if denied.key != DeniedKey::RemoteAsLocal {
        return None;
    }
    let page = view
        .gateway
        .as_ref()
        .and_then(|gateway| gateway.forwarded.as_ref())
        .is_some_and(|forwarded| forwarded.why == Some(ForwardedWhy::LocalPage));
    let (summary, next) = if page {
        (
            "refused: a client from elsewhere says that its page is one of localhost, and the \
             gateway would have believed it",
            format!("leave gateway.forwarded at auto, and {}", view.trust_us()),
        )
    } else {
        (
            "refused: the gateway is on this host and would have taken this client for local",
            "set gateway.forwarded: auto, or make gateway.url lead to the other host that it names"
                .to_owned(),
        )
    };
    Some(
        Finding::new(Confidence::Certain, summary)
            .because([fact(denied.detail.clone())])
            .because(view.attribution_evidence())
            .next(next),
    )
}
