//! Clients that rejected our certificate: they sent an alert (RFC 8446 section 6.2), or left right
//! after TLS, as clients do that verify the certificate only after the handshake.

use crate::session::party::{Leg, Party, Phase};
use crate::session::record::verdict::ActOn;
use crate::session::record::{
    Class, ClientTls, Confidence, Kind, SelfMade, SelfMadeKind, SniMatch, TlsAlert,
};
use crate::session::text::PeerText;
use crate::verdict::finding::Finding;
use crate::verdict::rule::{Find, Rule, Versions};
use crate::verdict::view::{View, fact, short};
use crate::verdict::visits::Visitor;

const fn certificate(id: &'static str, find: Find) -> Rule {
    Rule::of(id, Class::TapCertificate, Party::Client, ActOn::Tap, find)
}

/// The name itself is left out: a client must not choose text that people paste.
const OTHER_NAME: &str = "give the listener a certificate for the name in the client's URL, or let the \
     client use a name that the certificates carry (both are named above)";

pub(super) const RULES: &[Rule] = &[
    Rule {
        title: "The client rejects our certificate as expired",
        explanation: "The client sent the TLS alert certificate_expired: our certificate is past \
                      its end (or not valid yet), or the client's clock is wrong.",
        evidence: "the TLS alert certificate_expired of the client",
        versions: Versions::Any,
        action: "renew the listener's certificate (`wstap check` shows its dates), or set the client's clock",
        ..certificate("tap.certificate.expired", expired)
    },
    Rule {
        title: "No certificate of ours carries the client's name",
        explanation: "The client asked for a server name that none of the listener's certificates \
                      carries, was shown the default one, completed TLS and left without a request. \
                      Node, and so the OpenClaw CLI, and curl compare the name only then and send no \
                      alert; they say \"Hostname/IP does not match certificate's altnames\" or the \
                      like. A health check that asks for such a name looks the same until its \
                      connections come at even intervals; then it is probe.tls, as is a client \
                      that sends requests under this name nevertheless.",
        evidence: "a completed TLS handshake for a name that no certificate of ours carries, no byte of a request, and neither even intervals nor a request of that address under this name",
        versions: Versions::Any,
        action: OTHER_NAME,
        ..certificate("tap.certificate.name", name)
    },
    Rule {
        title: "The client refused our certificate",
        explanation: "The client sent a TLS alert about our certificate (bad_certificate or \
                      certificate_unknown). Clients send these for a wrong name, for a CA they do \
                      not trust and for a pinned fingerprint that differs; the client's own error \
                      says which.",
        evidence: "the TLS alert bad_certificate or certificate_unknown of the client",
        versions: Versions::Any,
        action: "read the client's TLS error; use a name that the certificate carries, and let the client trust its CA",
        ..certificate("tap.certificate.refused", refused)
    },
    Rule {
        title: "The client rejects our certificate as revoked",
        explanation: "The client sent the TLS alert certificate_revoked.",
        evidence: "the TLS alert certificate_revoked of the client",
        versions: Versions::Any,
        action: "replace the listener's certificate",
        ..certificate("tap.certificate.revoked", revoked)
    },
    Rule {
        title: "The client does not trust our certificate's CA",
        explanation: "The client sent the TLS alert unknown_ca: it does not trust whoever signed our \
                      certificate. With the development certificate that is normal until dev-ca.pem \
                      is installed.",
        evidence: "the TLS alert unknown_ca of the client",
        versions: Versions::Any,
        action: "let the client trust the CA that signed the listener's certificate: with NODE_EXTRA_CA_CERTS for Node and the OpenClaw CLI, by an import for a browser",
        ..certificate("tap.certificate.unknown_ca", unknown_ca)
    },
    Rule {
        title: "A client left right after it saw our own certificate",
        explanation: "The client was shown our certificate and left without an alert and without a \
                      byte of a request, and the certificate is one that no client trusts by itself: \
                      of the development CA, or self-signed. Node and so the OpenClaw CLI verify when \
                      the handshake is complete for them, and send no alert: they say \"unable to verify the first certificate\", \
                      \"self-signed certificate\" or the like. A health check of TLS looks the same. \
                      It is likely when the same address does it again within ten minutes. It is \
                      probe.tls where a request of that address came through this certificate, before \
                      it or within a second after it, and where its connections come at even \
                      intervals.",
        evidence: "the end of the client's connection after a certificate of the development CA or a self-signed one was shown, no alert, no byte of a request, and neither a request of that address through it nor even intervals",
        versions: Versions::Any,
        action: "let the client trust the certificate (its file is named in the record): with NODE_EXTRA_CA_CERTS for Node and the OpenClaw CLI, by an import for a browser",
        ..certificate("tap.certificate.untrusted", untrusted)
    },
    Rule {
        title: "The client cannot use our certificate",
        explanation: "The client sent the TLS alert unsupported_certificate or \
                      certificate_required: it cannot work with this type of certificate or key.",
        evidence: "the TLS alert unsupported_certificate or certificate_required of the client",
        versions: Versions::Any,
        action: "use a certificate of another key type (ECDSA P-256 or RSA 2048)",
        ..certificate("tap.certificate.unsupported", unsupported)
    },
];

