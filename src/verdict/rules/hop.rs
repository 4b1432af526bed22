//! Another proxy in the path is at fault. A rule says on which side of us the proxy is, if that is
//! known: a mangled request was mangled between the client and us, a foreign answer comes from
//! between us and the gateway.

use crate::session::party::Party;
use crate::session::record::verdict::ActOn;
use crate::session::record::{BodyKind, Class, Confidence, TlsWords};
use crate::verdict::finding::Finding;
use crate::verdict::hops::{Need, mend};
use crate::verdict::rule::{Find, Rule, Versions};
use crate::verdict::view::{View, fact, human_bytes};

pub(super) const fn hop(id: &'static str, find: Find) -> Rule {
    Rule::of(id, Class::HopFault, Party::Hop, ActOn::Hop, find)
}

pub(super) const RULES: &[Rule] = &[
    Rule {
        title: "A proxy behind us cannot reach the gateway",
        explanation: "The upgrade was answered with 502, 503 or 504 in a form that the gateway does \
                      not use: a proxy between tap and gateway answered in its place. The gateway \
                      itself never answers 502 or 504.",
        evidence: "502, 503 or 504 in a form that is not the gateway's",
        versions: Versions::Any,
        action: "look into that proxy's log for its upstream error; check its upstream address and that the gateway runs",
        ..hop("hop.fault.bad_gateway", bad_gateway)
    },
    Rule {
        title: "A proxy closed with 1014",
        explanation: "Close 1014 (bad gateway) is sent by proxies whose own connection onwards \
                      failed; no gateway sends it for itself.",
        evidence: "a Close 1014 of the gateway's side",
        versions: Versions::Any,
        action: "look into the log of the proxy between tap and gateway at this time",
        ..hop("hop.fault.close_1014", close_1014)
    },
    Rule {
        title: "Another server answered in the gateway's place",
        explanation: "The answer to the upgrade bears the marks of another server (its Server \
                      header, a header that only it adds, or an HTML page that is not the \
                      gateway's), or with `dialect: openclaw` its body is not one of those that \
                      the gateway refuses an upgrade with. It passed to the client unchanged.",
        evidence: "an answer other than 101 with a Server header, a header or a page of another server, or with a body that an OpenClaw gateway does not send",
        versions: Versions::Any,
        action: "look at that server's routing for this host and path; WebSocket upgrades must reach the gateway",
        ..hop("hop.fault.foreign_answer", foreign_answer)
    },
    Rule {
        title: "A proxy answered a plain request in the gateway's place",
        explanation: "A request that is not an upgrade was answered with 502, 503 or 504 by a \
                      server that names itself and is not the gateway, or with an error page that \
                      another server is known to make.",
        evidence: "502, 503 or 504 to a plain request from a server that names itself",
        versions: Versions::Any,
        action: "look into that proxy's log at this time, and at what it does with this path",
        ..hop("hop.fault.http_answer", http_answer)
    },
    Rule {
        title: "A proxy behind us uses the wrong scheme",
        explanation: "A proxy between tap and gateway speaks plain HTTP to a port that wants TLS, or \
                      TLS to a port that does not: the error page that came back says so in words \
                      that are known of nginx, Apache, Go's servers, Tomcat, Jetty and Envoy. Our own \
                      connection to that proxy was right.",
        evidence: "400 with known words of a TLS port although we speak TLS, or Envoy's 502 or 503 with the TLS error of a plain port",
        versions: Versions::Any,
        action: "use the other scheme in that proxy's upstream (nginx: proxy_pass https://… or http://…; HAProxy: `ssl` on the server line; Envoy: the cluster's transport_socket)",
        ..hop("hop.fault.upstream_scheme", upstream_scheme)
    },
    Rule {
        title: "Too large for a proxy behind us",
        explanation: "A proxy between tap and gateway refused the request for its size: 413, 414 or \
                      431, or 400 with a page of its own for a request with a large head. Cookies, \
                      tokens in headers and long queries make heads large; nginx takes lines of 8 \
                      KiB, HAProxy heads of 15 KiB.",
        evidence: "413, 414 or 431 of another server, or its 400 to a large head",
        versions: Versions::Any,
        action: "let the client send less, or raise that proxy's limit",
        ..hop("hop.fault.too_large", too_large)
    },
    Rule {
        title: "A proxy in front of us stripped the upgrade",
        explanation: "The request carries Sec-WebSocket-Key but not `Upgrade: websocket` with \
                      `Connection: Upgrade`: a proxy between client and tap dropped one of these \
                      hop-by-hop headers, or both. The gateway then takes it for a page request; its Control \
                      UI answers 200.",
        evidence: "a Sec-WebSocket-Key without Upgrade: websocket or Connection: Upgrade",
        versions: Versions::Any,
        action: "let the proxy in front pass upgrades (nginx: proxy_http_version 1.1; proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection \"upgrade\";)",
        ..hop("hop.fault.upgrade_stripped", upgrade_stripped)
    },
    Rule {
        title: "A proxy behind us stripped the upgrade",
        explanation: "The upgrade left us whole and the gateway's Control UI page came back with \
                      200: a proxy between tap and gateway dropped Upgrade and Connection, so the \
                      gateway took the request for one of a page.",
        evidence: "200 with the Control UI's page to an upgrade that left us whole",
        versions: Versions::Seen,
        action: "let the proxy between tap and gateway pass upgrades, or point gateway.url at the gateway itself",
        ..hop("hop.fault.upgrade_stripped_behind", upgrade_stripped_behind)
    },
];

