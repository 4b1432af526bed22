//! Another proxy in the path that is at fault. Which side of us it stands on is said where it is
//! known: a request that comes mangled was mangled in front of us, a foreign answer comes from
//! behind us.

use crate::session::party::{Leg, Party};
use crate::session::record::verdict::ActOn;
use crate::session::record::{AnswerBy, BodyKind, Class, Confidence, TransportEnd};
use crate::verdict::registry::Find;
use crate::verdict::view::{fact, human_ms};
use crate::verdict::{Finding, Rule, Stage, Versions, View};

const fn hop(id: &'static str, stage: Stage, order: u8, find: Find) -> Rule {
    Rule {
        id,
        class: Class::HopFault,
        party: Party::Hop,
        act_on: ActOn::Hop,
        stage,
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
        title: "A proxy behind us cannot reach the gateway",
        explanation: "The upgrade was answered with 502, 503 or 504 in a form that the gateway does \
                      not use: a proxy between tap and gateway answered in its place. The gateway \
                      itself never answers 502 or 504.",
        evidence: "502, 503 or 504 in a form that is not the gateway's",
        versions: Versions::Any,
        action: "look into that proxy's log for its upstream error; check its upstream address and that the gateway runs",
        ..hop("hop.fault.bad_gateway", Stage::Answer, 40, bad_gateway)
    },
    Rule {
        title: "A proxy closed with 1014",
        explanation: "Close 1014 (bad gateway) is sent by proxies whose own connection onwards \
                      failed; no gateway sends it for itself.",
        evidence: "a Close 1014 of the gateway's side",
        versions: Versions::Any,
        action: "look into the log of the proxy between tap and gateway at this time",
        ..hop("hop.fault.close_1014", Stage::Close, 20, close_1014)
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
        ..hop(
            "hop.fault.foreign_answer",
            Stage::Answer,
            50,
            foreign_answer,
        )
    },
    Rule {
        title: "A proxy answered a plain request in the gateway's place",
        explanation: "A request that is not an upgrade was answered with 502, 503 or 504 by a \
                      server that names itself and is not the gateway.",
        evidence: "502, 503 or 504 to a plain request from a server that names itself",
        versions: Versions::Any,
        action: "look into that proxy's log for its upstream error",
        ..hop("hop.fault.http_answer", Stage::Answer, 40, http_answer)
    },
    Rule {
        title: "Cut at a usual idle limit",
        explanation: "A leg ended without a Close just when nothing had moved for a time that is \
                      the idle limit of well-known proxies and load balancers (30, 60, 100, 180, \
                      300, 350 or 3600 s). One session does not prove it; several with the same \
                      pause do.",
        evidence: "a leg lost without a Close after a silence that is the default of well-known proxies",
        versions: Versions::Any,
        action: "raise the idle or read timeout of the proxy on that side above the pause shown, or let an end send pings more often",
        ..hop("hop.fault.idle_cut", Stage::Transport, 50, idle_cut)
    },
    Rule {
        title: "A login stands before the gateway",
        explanation: "The upgrade was answered with 401 or 403 and WWW-Authenticate, or with \
                      another server's page: Basic auth or a single sign-on in front of the \
                      gateway. Browsers show scripts only 1006 for that. The gateway itself never \
                      refuses its main WebSocket path in that way.",
        evidence: "401 or 403 with WWW-Authenticate, or with another server's page",
        versions: Versions::Any,
        action: "exempt the WebSocket path from that login, or give the client the credential that it asks for",
        ..hop("hop.fault.login", Stage::Answer, 35, login)
    },
    Rule {
        title: "The upgrade was redirected",
        explanation: "The upgrade was answered with a redirect. WebSocket clients do not follow \
                      redirects, and the gateway sends none: a hop wants https, another host or a \
                      login.",
        evidence: "a status from 301 to 308 in answer to an upgrade",
        versions: Versions::Any,
        action: "use the URL that the Location header names, or exempt the WebSocket path from the redirect",
        ..hop("hop.fault.redirect", Stage::Answer, 35, redirect)
    },
    Rule {
        title: "A proxy in front of us stripped the upgrade",
        explanation: "The request carries Sec-WebSocket-Key but not `Upgrade: websocket` with \
                      `Connection: Upgrade`: a proxy between client and tap dropped these \
                      hop-by-hop headers. The gateway then takes it for a page request; its Control \
                      UI answers 200.",
        evidence: "a Sec-WebSocket-Key without Upgrade: websocket or Connection: Upgrade",
        versions: Versions::Any,
        action: "let the proxy in front pass upgrades (nginx: proxy_http_version 1.1; proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection \"upgrade\";)",
        ..hop(
            "hop.fault.upgrade_stripped",
            Stage::Answer,
            10,
            upgrade_stripped,
        )
    },
    Rule {
        title: "A proxy behind us stripped the upgrade",
        explanation: "The upgrade left us whole and the gateway's Control UI page came back with \
                      200: a proxy between tap and gateway dropped Upgrade and Connection, so the \
                      gateway took the request for one of a page.",
        evidence: "200 with the Control UI's page to an upgrade that left us whole",
        versions: Versions::Seen,
        action: "let the proxy between tap and gateway pass upgrades, or point gateway.url at the gateway itself",
        ..hop(
            "hop.fault.upgrade_stripped_behind",
            Stage::Answer,
            20,
            upgrade_stripped_behind,
        )
    },
];

