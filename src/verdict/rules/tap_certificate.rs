//! Clients that refused our certificate, told by the alert that they sent (RFC 8446 section 6.2).

use crate::session::party::{Leg, Party, Phase};
use crate::session::record::verdict::ActOn;
use crate::session::record::{Class, ClientTls, Confidence, Kind, SniMatch};
use crate::session::text::PeerText;
use crate::verdict::registry::Find;
use crate::verdict::view::{fact, short};
use crate::verdict::{Finding, Rule, Stage, Versions, View};

const fn certificate(id: &'static str, order: u8, find: Find) -> Rule {
    Rule {
        id,
        class: Class::TapCertificate,
        party: Party::Client,
        act_on: ActOn::Tap,
        stage: Stage::Connection,
        order,
        title: "",
        explanation: "",
        evidence: "",
        versions: Versions::Any,
        action: "",
        find,
    }
}

/// Without the name itself: what is pasted must not be a client's to choose.
const OTHER_NAME: &str = "give the listener a certificate for the name in the client's URL, or let the \
     client use a name that the certificates carry (both are named above)";

pub(super) const RULES: &[Rule] = &[
    Rule {
        title: "The client takes our certificate for expired",
        explanation: "The client sent the TLS alert certificate_expired: our certificate is past \
                      its end (or not valid yet), or the client's clock is wrong.",
        evidence: "the TLS alert certificate_expired of the client",
        versions: Versions::Any,
        action: "renew the listener's certificate (`wstap check` shows its dates), or set the client's clock",
        ..certificate("tap.certificate.expired", 30, expired)
    },
    Rule {
        title: "No certificate of ours carries the client's name",
        explanation: "The client asked for a server name that none of the listener's certificates \
                      carries, was shown the default one, completed TLS and left without a request. \
                      Node, and so the OpenClaw CLI, and curl compare the name only then and send no \
                      alert; they say \"Hostname/IP does not match certificate's altnames\" or the \
                      like. A health check that asks for such a name looks the same.",
        evidence: "a completed TLS handshake for a name that no certificate of ours carries, and no byte of a request",
        versions: Versions::Any,
        action: OTHER_NAME,
        ..certificate("tap.certificate.name", 10, name)
    },
    Rule {
        title: "The client refused our certificate",
        explanation: "The client sent a TLS alert about our certificate (bad_certificate or \
                      certificate_unknown). Clients send these for a wrong name, for a CA they do \
                      not trust and for a pinned fingerprint that differs; which it was stands in \
                      the client's own error.",
        evidence: "the TLS alert bad_certificate or certificate_unknown of the client",
        versions: Versions::Any,
        action: "read the client's TLS error; use a name that the certificate carries, and install dev-ca.pem if it is the development one",
        ..certificate("tap.certificate.refused", 40, refused)
    },
    Rule {
        title: "The client takes our certificate for revoked",
        explanation: "The client sent the TLS alert certificate_revoked.",
        evidence: "the TLS alert certificate_revoked of the client",
        versions: Versions::Any,
        action: "replace the listener's certificate",
        ..certificate("tap.certificate.revoked", 30, revoked)
    },
    Rule {
        title: "The client does not trust our certificate's CA",
        explanation: "The client sent the TLS alert unknown_ca: it does not trust whoever signed our \
                      certificate. With the development certificate that is normal until dev-ca.pem \
                      is installed.",
        evidence: "the TLS alert unknown_ca of the client",
        versions: Versions::Any,
        action: "let the client trust the CA (dev-ca.pem in the tap's state_dir for the development one): NODE_EXTRA_CA_CERTS=FILE for the OpenClaw CLI, an import for a browser",
        ..certificate("tap.certificate.unknown_ca", 30, unknown_ca)
    },
    Rule {
        title: "The client cannot use our certificate",
        explanation: "The client sent the TLS alert unsupported_certificate or \
                      certificate_required: it cannot work with this type of certificate or key.",
        evidence: "the TLS alert unsupported_certificate or certificate_required of the client",
        versions: Versions::Any,
        action: "use a certificate of another key type (ECDSA P-256 or RSA 2048)",
        ..certificate("tap.certificate.unsupported", 30, unsupported)
    },
];

