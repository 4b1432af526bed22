//! Client certificates that are missing or not good, where a listener asks for them, and requests
//! that come on a connection which was opened for another name.

use crate::session::party::Party;
use crate::session::record::verdict::ActOn;
use crate::session::record::{Class, ClientTls, Confidence, DeniedKey, SniMatch, TlsFailureKind};
use crate::session::text::PeerText;
use crate::verdict::finding::Finding;
use crate::verdict::rule::{Find, Rule, Versions};
use crate::verdict::view::{View, fact, short};

const fn certificate(id: &'static str, find: Find) -> Rule {
    Rule::of(id, Class::ClientFault, Party::Tap, ActOn::Client, find)
}

pub(super) const RULES: &[Rule] = &[
    Rule {
        title: "The client's certificate has expired",
        explanation: "The listener asks for client certificates, and the one that the client showed \
                      is past its end by the clock of this host. Every new connection is checked; \
                      sessions that were open when it ended go on.",
        evidence: "a TLS handshake that we ended because of an expired client certificate",
        versions: Versions::Any,
        action: "renew the client's certificate; if its dates look right, compare the clocks",
        ..certificate("client.fault.certificate_expired", expired)
    },
    Rule {
        title: "The client's certificate is not good",
        explanation: "The listener asks for client certificates, and the one that the client showed \
                      cannot be used for that: it is not valid yet, it is for servers only \
                      (extended key usage), a signature is wrong, or it cannot be read. The \
                      evidence says which.",
        evidence: "a TLS handshake that we ended because of a client certificate, neither expired nor revoked nor of an unknown CA",
        versions: Versions::Any,
        action: "give the client a certificate for client authentication (extended key usage clientAuth), signed by a CA in listeners[].tls.client_auth.ca",
        ..certificate("client.fault.certificate_invalid", invalid)
    },
    Rule {
        title: "The client showed no certificate",
        explanation: "The listener requires client certificates (listeners[].tls.client_auth), and \
                      the client sent none. In TLS 1.3 the client considers the handshake complete \
                      before it learns of the refusal: it reports a connection that was reset or \
                      closed, or the alert certificate_required.",
        evidence: "a TLS handshake that we ended because the client sent no certificate",
        versions: Versions::Any,
        action: "give the client a certificate signed by a CA in listeners[].tls.client_auth.ca; or set client_auth.mode: optional to let clients in without",
        ..certificate("client.fault.certificate_missing", missing)
    },
    Rule {
        title: "The client's certificate is revoked",
        explanation: "The certificate that the client showed is on a revocation list in \
                      listeners[].tls.client_auth.crl, or its CA has no list there: once \
                      revocation lists are configured, every CA that signs client certificates \
                      needs one.",
        evidence: "a TLS handshake that we ended because of a revoked client certificate, or one whose CA has no revocation list",
        versions: Versions::Any,
        action: "give the client a new certificate; if it was not revoked, put the revocation list of its CA into listeners[].tls.client_auth.crl",
        ..certificate("client.fault.certificate_revoked", revoked)
    },
    Rule {
        title: "The client's certificate is of an unknown CA",
        explanation: "The certificate that the client showed is signed by none of the CAs in \
                      listeners[].tls.client_auth.ca. A missing intermediate certificate looks the \
                      same: the client has to send it along.",
        evidence: "a TLS handshake that we ended because of a client certificate of an unknown CA",
        versions: Versions::Any,
        action: "use a client certificate of a CA in listeners[].tls.client_auth.ca (and send its intermediates), or add the CA to that file",
        ..certificate("client.fault.certificate_untrusted", untrusted)
    },
    Rule {
        id: "tap.denied.misdirected",
        class: Class::TapDenied,
        party: Party::Tap,
        act_on: ActOn::Client,
        title: "A request for another host than TLS asked for",
        explanation: "TLS asked for one name (SNI) and the request's Host is another one, for which \
                      another certificate of the listener is, or client certificates are required: \
                      what was shown and verified was meant for the first name. The tap answered \
                      421, at which browsers try again on a connection of its own. Another proxy in \
                      front of the tap does this when it sends a fixed server name.",
        evidence: "our 421, with the name that TLS asked for and the request's Host",
        versions: Versions::Any,
        action: "let the client use one name for both; a proxy in front has to send the request's host as server name (nginx: proxy_ssl_server_name on; proxy_ssl_name $host;)",
        find: misdirected,
    },
];