/// The status of an answer other than a 101 that was passed on to an upgrade.
fn refusal(view: &View<'_>) -> Option<u16> {
    let by_gateway = view
        .answer
        .as_ref()
        .is_none_or(|answer| answer.by == AnswerBy::Gateway);
    let fits = view.is_websocket() && !view.had_tunnel() && by_gateway;
    view.status().filter(|status| fits && *status != 101)
}

/// The body is in a form that the gateway uses.
fn is_gateways(view: &View<'_>) -> bool {
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
    )
}

fn found(view: &View<'_>, confidence: Confidence, summary: String) -> Finding {
    Finding::new(confidence, summary).because(view.answer_evidence())
}

/// `Caddy` or `another server`.
fn who(view: &View<'_>) -> &'static str {
    view.foreign_server().unwrap_or("another server")
}

fn bad_gateway(view: &View<'_>) -> Option<Finding> {
    let status = refusal(view).filter(|_| !is_gateways(view))?;
    let marked = view.foreign_server().is_some();
    let page = view.body_kind() == Some(BodyKind::Html);
    // A 503 without marks may be the gateway's own: its upgrade handler failed.
    if !(matches!(status, 502 | 504) || status == 503 && (marked || page)) {
        return None;
    }
    let confidence = if marked {
        Confidence::Certain
    } else {
        Confidence::Likely
    };
    let summary = format!(
        "{} between us and the gateway answered {status}: it cannot reach it",
        who(view)
    );
    Some(found(view, confidence, summary))
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
    let status = refusal(view).filter(|_| !is_gateways(view))?;
    let marked = view.foreign_server().is_some();
    // The gateway's own WebSocket library answers a malformed handshake with a little HTML.
    let own_html = status == 400 && view.answers_with_header("sec-websocket-version");
    let page = view.body_kind() == Some(BodyKind::Html) && !own_html;
    // What the gateway says to an upgrade is known; with another dialect it may be anything.
    let body = matches!(
        view.body_kind(),
        Some(BodyKind::Json | BodyKind::Text | BodyKind::Other)
    );
    let other_body = body && view.expects_openclaw();
    if !marked && !page && !other_body {
        return None;
    }
    let confidence = match (marked, page) {
        (true, _) => Confidence::Certain,
        (false, true) => Confidence::Likely,
        (false, false) => Confidence::Possible,
    };
    let summary = format!(
        "{} answered the upgrade with {status} in the gateway's place",
        who(view)
    );
    Some(found(view, confidence, summary))
}

fn http_answer(view: &View<'_>) -> Option<Finding> {
    let status = view.status().filter(|status| matches!(status, 502..=504))?;
    if !view.is_http() || is_gateways(view) {
        return None;
    }
    let server = view.foreign_server()?;
    let summary = format!("{server} behind us answered a plain request with {status}");
    Some(found(view, Confidence::Certain, summary))
}

fn idle_cut(view: &View<'_>) -> Option<Finding> {
    const PERIODS: [f64; 7] = [30.0, 60.0, 100.0, 180.0, 300.0, 350.0, 3600.0];
    let leg = [Leg::Client, Leg::Gateway]
        .into_iter()
        .find(|leg| view.left(*leg))?;
    let ended = matches!(
        view.end_of(leg),
        TransportEnd::Fin | TransportEnd::TlsClose | TransportEnd::TlsTruncated | TransportEnd::Rst
    );
    if !view.was_open() || !ended {
        return None;
    }
    let quiet = view.quiet_ms()?;
    let period = PERIODS.into_iter().find(|period| {
        let late = quiet / 1000.0 - period;
        (-0.1..=(period * 0.01).max(0.5)).contains(&late)
    })?;
    let side = match leg {
        Leg::Client => "the client's side",
        Leg::Gateway => "the gateway's side",
    };
    let summary = format!(
        "{side} was cut after {} of silence: {period:.0} s is a usual idle limit of proxies",
        human_ms(quiet)
    );
    let pause = fact(format!(
        "nothing had moved for {} before the end",
        human_ms(quiet)
    ));
    Some(
        Finding::new(Confidence::Possible, summary)
            .because(view.both_legs())
            .because([pause]),
    )
}

fn login(view: &View<'_>) -> Option<Finding> {
    let status = refusal(view).filter(|status| matches!(status, 401 | 403 | 407))?;
    let asks = view.answers_with_header("www-authenticate")
        || view.answers_with_header("proxy-authenticate");
    let page = view.body_kind() == Some(BodyKind::Html);
    let marked = view.foreign_server().is_some();
    if is_gateways(view) || !(asks || page || marked) {
        return None;
    }
    let confidence = if marked {
        Confidence::Certain
    } else {
        Confidence::Likely
    };
    let summary = format!(
        "{} asks for a login of its own before the gateway ({status})",
        who(view)
    );
    Some(found(view, confidence, summary))
}

fn redirect(view: &View<'_>) -> Option<Finding> {
    let status = refusal(view).filter(|status| (300..400).contains(status))?;
    let summary = format!(
        "{} redirected the upgrade ({status}); the gateway never does",
        who(view)
    );
    Some(found(view, Confidence::Likely, summary))
}

fn upgrade_stripped(view: &View<'_>) -> Option<Finding> {
    let request = view.request.as_ref()?;
    if !view.is_websocket() || !request.has_websocket_key || request.wants_upgrade {
        return None;
    }
    let summary = "a proxy between client and tap stripped Upgrade from a WebSocket request";
    let seen = fact("the request carries Sec-WebSocket-Key and does not ask for an upgrade");
    let hops: Vec<_> = request
        .headers
        .iter()
        .filter(|header| {
            let name = header.name.as_str().to_ascii_lowercase();
            name == "via" || name == "forwarded" || name.starts_with("x-forwarded")
        })
        .map(|header| fact(format!("it came with the header {}", header.name)))
        .collect();
    Some(
        found(view, Confidence::Certain, summary.to_owned())
            .because([seen])
            .because(hops),
    )
}

fn upgrade_stripped_behind(view: &View<'_>) -> Option<Finding> {
    refusal(view)?;
    if view.body_kind() != Some(BodyKind::ControlUi) {
        return None;
    }
    let summary =
        "a proxy between us and the gateway stripped Upgrade: the Control UI page came back";
    Some(found(view, Confidence::Certain, summary.to_owned()))
}