/// The body is in a form that the gateway uses.
pub(super) fn is_gateways(view: &View<'_>) -> bool {
    matches!(
        view.body_kind(),
        Some(
            BodyKind::Attribution
                | BodyKind::AdmissionClosed
                | BodyKind::TooManySockets
                | BodyKind::HandlersUnavailable
                | BodyKind::ServiceUnavailable
                | BodyKind::ControlUi
                | BodyKind::Gateway
        )
    ) || view.library_closes()
}

/// Whether the body is another server's HTML, or a text that the gateway shares with other servers.
fn is_page(view: &View<'_>) -> bool {
    matches!(
        view.body_kind(),
        Some(BodyKind::Html | BodyKind::LibraryClosing)
    )
}

pub(super) fn found(view: &View<'_>, confidence: Confidence, summary: String) -> Finding {
    Finding::new(confidence, summary).because(view.answer_evidence())
}

/// `nginx/1.22.1` or `another server`.
pub(super) fn who<'a>(view: &'a View<'_>) -> &'a str {
    view.foreign_name().unwrap_or("another server")
}

/// A server's own page proves that it answered; a mark in the head may have been added to the
/// answer of a server behind it.
pub(super) fn sure(view: &View<'_>) -> Confidence {
    let page = view.body_kind() == Some(BodyKind::Html);
    if view.foreign_page() || page && view.foreign_server().is_some() {
        Confidence::Certain
    } else {
        Confidence::Likely
    }
}

fn bad_gateway(view: &View<'_>) -> Option<Finding> {
    let status = view.refused_upgrade().filter(|_| !is_gateways(view))?;
    let marked = view.foreign_server().is_some();
    let page = is_page(view);
    // A 503 without marks may be the gateway's own: its upgrade handler failed.
    if !(matches!(status, 502 | 504) || status == 503 && (marked || page)) {
        return None;
    }
    // The gateway itself never answers 502 or 504, so a mark is sufficient there.
    let library = view.body_kind() == Some(BodyKind::LibraryClosing);
    let confidence = if library && status == 503 {
        Confidence::Possible
    } else if marked && status != 503 {
        Confidence::Certain
    } else {
        sure(view)
    };
    let stopping = (library && status == 503).then(|| {
        fact(
            "a gateway before 2026.8 that stops says the same words, in a shorter head: this answer \
             may be its own, passed on by another server",
        )
    });
    let summary = format!(
        "{} between us and the gateway answered {status}: {}",
        who(view),
        match status {
            504 => "the gateway did not answer it in time",
            502 => "it cannot reach it",
            _ => "it cannot reach it, or was told to refuse",
        }
    );
    let mending = mend(view.foreign_server(), Need::Reach);
    Some(
        found(view, confidence, summary)
            .because(stopping)
            .next(mending),
    )
}

fn close_1014(view: &View<'_>) -> Option<Finding> {
    let (_, code) = view.gateway_close()?;
    if code != Some(1014) {
        return None;
    }
    let summary = "a proxy behind us closed with 1014: its own way to the gateway failed";
    Some(Finding::new(Confidence::Certain, summary).because(view.both_legs()))
}

fn foreign_answer(view: &View<'_>) -> Option<Finding> {
    let status = view.refused_upgrade().filter(|_| !is_gateways(view))?;
    let marked = view.foreign_server().is_some();
    // The gateway's own WebSocket library answers a malformed handshake with a little HTML.
    let own_html = status == 400 && view.answers_with_header("sec-websocket-version");
    let page = is_page(view) && !own_html;
    // The gateway's answers to an upgrade are known; with another dialect they may be anything.
    let body = matches!(
        view.body_kind(),
        Some(BodyKind::Json | BodyKind::Text | BodyKind::Other)
    );
    let other_body = body && view.expected().answers_are_known;
    if !marked && !page && !other_body {
        return None;
    }
    let summary = format!(
        "{} answered the upgrade with {status} in the gateway's place",
        who(view)
    );
    let confidence = if marked || page {
        sure(view)
    } else {
        Confidence::Possible
    };
    Some(found(view, confidence, summary))
}

