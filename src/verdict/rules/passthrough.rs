//! Connections that passed unread: only their transports, and the visible parts of TLS, can be
//! judged.

use crate::session::party::{Leg, Party};
use crate::session::record::verdict::ActOn;
use crate::session::record::{
    Class, Confidence, FirstBytes, LastRecord, PassedAlert, TlsAlert, TransportEnd,
};
use crate::verdict::finding::Finding;
use crate::verdict::passed::Passed;
use crate::verdict::rule::{Find, Rule, Versions};
use crate::verdict::view::{View, human_bytes, human_ms};

/// Clients that give up sooner have changed their mind.
const WAITED_MS: f64 = 2000.0;

/// A little more than the bytes of an alert: if the gateway sent more, its first flight came before
/// the alert.
const FLIGHT: u64 = 100;

const fn unread(
    id: &'static str,
    class: Class,
    (party, act_on): (Party, ActOn),
    find: Find,
) -> Rule {
    Rule::of(id, class, party, act_on, find)
}

pub(super) const RULES: &[Rule] = &[
    Rule {
        title: "The gateway failed in its own TLS",
        explanation: "The tap passed the connection unread. The gateway answered the client's TLS with the alert \
                      internal_error: its TLS failed for a reason of its own, such as a key that it cannot use.",
        evidence: "the alert internal_error of the gateway before any protected record",
        versions: Versions::Any,
        action: "look into the gateway's log at this time for a TLS error",
        ..unread(
            "gateway.fault.passed_tls",
            Class::GatewayFault,
            (Party::Gateway, ActOn::Gateway),
            gateway_fault,
        )
    },
    Rule {
        title: "The gateway refused the client's TLS",
        explanation: "The tap passed the connection unread. The gateway answered the client's TLS with a \
                      fatal alert before there were keys, so that the alert's name can be read. Most often the \
                      gateway has no version, cipher or application protocol in common with this client, or \
                      no certificate for the name that the client asks for.",
        evidence: "a fatal alert of the gateway before any protected record",
        versions: Versions::Any,
        action: "look at what the client's TLS offers, and what the gateway's allows",
        ..unread(
            "client.fault.passed_tls",
            Class::ClientFault,
            (Party::Gateway, ActOn::Client),
            gateway_alert,
        )
    },
    Rule {
        title: "The client spoke plain HTTP to a gateway with TLS",
        explanation: "The tap passed the connection unread. The client began with plain HTTP, and a gateway \
                      that speaks TLS ended the connection: with an alert, or without a byte.",
        evidence: "first bytes of the client that are HTTP, and an end by the gateway",
        versions: Versions::Any,
        action: "use wss:// (or https://) in the client's URL",
        ..unread(
            "client.fault.passed_plain",
            Class::ClientFault,
            (Party::Gateway, ActOn::Client),
            plain,
        )
    },
    Rule {
        title: "The client spoke TLS to a gateway without TLS",
        explanation: "The tap passed the connection unread, as it does with TLS. The gateway answered in plain \
                      HTTP: it does not speak TLS on this port.",
        evidence: "a whole ClientHello, and plain HTTP from the gateway",
        versions: Versions::Any,
        action: "use ws:// (or http://) at the client, or enable TLS at the gateway (gateway.tls.enabled)",
        ..unread(
            "client.fault.passed_to_plain",
            Class::ClientFault,
            (Party::Client, ActOn::Client),
            to_plain,
        )
    },
    Rule {
        title: "The client spoke neither TLS nor HTTP to a gateway with TLS",
        explanation: "The tap passed the connection unread. The client began with something else: another \
                      protocol, a PROXY header that the gateway does not expect, or a scanner's probe.",
        evidence: "first bytes of the client that are neither TLS nor HTTP, and no answer but an alert",
        versions: Versions::Any,
        action: "look at what connects from this address",
        ..unread(
            "client.fault.passed_other",
            Class::ClientFault,
            (Party::Client, ActOn::Client),
            other,
        )
    },
    Rule {
        title: "The client broke off the TLS handshake with the gateway",
        explanation: "The tap passed the connection unread. The client ended the handshake with an alert. \
                      In TLS 1.2 the alert's name can be read; in TLS 1.3 it is encrypted, and the size of \
                      the client's first protected record shows that it is an alert. Most often the client \
                      does not trust the gateway's certificate.",
        evidence: "a fatal alert of the client, or a first protected record of an alert's size",
        versions: Versions::Any,
        action: "look at the client's own error; if it is about the certificate, let the client trust it, or \
                 give the gateway one that the client trusts",
        ..unread(
            "client.closed.passed_tls",
            Class::ClientClosed,
            (Party::Client, ActOn::Client),
            client_alert,
        )
    },
    Rule {
        title: "The client's ClientHello did not come whole",
        explanation: "The tap passed the connection unread. A part of the client's first message came, and not \
                      the rest: the client was stopped, or packets of full size are lost on the way from it. \
                      With post-quantum keys the message takes two packets.",
        evidence: "a part of a ClientHello, and no answer but an alert",
        versions: Versions::Any,
        action: "if it happens again, look for a small MTU between client and gateway \
                 (`ping -M do -s 1472` from the client's host)",
        ..unread(
            "client.left.passed_hello",
            Class::ClientLeft,
            (Party::Client, ActOn::Client),
            hello,
        )
    },
    Rule {
        title: "A bare TCP connect to a gateway with TLS",
        explanation: "The tap passed the connection unread. It ended without a single byte from the client: what \
                      load balancers, container health checks and port scanners do.",
        evidence: "no byte of the client, which ended the connection first",
        versions: Versions::Any,
        action: "nothing to do",
        ..unread(
            "probe.passed",
            Class::Probe,
            (Party::Client, ActOn::Nobody),
            probe,
        )
    },
    Rule {
        title: "TLS was completed with the gateway, and nothing asked for",
        explanation: "The tap passed the connection unread. The client completed TLS 1.3 with the gateway and \
                      left without a request: a health check that looks at the certificate, or a client that \
                      verifies the certificate only then and does not accept it, as Node.js does (and with it the \
                      OpenClaw CLI).",
        evidence: "one protected record of the client beside alerts, and an end by the client",
        versions: Versions::Any,
        action: "nothing to do, unless a client complains of the gateway's certificate: then let it trust that, or \
                 correct its pin (gateway.remote.tlsFingerprint)",
        ..unread(
            "probe.passed_tls",
            Class::Probe,
            (Party::Client, ActOn::Nobody),
            probe_tls,
        )
    },
    Rule {
        title: "The gateway did not answer the client's TLS",
        explanation: "The tap passed the connection unread. The gateway accepted it but did not answer the \
                      client's first bytes, and the client gave up after 2 s or more: the gateway's process \
                      hangs, or is too busy for a handshake.",
        evidence: "bytes of the client, none of the gateway for 2 s or more, and an end by the client",
        versions: Versions::Any,
        action: "look into the gateway's log and at its load at this time: it accepts connections and does not answer",
        ..unread(
            "gateway.silent.passed",
            Class::GatewaySilent,
            (Party::Client, ActOn::Gateway),
            silent,
        )
    },
    Rule {
        title: "The client's connection broke while it passed unread",
        explanation: "The tap passed the connection unread. The client's connection was reset, timed out, or \
                      ended in the middle of a TLS record, before the gateway had ended its own: a process that \
                      was killed, a machine without network, or a proxy or firewall in front of the tap.",
        evidence: "RST, a time-out, or FIN inside a TLS record, of the client first",
        versions: Versions::Any,
        action: "look at the client's log and at any proxy between client and tap at this time",
        ..unread(
            "client.left.passed",
            Class::ClientLeft,
            (Party::Client, ActOn::Client),
            client_left,
        )
    },
    Rule {
        title: "The gateway's connection broke while it passed unread",
        explanation: "The tap passed the connection unread. The gateway's connection was reset, timed out, or \
                      ended in the middle of a TLS record or before its first one, and the client had not \
                      ended its own: the gateway's process ended, or dropped the connection.",
        evidence: "RST, a time-out, or FIN inside a TLS record or before any, of the gateway first",
        versions: Versions::Any,
        action: "look into the gateway's log at this time; check whether its process was restarted",
        ..unread(
            "gateway.left.passed",
            Class::GatewayLeft,
            (Party::Gateway, ActOn::Gateway),
            gateway_left,
        )
    },
    Rule {
        title: "Passed unread, and ended in order",
        explanation: "The tap passed the connection unread, and nothing was wrong with its \
                      transport. The messages inside are not known: a refused token and a Close \
                      1008 look like this too. So does FIN without close_notify, which does not \
                      show its cause: an OpenClaw gateway ends a connection in this way when it is \
                      killed, but also when it ends a kept HTTP connection, or gives up on a \
                      client that does not answer its Close or its pings.",
        evidence: "FIN of one end first, and no sign of a fault on either connection",
        versions: Versions::Any,
        action: "nothing to do for the transport; to see what was said inside, attach with the gateway's \
                 certificate and key (--cert and --key)",
        ..unread(
            "ok.passed",
            Class::Ok,
            (Party::None, ActOn::Nobody),
            in_order,
        )
    },
];

