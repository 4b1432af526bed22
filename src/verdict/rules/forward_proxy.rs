//! A probe asked the proxy of its environment (`HTTPS_PROXY`) for a connection to the gateway: CONNECT, RFC 9110
//! section 9.3.6.

use super::hop::hop;
use crate::session::record::{Confidence, Evidence, GatewayErrorKind};
use crate::verdict::finding::Finding;
use crate::verdict::rule::Rule;
use crate::verdict::view::{View, fact, quoted};

pub(super) const RULES: &[Rule] = &[
    Rule {
        title: "The proxy for outgoing connections requires authentication",
        explanation: "The proxy for outgoing connections that an environment variable names answered CONNECT with 407. \
                      Programs that use it never reach the gateway: the gateway does not see the attempt, and its token \
                      is not involved.",
        evidence: "407 in answer to CONNECT, sent by a probe to the proxy that its environment names",
        action: "give the proxy's user and password in the variable's URL, or put the gateway's host into NO_PROXY; the gateway's token is not involved",
        ..hop("hop.fault.proxy_login", login)
    },
    Rule {
        title: "The proxy for outgoing connections refuses the gateway",
        explanation: "The proxy for outgoing connections that an environment variable names refused CONNECT: because of \
                      its rules (403, 405; by default Squid allows CONNECT to port 443 only), or because it cannot \
                      reach the gateway itself (502, 503, 504).",
        evidence: "a status other than 2xx and 407 in answer to CONNECT, sent by a probe to the proxy that its environment names",
        action: "let the proxy connect to the gateway's port, or put the gateway's host into NO_PROXY",
        ..hop("hop.fault.proxy_refused", refused)
    },
    Rule {
        title: "The proxy for outgoing connections does not answer",
        explanation: "An environment variable names a proxy for outgoing connections, and no valid answer to CONNECT \
                      comes from there: nothing accepts connections there, or what accepts them does not speak HTTP.",
        evidence: "no answer to CONNECT, sent by a probe to the proxy that its environment names",
        action: "correct the variable, start the proxy, or put the gateway's host into NO_PROXY",
        ..hop("hop.fault.proxy_unreachable", unreachable)
    },
    Rule {
        title: "The proxy for outgoing connections has not answered yet",
        explanation: "The proxy for outgoing connections that an environment variable names accepted the connection and \
                      did not answer CONNECT while the probe waited. Proxies answer when they have connected to the \
                      gateway or given up, which can take a minute.",
        evidence: "no answer to CONNECT on a connection to the proxy that was made",
        action: "find out whether the proxy can reach the gateway's port (its log, or `wstap probe` on its host), or, if the gateway can be reached without it, put its host into NO_PROXY (or unset OPENCLAW_PROXY_URL, which ignores NO_PROXY)",
        ..hop("hop.fault.proxy_silent", silent)
    },
];

/// The proxy and where it was to connect to. With HTTP/2, CONNECT is a client's upgrade; with HTTP/1.1 nobody else's
/// record has both this method and a gateway.
fn asked<'a>(view: &View<'a>) -> Option<(&'a str, &'a str)> {
    let record = view.record();
    let request = record.request.as_ref()?;
    let is_ours = request.method == "CONNECT" && request.http_version == "HTTP/1.1";
    let proxy = record.gateway.as_ref()?.url.as_str();
    is_ours.then(|| (proxy, request.path.as_str()))
}

fn status(view: &View<'_>) -> Option<u16> {
    view.record().gateway.as_ref()?.status
}

/// Headers that show who sent the answer.
fn headers(view: &View<'_>) -> Vec<Evidence> {
    let gateway = view.record().gateway.as_ref();
    let lines = gateway.map_or(&[][..], |gateway| &gateway.response_headers);
    let shown = lines.iter().filter_map(|line| {
        let value = line.value.as_ref()?;
        Some(fact(format!(
            "its {} is {}",
            line.name.as_str(),
            quoted(value)
        )))
    });
    shown.collect()
}

fn login(view: &View<'_>) -> Option<Finding> {
    let (proxy, to) = asked(view)?;
    if status(view)? != 407 {
        return None;
    }
    let request = view.record().request.as_ref()?;
    let sent = !request.headers.is_empty();
    let (summary, credentials) = if sent {
        let summary = format!(
            "the proxy {proxy} does not accept the user and password that the environment has for it (407)"
        );
        (
            summary,
            "correct the user and password in that variable's URL",
        )
    } else {
        let summary =
            format!("the proxy {proxy} wants a user and password before it connects to {to} (407)");
        (
            summary,
            "give the proxy's user and password in that variable's URL",
        )
    };
    let answer = fact(format!("the proxy answered CONNECT {to} with 407"));
    let next = format!(
        "{credentials}, or, if the gateway can be reached without the proxy, put its host into NO_PROXY (or unset OPENCLAW_PROXY_URL, which ignores NO_PROXY); the gateway's \
         token is not involved"
    );
    Some(
        Finding::new(Confidence::Certain, summary)
            .because([answer])
            .because(headers(view))
            .next(next),
    )
}

fn refused(view: &View<'_>) -> Option<Finding> {
    let (proxy, to) = asked(view)?;
    let status = status(view).filter(|status| *status != 407 && !(200..300).contains(status))?;
    let cannot = matches!(status, 502..=504);
    let summary = if cannot {
        format!("the proxy {proxy} does not reach {to} ({status})")
    } else {
        format!("the proxy {proxy} refuses to connect to {to} ({status})")
    };
    let answer = fact(format!("the proxy answered CONNECT {to} with {status}"));
    let next = if cannot {
        "if the gateway can be reached without the proxy, put its host into NO_PROXY (or unset OPENCLAW_PROXY_URL, which ignores NO_PROXY); else find out why the proxy does not \
         reach it"
    } else {
        "if the gateway can be reached without the proxy, put its host into NO_PROXY (or unset OPENCLAW_PROXY_URL, which ignores NO_PROXY); else let the proxy's rules allow \
         CONNECT to the gateway's port"
    };
    Some(
        Finding::new(Confidence::Certain, summary)
            .because([answer])
            .because(headers(view))
            .next(next),
    )
}

fn unreachable(view: &View<'_>) -> Option<Finding> {
    let (proxy, to) = asked(view)?;
    let error = view.record().gateway.as_ref()?.error.as_ref()?;
    if error.kind == GatewayErrorKind::UpgradeTimeout {
        return None;
    }
    let summary = format!("the proxy {proxy} does not answer");
    let answer = fact(format!(
        "the probe tried to send CONNECT {to}: {}",
        error.detail
    ));
    let next = "correct the variable or start the proxy, or, if the gateway can be reached without it, put its host into NO_PROXY (or unset OPENCLAW_PROXY_URL, which ignores NO_PROXY)";
    Some(
        Finding::new(Confidence::Certain, summary)
            .because([answer])
            .next(next),
    )
}

fn silent(view: &View<'_>) -> Option<Finding> {
    let (proxy, to) = asked(view)?;
    let error = view.record().gateway.as_ref()?.error.as_ref()?;
    if error.kind != GatewayErrorKind::UpgradeTimeout {
        return None;
    }
    let summary = format!(
        "the proxy {proxy} has not answered CONNECT {to}: it may be waiting for the gateway"
    );
    let answer = fact(format!(
        "the connection to the proxy was made; {}",
        error.detail
    ));
    Some(Finding::new(Confidence::Possible, summary).because([answer]))
}
