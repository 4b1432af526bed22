//! Requests that were refused for their head, before anything was passed on (RFC 9112, RFC 6455
//! section 4.2.1).

use crate::session::party::{Leg, Party};
use crate::session::record::verdict::ActOn;
use crate::session::record::{Class, Confidence, FirstBytes, HeadFault, RefusedHead};
use crate::verdict::finding::Finding;
use crate::verdict::rule::{Find, Rule, Versions};
use crate::verdict::view::{View, fact};

const fn refused(id: &'static str, find: Find) -> Rule {
    Rule::of(id, Class::ClientFault, Party::Client, ActOn::Client, find)
}

pub(super) const RULES: &[Rule] = &[
    Rule {
        title: "A request that two readers understand in two ways",
        explanation: "The request has two lengths, two Hosts, a whole URL as its target, a line \
                      that continues another or ends with LF alone, or an upgrade announces a \
                      body. One program may read such bytes as one request and the next as two: \
                      that is how requests are smuggled past a proxy. The tap answered 400, closed \
                      the connection, and passed nothing on.",
        evidence: "a request head that the check refused as ambiguous; the evidence names the \
        ambiguous part",
        versions: Versions::Any,
        action: "mend the client (or the proxy in front of it): the ambiguous part is named above; no well-known client sends this",
        ..refused("client.fault.ambiguous", ambiguous)
    },
    Rule {
        title: "A malformed request",
        explanation: "The client's input is not a valid HTTP/1 request; the tap answered 400 and \
                      ended the connection.",
        evidence: "a request head that is not HTTP/1, answered 400",
        versions: Versions::Any,
        action: "check what connects here: it does not speak HTTP/1.1 correctly",
        ..refused("client.fault.malformed", malformed)
    },
    Rule {
        title: "A client wants security headers removed",
        explanation: "The Connection header nominates a header that says who sends the request or \
                      where it goes (Host, Origin, Authorization, Cookie, X-Forwarded-For …). A \
                      proxy that obeys would pass the request on without it. The tap answered 400.",
        evidence: "a Connection header that names a protected header",
        versions: Versions::Any,
        action: "look at who connects here: no browser and no command line tool sends this; if it is a proxy, mend its Connection header",
        ..refused("client.fault.nominated", nominated)
    },
    Rule {
        title: "More than one Origin",
        explanation: "The request carries two Origin headers, or several origins in one. A \
                      browser sends one. The tap answered 400, whatever the list allows.",
        evidence: "two Origin headers, or several origins in one",
        versions: Versions::Any,
        action: "look for a proxy between browser and tap that adds an Origin header, and let it pass the browser's own",
        ..refused("client.fault.origin_list", origin_list)
    },
    Rule {
        title: "No valid WebSocket handshake",
        explanation: "The request asks for a WebSocket and breaks a rule of RFC 6455 section \
                      4.2.1: it must be a GET with HTTP/1.1, version 13 and exactly one key of 16 \
                      bytes. The tap answered 426 for the version and 400 for the rest. When \
                      several clients do it, a proxy in front of the tap changes the handshake.",
        evidence: "an upgrade that breaks RFC 6455 section 4.2.1, answered 400 or 426 by the tap",
        versions: Versions::Any,
        action: "use a client that speaks WebSocket version 13; if it does, look for a proxy between it and the tap that changes Sec-WebSocket headers",
        ..refused("client.fault.upgrade", upgrade)
    },
    Rule {
        title: "An upgrade in HTTP/1.0",
        explanation: "The request asks for a WebSocket in HTTP/1.0, which has no upgrades (RFC 6455 \
                      section 4.1 asks for 1.1). No WebSocket client sends that; nginx does, if \
                      proxy_set_header is set for Upgrade and Connection but proxy_http_version \
                      1.1 is not. The tap answered 400 and passed nothing on.",
        evidence: "an upgrade in HTTP/1.0",
        versions: Versions::Any,
        action: "in the nginx in front of the tap add proxy_http_version 1.1; beside proxy_set_header Upgrade $http_upgrade; other proxies must speak HTTP/1.1 to the tap too",
        act_on: ActOn::Hop,
        ..refused("client.fault.upgrade_http10", upgrade_http10)
    },
];

fn found(view: &View<'_>, refused: &RefusedHead, what: &str) -> Finding {
    let summary = match &view.answer {
        Some(answer) => format!("{what}; it got {}: {}", answer.status, refused.detail),
        None => format!("{what} and left before our answer: {}", refused.detail),
    };
    Finding::new(Confidence::Certain, summary)
        .because([fact(refused.detail.clone())])
        .because(view.end_evidence(Leg::Client))
}

fn one_of<'a>(view: &View<'a>, faults: &[HeadFault]) -> Option<&'a RefusedHead> {
    let refused = view.record().close.refused.as_ref()?;
    faults.contains(&refused.kind).then_some(refused)
}

fn ambiguous(view: &View<'_>) -> Option<Finding> {
    let refused = one_of(
        view,
        &[
            HeadFault::AbsoluteForm,
            HeadFault::BareLf,
            HeadFault::EncodingInvalid,
            HeadFault::HostDuplicate,
            HeadFault::HostMismatch,
            HeadFault::LengthAndEncoding,
            HeadFault::LengthDuplicate,
            HeadFault::ObsFold,
            HeadFault::SpaceBeforeColon,
            HeadFault::UpgradeWithBody,
        ],
    )?;
    Some(found(view, refused, "the client sent an ambiguous request"))
}

fn malformed(view: &View<'_>) -> Option<Finding> {
    let refused = view.record().close.refused.as_ref()?;
    let what = match (refused.kind, view.client.first_bytes) {
        (HeadFault::NotHttp, first) if first != Some(FirstBytes::Http) => {
            "the client sent something that is no HTTP request"
        }
        _ => "the client sent a malformed HTTP request",
    };
    Some(found(view, refused, what))
}

fn nominated(view: &View<'_>) -> Option<Finding> {
    let refused = one_of(view, &[HeadFault::Nominated])?;
    let what = "the client wants a protected header removed";
    Some(found(view, refused, what))
}

fn origin_list(view: &View<'_>) -> Option<Finding> {
    let refused = one_of(view, &[HeadFault::OriginList])?;
    Some(found(view, refused, "the client sent more than one origin"))
}

fn upgrade(view: &View<'_>) -> Option<Finding> {
    let refused = one_of(
        view,
        &[
            HeadFault::UpgradeMethod,
            HeadFault::WebsocketKey,
            HeadFault::WebsocketList,
            HeadFault::WebsocketVersion,
        ],
    )?;
    let what = "the client's WebSocket handshake is not valid";
    Some(found(view, refused, what))
}

fn upgrade_http10(view: &View<'_>) -> Option<Finding> {
    let refused = one_of(view, &[HeadFault::UpgradeHttp10])?;
    let status = view.answer.as_ref().map_or(400, |answer| answer.status);
    let summary = format!(
        "a WebSocket was asked for in HTTP/1.0, most likely by nginx in front of us; it got {status}"
    );
    Some(
        Finding::new(Confidence::Likely, summary)
            .because([fact(refused.detail.clone())])
            .because(view.end_evidence(Leg::Client)),
    )
}