/// The handshake, if it failed for one of these reasons.
fn failed<'a>(view: &View<'a>, kinds: &[TlsFailureKind]) -> Option<&'a ClientTls> {
    let tls = view.record().client.tls.as_ref()?;
    let kind = tls.failure.as_ref()?.kind?;
    kinds.contains(&kind).then_some(tls)
}

fn finding(tls: &ClientTls, summary: &str) -> Finding {
    let mut facts = Vec::new();
    if let Some(cert) = &tls.client_cert {
        facts.push(fact(format!(
            "it showed the certificate of {}, issued by {}, sha256 {}",
            named(&cert.subject),
            named(&cert.issuer),
            cert.sha256
        )));
        if let (Some(from), Some(to)) = (cert.not_before, cert.not_after) {
            facts.push(fact(format!(
                "that one is valid from {:.0} to {:.0}",
                from.0, to.0
            )));
        }
    }
    if let (Some(name), Some(SniMatch::Default)) = (&tls.sni, tls.sni_match) {
        facts.push(fact(format!(
            "it asked for the name {}, which none of our certificates carries either",
            short(name)
        )));
    }
    if let Some(failure) = &tls.failure {
        facts.push(fact(failure.detail.clone()));
    }
    Finding::new(Confidence::Certain, summary).because(facts)
}

fn named(name: &PeerText) -> String {
    if name.is_empty() {
        "nobody".to_owned()
    } else {
        short(name)
    }
}

fn expired(view: &View<'_>) -> Option<Finding> {
    let tls = failed(view, &[TlsFailureKind::ClientCertExpired])?;
    Some(finding(tls, "the client's certificate has expired"))
}

fn invalid(view: &View<'_>) -> Option<Finding> {
    let early = failed(view, &[TlsFailureKind::ClientCertNotYetValid]);
    if let Some(tls) = early {
        let finding = finding(tls, "the client's certificate is not valid yet");
        return Some(finding.next("compare the clocks of both hosts, or wait until it is valid"));
    }
    let tls = failed(view, &[TlsFailureKind::ClientCertInvalid])?;
    Some(finding(
        tls,
        "the client's certificate cannot be used to show who it is",
    ))
}

fn missing(view: &View<'_>) -> Option<Finding> {
    let tls = failed(view, &[TlsFailureKind::ClientCertMissing])?;
    let summary = "the client showed no certificate, and the listener requires one";
    Some(finding(tls, summary))
}

fn revoked(view: &View<'_>) -> Option<Finding> {
    if let Some(tls) = failed(view, &[TlsFailureKind::ClientCertRevoked]) {
        return Some(finding(tls, "the client's certificate is revoked"));
    }
    let tls = failed(view, &[TlsFailureKind::ClientCertRevocationUnknown])?;
    let summary = "there is no revocation list of the CA of the client's certificate";
    let next = "put the revocation list of its CA into listeners[].tls.client_auth.crl";
    Some(finding(tls, summary).next(next))
}

fn untrusted(view: &View<'_>) -> Option<Finding> {
    let tls = failed(view, &[TlsFailureKind::ClientCertUnknownCa])?;
    let summary = "the client's certificate is signed by no CA that the listener trusts";
    Some(finding(tls, summary))
}

fn misdirected(view: &View<'_>) -> Option<Finding> {
    let denied = view.record().close.denied.as_ref()?;
    if denied.key != DeniedKey::ListenerTls {
        return None;
    }
    let summary = "the request came on a connection that was opened for another host";
    Some(Finding::new(Confidence::Certain, summary).because([fact(denied.detail.clone())]))
}