fn alert(
    view: &View<'_>,
    names: &[&str],
    confidence: Confidence,
    summary: &str,
) -> Option<Finding> {
    let tls = view.client.tls.as_ref()?;
    let alert = handshake_alert(view, tls).filter(|alert| names.contains(alert))?;
    let mut facts = vec![
        fact(format!("the client sent the TLS alert {alert}")),
        fact(asked(tls)),
    ];
    facts.extend(
        tls.certificate
            .as_ref()
            .map(|sha256| fact(format!("we showed the certificate with sha256 {sha256}"))),
    );
    let finding = Finding::new(confidence, summary).because(facts);
    Some(if tls.sni_match == Some(SniMatch::Default) {
        finding.next(OTHER_NAME)
    } else {
        finding
    })
}

/// The alert by which the client ended its handshake. Some clients look at the certificate only when
/// TLS has completed: an alert in place of the first request belongs to the handshake too.
fn handshake_alert<'a>(view: &View<'a>, tls: &'a ClientTls) -> Option<&'a str> {
    if let Some(failure) = &tls.failure {
        return failure.alert.as_deref();
    }
    let unused = view.kind == Kind::Connection && view.client.bytes_read == Some(0);
    let fault = view.fault_of(Leg::Client).filter(|_| unused)?;
    fault.alert.as_deref()
}

/// The name that the client asked for, and whether we have it.
fn asked(tls: &ClientTls) -> String {
    let Some(name) = &tls.sni else {
        return "it asked for no server name (an IP address in its URL)".to_owned();
    };
    let name = short(name);
    match tls.sni_match {
        Some(SniMatch::Default) => format!(
            "it asked for the name {name}, which none of our certificates carries; they are for {}",
            our_names(tls)
        ),
        Some(SniMatch::Wildcard) => {
            format!("it asked for the name {name}, which a wildcard of ours covers")
        }
        Some(SniMatch::Exact) | None => format!("it asked for the name {name}"),
    }
}

fn our_names(tls: &ClientTls) -> String {
    if tls.our_names.is_empty() {
        return "no name at all".to_owned();
    }
    let names: Vec<&str> = tls.our_names.iter().map(PeerText::as_str).collect();
    names.join(", ")
}

fn expired(view: &View<'_>) -> Option<Finding> {
    let summary = "the client refused our certificate as expired";
    alert(view, &["certificate_expired"], Confidence::Certain, summary)
}

fn name(view: &View<'_>) -> Option<Finding> {
    let tls = view.client.tls.as_ref()?;
    let unknown = tls.sni_match == Some(SniMatch::Default) && tls.failure.is_none();
    if !unknown || !view.is_bare_connect() || view.phase < Phase::Request {
        return None;
    }
    let summary = "the client completed TLS and left, as it does when the name is wrong";
    Some(
        Finding::new(Confidence::Likely, summary)
            .because([fact(asked(tls))])
            .because(view.end_evidence(Leg::Client)),
    )
}

fn refused(view: &View<'_>) -> Option<Finding> {
    let names = ["bad_certificate", "certificate_unknown", "access_denied"];
    let summary = "the client refused our certificate (name, CA or pinned fingerprint)";
    alert(view, &names, Confidence::Likely, summary)
}

fn revoked(view: &View<'_>) -> Option<Finding> {
    let names = ["certificate_revoked", "bad_certificate_status_response"];
    let summary = "the client refused our certificate as revoked";
    alert(view, &names, Confidence::Certain, summary)
}

fn unknown_ca(view: &View<'_>) -> Option<Finding> {
    let summary = "the client does not trust the CA of our certificate";
    alert(view, &["unknown_ca"], Confidence::Certain, summary)
}

fn unsupported(view: &View<'_>) -> Option<Finding> {
    let names = ["unsupported_certificate", "certificate_required"];
    let summary = "the client cannot use our type of certificate";
    alert(view, &names, Confidence::Likely, summary)
}