fn gateway_alert(view: &View<'_>) -> Option<Finding> {
    let passed = Passed::of(view)?;
    let PassedAlert::Clear(alert) = passed.from(Leg::Gateway).alert? else {
        return None;
    };
    if !passed.facts.client_hello {
        return None;
    }
    // After the gateway's first flight, the alert is not about common parameters.
    let asked = passed.from(Leg::Gateway).bytes > FLIGHT;
    let next = match alert {
        TlsAlert::ProtocolVersion => {
            "enable TLS 1.2 or 1.3 in the client: the gateway accepts nothing older"
        }
        TlsAlert::InsufficientSecurity => {
            "compare the ciphers of the client's TLS with those of the gateway's: they have none in common"
        }
        TlsAlert::HandshakeFailure if asked => {
            "give the client a certificate that the gateway trusts, if the gateway asks for one"
        }
        TlsAlert::HandshakeFailure => {
            "compare the ciphers of the client's TLS with those that the gateway's certificate and settings allow"
        }
        TlsAlert::NoApplicationProtocol => {
            "let the client offer the application protocol (ALPN) http/1.1, or none"
        }
        TlsAlert::UnrecognizedName => {
            "use a name that is in the gateway's certificate in the client's URL"
        }
        TlsAlert::CertificateRequired | TlsAlert::BadCertificate | TlsAlert::UnknownCa => {
            "give the client a certificate that the gateway trusts"
        }
        _ => "",
    };
    let summary = format!("the gateway refused the client's TLS with the alert {alert}");
    // For other alerts it is not known whose settings are at fault, or what changed the bytes on
    // their way.
    let confidence = if next.is_empty() || alert == TlsAlert::HandshakeFailure {
        Confidence::Likely
    } else {
        Confidence::Certain
    };
    Some(passed.finding(confidence, summary).next(next))
}

