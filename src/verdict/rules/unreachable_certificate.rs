//! The gateway's certificate was refused: one rule a cause.

use super::unreachable::{cause, error};
use crate::session::record::GatewayErrorKind as Kind;
use crate::session::record::verdict::ActOn;
use crate::verdict::finding::Finding;
use crate::verdict::rule::{Rule, Versions};
use crate::verdict::view::View;

pub(super) const RULES: &[Rule] = &[
    Rule {
        title: "The gateway's certificate is out of date",
        explanation: "TLS with the gateway failed because its certificate is expired or not valid \
                      yet, or because the clock of the tap's host is wrong.",
        evidence: "the TLS library's verdict on the gateway's certificate: expired or not yet valid",
        versions: Versions::Any,
        action: "renew the gateway's certificate",
        ..cause(
            "gateway.unreachable.certificate_expired",
            ActOn::Gateway,
            certificate_expired,
        )
    },
    Rule {
        title: "The gateway's certificate is for another name",
        explanation: "TLS with the gateway failed because its certificate does not carry the name \
                      that we dial. The certificate that OpenClaw makes for itself carries no \
                      usable name.",
        evidence: "the TLS library's verdict on the gateway's certificate: not for this name",
        versions: Versions::Any,
        action: "set gateway.tls.server_name to a name that its certificate carries",
        ..cause(
            "gateway.unreachable.certificate_name",
            ActOn::Operator,
            certificate_name,
        )
    },
    Rule {
        title: "The gateway shows a certificate other than the pinned one",
        explanation: "gateway.tls.fingerprint names one certificate, and the gateway shows another: it \
                      was renewed or made again (OpenClaw makes one when its files are gone), or \
                      something else answers in its place.",
        evidence: "a certificate of the gateway whose SHA-256 is not gateway.tls.fingerprint",
        versions: Versions::Any,
        action: "compare its fingerprint with that of the certificate file on the gateway's host (`openssl x509 \
                 -noout -fingerprint -sha256 -in` that file); if they are the same, put it into \
                 gateway.tls.fingerprint (with `wstap attach`: attach again)",
        ..cause(
            "gateway.unreachable.certificate_pin",
            ActOn::Operator,
            certificate_pin,
        )
    },
    Rule {
        title: "The gateway's certificate is not trusted",
        explanation: "TLS with the gateway failed because its certificate is not signed by a CA \
                      that the tap trusts: self-signed, or signed by an internal CA.",
        evidence: "the TLS library's verdict on the gateway's certificate: unknown issuer",
        versions: Versions::Any,
        action: "set gateway.tls.ca to the file of the CA (or of the self-signed certificate) of the gateway",
        ..cause(
            "gateway.unreachable.certificate_untrusted",
            ActOn::Operator,
            certificate_untrusted,
        )
    },
];

fn certificate_expired(view: &View<'_>) -> Option<Finding> {
    let summary = "the gateway's certificate is expired or not valid yet";
    error(view, Kind::CertificateExpired, summary)
}

fn certificate_name(view: &View<'_>) -> Option<Finding> {
    let name = view
        .gateway
        .as_ref()
        .and_then(|gateway| gateway.tls.as_ref())
        .map_or_else(String::new, |tls| {
            format!(" (we expect {})", tls.server_name)
        });
    let summary = format!("the gateway's certificate is for another name{name}");
    error(view, Kind::CertificateName, summary)
}

fn certificate_pin(view: &View<'_>) -> Option<Finding> {
    let summary = "the gateway shows a certificate other than the pinned one";
    error(view, Kind::CertificatePin, summary)
}

fn certificate_untrusted(view: &View<'_>) -> Option<Finding> {
    let summary = "the gateway's certificate is not signed by a CA that we trust";
    error(view, Kind::CertificateUntrusted, summary)
}