fn http_answer(view: &View<'_>) -> Option<Finding> {
    let status = view.status()?;
    if !view.is_http() || is_gateways(view) {
        return None;
    }
    let upstream = matches!(status, 502..=504);
    if !upstream && !view.foreign_page() {
        return None;
    }
    let server = view.foreign_name()?;
    let summary = format!("{server} behind us answered a plain request with {status}");
    let found = found(view, sure(view), summary);
    Some(if upstream {
        found.next(mend(view.foreign_server(), Need::Reach))
    } else {
        found
    })
}

fn too_large(view: &View<'_>) -> Option<Finding> {
    // The limit of nginx for one line of a head.
    const LARGE: usize = 8 * 1024;
    let status = view.status()?;
    let marked = view.foreign_server().is_some();
    let head = view.head_bytes();
    let says_so = matches!(status, 413 | 414 | 431) && marked;
    let looks_so = status == 400 && view.foreign_page() && head >= LARGE;
    if view.had_tunnel() || is_gateways(view) || !(says_so || looks_so) {
        return None;
    }
    let summary = format!(
        "the request was too large for {} between us and the gateway ({status})",
        who(view)
    );
    let confidence = if says_so {
        sure(view)
    } else {
        Confidence::Likely
    };
    let body = view.answer.as_ref().and_then(|it| it.request_body_bytes);
    let sizes = match body.filter(|_| status == 413) {
        Some(body) => {
            let body = human_bytes(body);
            vec![fact(format!("{body} of its body were passed on"))]
        }
        None => view.head_size_evidence(),
    };
    Some(
        found(view, confidence, summary)
            .because(sizes)
            .next(mend(view.foreign_server(), Need::Size)),
    )
}

fn upstream_scheme(view: &View<'_>) -> Option<Finding> {
    let gateway = view.record().gateway.as_ref()?;
    let (what, mending) = match (gateway.tls_words?, gateway.status?) {
        (TlsWords::PlainToTls, 400) if gateway.tls.is_some() => (
            "speaks plain HTTP to a port that wants TLS",
            "let that proxy use https for its upstream (nginx: proxy_pass https://…; HAProxy: `ssl` on \
             the server line)",
        ),
        (TlsWords::TlsToPlain, 502 | 503) => (
            "speaks TLS to a port that does not",
            "let that proxy use plain HTTP for its upstream (Envoy: no transport_socket on the cluster; \
             nginx: proxy_pass http://…)",
        ),
        _ => return None,
    };
    if view.had_tunnel() {
        return None;
    }
    let summary = format!("{} between us and the gateway {what}", who(view));
    let said = fact("the error page that came back says so");
    Some(
        found(view, Confidence::Likely, summary)
            .because([said])
            .next(mending),
    )
}

fn upgrade_stripped(view: &View<'_>) -> Option<Finding> {
    let request = view.request.as_ref()?;
    if !view.is_websocket() || !request.has_websocket_key || request.wants_upgrade {
        return None;
    }
    let says = |name: &str, word: &str| {
        let mut lines = request.headers.iter();
        lines.any(|header| {
            let value = header.value.as_ref().map_or("", |value| value.as_str());
            header.name.as_str().eq_ignore_ascii_case(name)
                && value.to_ascii_lowercase().contains(word)
        })
    };
    let lost = match (says("upgrade", "websocket"), says("connection", "upgrade")) {
        (false, true) => "Upgrade",
        (true, false) => "Connection: Upgrade",
        _ => "Upgrade and Connection",
    };
    let (nginx, hint) = if view.http_10_in_front() {
        (Some("nginx"), ", most likely nginx,".to_owned())
    } else {
        (None, view.path_hint())
    };
    let summary =
        format!("a proxy between client and tap{hint} stripped {lost} from a WebSocket request");
    let seen = fact("the request carries Sec-WebSocket-Key and does not ask for an upgrade");
    Some(
        found(view, Confidence::Certain, summary)
            .because([seen])
            .because(view.front_evidence())
            .next(mend(nginx, Need::Upgrade)),
    )
}

fn upgrade_stripped_behind(view: &View<'_>) -> Option<Finding> {
    if !view.refused_with(BodyKind::ControlUi) {
        return None;
    }
    let summary = format!(
        "{} between us and the gateway stripped Upgrade: the Control UI page came back",
        view.foreign_name().unwrap_or("a proxy")
    );
    let mending = mend(view.foreign_server(), Need::Upgrade);
    Some(found(view, Confidence::Certain, summary).next(mending))
}