fn gateway_fault(view: &View<'_>) -> Option<Finding> {
    let passed = Passed::of(view)?;
    let alert = passed.from(Leg::Gateway).alert?;
    if alert != PassedAlert::Clear(TlsAlert::InternalError) {
        return None;
    }
    let summary = "the gateway's TLS failed for a reason of its own (alert internal_error)";
    Some(passed.finding(Confidence::Certain, summary))
}

fn to_plain(view: &View<'_>) -> Option<Finding> {
    let passed = Passed::of(view)?;
    if !passed.facts.client_hello || !passed.from(Leg::Gateway).plain_http {
        return None;
    }
    let summary = "the client spoke TLS, and the gateway answered in plain HTTP";
    Some(passed.finding(Confidence::Certain, summary))
}

/// The gateway sent nothing, or an alert.
fn unanswered(passed: &Passed<'_>) -> bool {
    let gateway = passed.from(Leg::Gateway);
    gateway.bytes == 0 || gateway.alert.is_some()
}

fn other(view: &View<'_>) -> Option<Finding> {
    let passed = Passed::of(view)?;
    let is_other = matches!(
        view.client.first_bytes,
        Some(FirstBytes::Other | FirstBytes::Proxy)
    );
    if !is_other || !unanswered(&passed) {
        return None;
    }
    let summary = "the client spoke neither TLS nor HTTP to a gateway that speaks TLS";
    Some(passed.finding(Confidence::Likely, summary))
}

fn hello(view: &View<'_>) -> Option<Finding> {
    let passed = Passed::of(view)?;
    let began = view.client.first_bytes == Some(FirstBytes::Tls);
    if !began || passed.facts.client_hello || !unanswered(&passed) {
        return None;
    }
    let summary = format!(
        "only a part of the client's ClientHello came ({})",
        human_bytes(passed.from(Leg::Client).bytes)
    );
    Some(passed.finding(Confidence::Possible, summary))
}

fn plain(view: &View<'_>) -> Option<Finding> {
    let passed = Passed::of(view)?;
    let is_http = view.client.first_bytes == Some(FirstBytes::Http);
    let refused = passed.from(Leg::Gateway).alert.is_some() || passed.is_first(Leg::Gateway);
    if !is_http || !unanswered(&passed) || !refused {
        return None;
    }
    let summary =
        "the client spoke plain HTTP, and the gateway, which speaks TLS, ended the connection";
    Some(passed.finding(Confidence::Likely, summary))
}

fn client_alert(view: &View<'_>) -> Option<Finding> {
    let passed = Passed::of(view)?;
    let alert = passed.from(Leg::Client).alert?;
    // An alert after the gateway's own alert or end is not the cause.
    let said = passed.from(Leg::Client).last_at;
    let gone = view.close.transport.gateway_at;
    if passed.from(Leg::Gateway).alert.is_some() || gone.is_some_and(|gone| said > Some(gone)) {
        return None;
    }
    let PassedAlert::Clear(alert) = alert else {
        let summary = "the client broke off the TLS handshake with an encrypted alert: most often it does \
                       not trust the gateway's certificate";
        return Some(passed.finding(Confidence::Possible, summary));
    };
    let next = match alert {
        TlsAlert::UnknownCa | TlsAlert::CertificateUnknown | TlsAlert::BadCertificate => {
            "let the client trust the gateway's certificate or its CA, or give the gateway one that the client trusts"
        }
        TlsAlert::CertificateExpired => {
            "look at the dates of the gateway's certificate and at the clock of the client's host"
        }
        _ => "",
    };
    let summary = format!("the client refused the gateway's TLS with the alert {alert}");
    Some(passed.finding(Confidence::Certain, summary).next(next))
}

