//! HTTP/2 that goes wrong, or is never used (RFC 9113).

use crate::session::party::{Leg, Party};
use crate::session::record::verdict::ActOn;
use crate::session::record::{Class, Confidence, Evidence, HeadFault, Kind, RefusedHead};
use crate::verdict::finding::Finding;
use crate::verdict::rule::{Find, Rule, Versions};
use crate::verdict::view::{View, fact};

const fn fault(id: &'static str, find: Find) -> Rule {
    Rule::of(id, Class::ClientFault, Party::Client, ActOn::Client, find)
}

pub(super) const RULES: &[Rule] = &[
    Rule {
        title: "Malformed HTTP/2",
        explanation: "The client's bytes on an HTTP/2 connection break RFC 9113: no preface, \
                      frames out of place, a header that only HTTP/1 has, a body of another length \
                      than announced, or an extended CONNECT although http2.websocket is off. \
                      If one request is at fault, its stream was reset or got a 400; if the \
                      connection is, it was ended with GOAWAY. Nothing of it was passed on.",
        evidence: "a request or a connection that was refused as no valid HTTP/2; the evidence names what was wrong",
        versions: Versions::Any,
        action: "look at the client: no browser and no common library sends this; for WebSockets over HTTP/2 set http2.websocket: true",
        ..fault("client.fault.http2", malformed)
    },
    Rule {
        title: "More resets than anybody needs",
        explanation: "On one HTTP/2 connection the client opened requests and reset them before \
                      they were answered, more than a hundred and more than half of all, or it sent \
                      so many malformed ones or so many frames without end that the connection was \
                      ended with GOAWAY ENHANCE_YOUR_CALM. Denial-of-service attacks work in this \
                      way (CVE-2023-44487, \"rapid reset\", and the flood of CONTINUATION \
                      frames), but a broken client can look the same.",
        evidence: "an HTTP/2 connection that the tap ended with ENHANCE_YOUR_CALM",
        versions: Versions::Any,
        action: "look at who connects here; if it goes on, keep the address out with a firewall, or lower limits.per_client",
        ..fault("client.fault.http2_flood", flood)
    },
    Rule {
        title: "HTTP/2 where HTTP/1.1 is spoken",
        explanation: "The client began with the preface of HTTP/2 (\"PRI * HTTP/2.0\") on a plain \
                      listener, or inside TLS without having agreed on h2 by ALPN. The tap speaks \
                      HTTP/2 only where ALPN agreed on it; here it answered 400 in HTTP/1.1 and \
                      ended the connection.",
        evidence: "the preface of HTTP/2 on a connection that speaks HTTP/1.1",
        versions: Versions::Any,
        action: "let the client use HTTP/1.1 here (no \"prior knowledge\"), or connect to the TLS listener and offer h2 in ALPN; a proxy in front of the tap has a switch for HTTP/2 or h2c towards its backend",
        ..fault("client.fault.http2_preface", preface)
    },
    Rule {
        id: "probe.http2",
        class: Class::Probe,
        party: Party::Client,
        act_on: ActOn::Nobody,
        title: "An HTTP/2 connection that was not used",
        explanation: "TLS and the preface of HTTP/2 were exchanged, then the client left without a \
                      request. Browsers open such connections ahead of need.",
        evidence: "an HTTP/2 connection that ended without a request",
        versions: Versions::Any,
        action: "nothing to do",
        find: unused,
    },
];

fn refused<'a>(view: &View<'a>, faults: &[HeadFault]) -> Option<&'a RefusedHead> {
    let refused = view.record().close.refused.as_ref()?;
    faults.contains(&refused.kind).then_some(refused)
}

fn found(view: &View<'_>, refused: &RefusedHead, summary: String) -> Finding {
    Finding::new(Confidence::Certain, summary)
        .because([fact(refused.detail.clone())])
        .because(counted(view))
        .because(view.end_evidence(Leg::Client))
}

/// Counts of the streams on the connection.
fn counted(view: &View<'_>) -> Option<Evidence> {
    let http2 = view.client.http2.as_ref()?;
    let what = [
        (http2.requests, "requests"),
        (http2.cancelled, "reset by the client"),
        (http2.refused, "refused unread"),
    ];
    let what: Vec<_> = what
        .iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, what)| format!("{count} {what}"))
        .collect();
    (!what.is_empty()).then(|| fact(format!("on this HTTP/2 connection: {}", what.join(", "))))
}

fn malformed(view: &View<'_>) -> Option<Finding> {
    let refused = refused(
        view,
        &[
            HeadFault::Http2Connection,
            HeadFault::Http2Field,
            HeadFault::Http2Stream,
        ],
    )?;
    let summary = "the client sent malformed HTTP/2".to_owned();
    Some(found(view, refused, summary))
}

fn flood(view: &View<'_>) -> Option<Finding> {
    let refused = refused(view, &[HeadFault::Http2Flood])?;
    let summary = "the client flooded its HTTP/2 connection, which was ended".to_owned();
    Some(found(view, refused, summary))
}

fn preface(view: &View<'_>) -> Option<Finding> {
    let refused = refused(view, &[HeadFault::Http2Preface])?;
    let summary = format!(
        "the client spoke HTTP/2 to {}, where HTTP/1.1 is spoken",
        view.tap.listener
    );
    Some(found(view, refused, summary))
}

fn unused(view: &View<'_>) -> Option<Finding> {
    let http2 = view.client.http2.as_ref()?;
    let bare = view.kind == Kind::Connection
        && http2.requests == 0
        && http2.refused == 0
        && view.answer.is_none()
        && view.record().close.refused.is_none()
        && view.close.timer.is_none()
        && view.end_of(Leg::Client).is_by_peer()
        && view.fault_of(Leg::Client).is_none();
    if !bare || view.client.bytes_read.unwrap_or(0) == 0 {
        return None;
    }
    let summary = "the client opened an HTTP/2 connection, asked for nothing and left";
    Some(Finding::new(Confidence::Likely, summary).because(view.end_evidence(Leg::Client)))
}