fn alert(
    view: &View<'_>,
    alerts: &[TlsAlert],
    confidence: Confidence,
    summary: &str,
) -> Option<Finding> {
    let tls = view.client.tls.as_ref()?;
    let alert = handshake_alert(view, tls).filter(|alert| alerts.contains(alert))?;
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

/// The alert with which the client ended its handshake. Some clients verify the certificate only
/// after the handshake: an alert in place of the first request counts as well.
fn handshake_alert(view: &View<'_>, tls: &ClientTls) -> Option<TlsAlert> {
    if let Some(failure) = &tls.failure {
        return failure.alert;
    }
    let unused = view.kind == Kind::Connection && view.client.bytes_read == Some(0);
    view.fault_of(Leg::Client).filter(|_| unused)?.alert
}

/// How to make a client trust our certificate.
fn trust(made: &SelfMade) -> String {
    let SelfMade { kind, trust_file } = made;
    let what = match kind {
        SelfMadeKind::Development => "the development CA",
        SelfMadeKind::SelfSigned => "the self-signed certificate",
    };
    format!(
        "let the client trust {what}, {trust_file} on the tap's host (copy it to the client's): \
         `NODE_EXTRA_CA_CERTS={trust_file}` for Node and the OpenClaw CLI, an import for a browser"
    )
}

fn made<'a>(view: &View<'a>) -> Option<&'a SelfMade> {
    view.record().client.tls.as_ref()?.self_made.as_deref()
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
    let alerts = [TlsAlert::CertificateExpired];
    alert(view, &alerts, Confidence::Certain, summary)
}

fn name(view: &View<'_>) -> Option<Finding> {
    let tls = view.client.tls.as_ref()?;
    let unknown = tls.sni_match == Some(SniMatch::Default) && tls.failure.is_none();
    if !unknown || !view.is_bare_connect() || view.phase < Phase::Request {
        return None;
    }
    if view.visitor() != Visitor::Unknown {
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
    let alerts = [
        TlsAlert::BadCertificate,
        TlsAlert::CertificateUnknown,
        TlsAlert::AccessDenied,
    ];
    let summary = "the client refused our certificate (name, CA or pinned fingerprint)";
    let finding = alert(view, &alerts, Confidence::Likely, summary)?;
    Some(match made(view) {
        Some(made) if finding.next.is_empty() => finding.next(format!(
            "read the client's TLS error; if it is about the CA, {}",
            trust(made)
        )),
        _ => finding,
    })
}

fn revoked(view: &View<'_>) -> Option<Finding> {
    let alerts = [
        TlsAlert::CertificateRevoked,
        TlsAlert::BadCertificateStatusResponse,
    ];
    let summary = "the client refused our certificate as revoked";
    alert(view, &alerts, Confidence::Certain, summary)
}

fn unknown_ca(view: &View<'_>) -> Option<Finding> {
    let summary = "the client does not trust the CA of our certificate";
    let finding = alert(view, &[TlsAlert::UnknownCa], Confidence::Certain, summary)?;
    Some(match made(view) {
        Some(made) => finding.next(trust(made)),
        None => finding,
    })
}

fn untrusted(view: &View<'_>) -> Option<Finding> {
    let made = made(view)?;
    if !view.left_at_certificate() || view.visitor() != Visitor::Unknown {
        return None;
    }
    let tls = view.record().client.tls.as_ref()?;
    let whose = match made.kind {
        SelfMadeKind::Development => "of our development CA",
        SelfMadeKind::SelfSigned => "that is self-signed",
    };
    let times = view.times_left_at_certificate();
    let confidence = if times > 1 {
        Confidence::Likely
    } else {
        Confidence::Possible
    };
    let cut = tls
        .failure
        .as_ref()
        .map(|failure| fact(failure.detail.clone()));
    let again = (times > 1).then(|| {
        fact(format!(
            "connections of this address that ended so in ten minutes: {times}"
        ))
    });
    let shown = tls.certificate.as_ref();
    let shown = shown.map(|sha256| fact(format!("we showed the certificate with sha256 {sha256}")));
    let unless = if times > 1 {
        ""
    } else {
        "if the client complains of the certificate, "
    };
    Some(
        Finding::new(
            confidence,
            format!("the client left when it had seen a certificate {whose}: it may not trust it"),
        )
        .because([fact(asked(tls))])
        .because(shown)
        .because(cut)
        .because(again)
        .because(view.end_evidence(Leg::Client))
        .next(format!("{unless}{}", trust(made))),
    )
}

fn unsupported(view: &View<'_>) -> Option<Finding> {
    let alerts = [
        TlsAlert::UnsupportedCertificate,
        TlsAlert::CertificateRequired,
    ];
    let summary = "the client cannot use our type of certificate";
    alert(view, &alerts, Confidence::Likely, summary)
}