fn probe(view: &View<'_>) -> Option<Finding> {
    let passed = Passed::of(view)?;
    let silent = passed.from(Leg::Client).bytes == 0;
    if !silent || passed.is_first(Leg::Gateway) || view.end_of(Leg::Client) == TransportEnd::Timeout
    {
        return None;
    }
    let summary = "the client connected, sent nothing and left: a health check";
    Some(passed.finding(Confidence::Likely, summary))
}

fn probe_tls(view: &View<'_>) -> Option<Finding> {
    let passed = Passed::of(view)?;
    let client = passed.from(Leg::Client);
    let said = u64::from(client.last_record == Some(LastRecord::PerhapsAlert));
    let only_finished = client.protected == 1 + said && client.alert.is_none();
    let first = passed.ended_by() == Some(Leg::Client);
    if !passed.facts.client_hello
        || !only_finished
        || !first
        || client.last_record == Some(LastRecord::Cut)
    {
        return None;
    }
    let summary = "the client completed TLS with the gateway, asked for nothing and left";
    Some(passed.finding(Confidence::Possible, summary))
}

fn silent(view: &View<'_>) -> Option<Finding> {
    let passed = Passed::of(view)?;
    let asked = passed.from(Leg::Client).first_at?;
    let silent = passed.from(Leg::Gateway).bytes == 0;
    if !passed.facts.client_hello || !silent || !passed.is_first(Leg::Client) {
        return None;
    }
    // The client may give up sooner. How long the gateway stays silent shows when it ends, or we do.
    let by_gateway = view.end_of(Leg::Gateway).is_by_peer();
    let ended = passed.ended(Leg::Gateway).filter(|_| by_gateway);
    let until = ended.unwrap_or(view.closed_at);
    #[expect(clippy::cast_precision_loss, reason = "days at most")]
    let waited = until.millis_since(asked) as f64;
    if waited < WAITED_MS || view.end_of(Leg::Client) == TransportEnd::Timeout {
        return None;
    }
    let summary = format!(
        "the gateway sent nothing for {}, and the client gave up",
        human_ms(waited)
    );
    Some(passed.finding(Confidence::Likely, summary))
}

fn how(end: TransportEnd) -> &'static str {
    match end {
        TransportEnd::Rst => "was reset",
        TransportEnd::Timeout => "timed out",
        _ => "ended inside a TLS record",
    }
}

fn client_left(view: &View<'_>) -> Option<Finding> {
    let passed = Passed::of(view)?;
    // Whether the gateway would have answered cannot be known.
    let too_soon = passed.facts.client_hello
        && passed.from(Leg::Gateway).bytes == 0
        && passed.is_first(Leg::Client);
    let summary = match (passed.broke(Leg::Client), too_soon) {
        (_, true) => "the client left before the gateway had answered its TLS".to_owned(),
        (true, _) => {
            let how = how(view.end_of(Leg::Client));
            format!("the client's connection {how} while it passed unread")
        }
        (false, false) => return None,
    };
    Some(passed.finding(Confidence::Possible, summary))
}

fn gateway_left(view: &View<'_>) -> Option<Finding> {
    let passed = Passed::of(view)?;
    let unanswered = passed.from(Leg::Gateway).bytes == 0
        && passed.facts.client_hello
        && passed.is_first(Leg::Gateway);
    let how = match (passed.broke(Leg::Gateway), unanswered) {
        (_, true) => "ended before the gateway had sent a byte",
        (true, _) => how(view.end_of(Leg::Gateway)),
        (false, false) => return None,
    };
    let summary = format!("the gateway's connection {how}, while it passed unread");
    Some(passed.finding(Confidence::Possible, summary))
}

fn in_order(view: &View<'_>) -> Option<Finding> {
    let passed = Passed::of(view)?;
    let how = match passed.ended_by() {
        // These cannot be distinguished: a killed process, a keep-alive timer, a gateway that gives
        // up on a client.
        Some(Leg::Gateway) if passed.said_last(Leg::Gateway).is_none() => {
            "ended by the gateway, without close_notify"
        }
        Some(Leg::Gateway) => "ended in order by the gateway",
        Some(Leg::Client) => "ended in order by the client",
        None => "ended in order",
    };
    let summary = format!(
        "passed unread for {} and was {how}; what was said inside is not known",
        human_ms(view.duration_ms)
    );
    Some(passed.finding(Confidence::Possible, summary))
}
