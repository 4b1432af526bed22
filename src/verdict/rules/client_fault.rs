//! Faults of the client in the protocols themselves: TLS, HTTP, WebSocket frames.

use crate::session::party::{Leg, Party, Phase};
use crate::session::record::verdict::ActOn;
use crate::session::record::{Class, Confidence, FirstBytes, Kind, TlsAlert, TlsFailureKind};
use crate::verdict::finding::Finding;
use crate::verdict::rule::{Find, Rule, Versions};
use crate::verdict::view::{View, close_violation_words, fact, short};
use crate::ws::Violation;

pub(super) const fn fault(id: &'static str, find: Find) -> Rule {
    Rule::of(id, Class::ClientFault, Party::Client, ActOn::Client, find)
}

pub(super) const RULES: &[Rule] = &[
    Rule {
        title: "A client speaks no protocol that we do",
        explanation: "The client's TLS offers application protocols (ALPN), and none of those that \
                      we speak: http/1.1, and h2 unless `http2.enabled` is false.",
        evidence: "a TLS handshake that failed because no application protocol is common",
        versions: Versions::Any,
        action: "let the client offer http/1.1 or h2 in ALPN, or no ALPN at all",
        ..fault("client.fault.alpn", alpn)
    },
    Rule {
        title: "A close code that must not be sent",
        explanation: "The client sent a Close frame with a code that RFC 6455 reserves (such as \
                      1005 or 1006, which exist only in an end's own view) or that is out of range. \
                      Gateways answer with 1002.",
        evidence: "a Close of the client with a code that must not be sent",
        versions: Versions::Any,
        action: "mend the client: it must send 1000, or a code from 3000 to 4999 of its own",
        ..fault("client.fault.close_code", close_code)
    },
    Rule {
        title: "A Close frame of the client that breaks the protocol",
        explanation: "The client ended the session with a Close frame that RFC 6455 forbids: a body \
                      of one byte, a reason that is not UTF-8, more than 125 bytes, a fragment, a \
                      frame without a mask. Its receiver has to fail the connection, so that the \
                      gateway sees a protocol error or 1006 and not what the client meant, whatever \
                      it answers.",
        evidence: "a Close of the client that came first and breaks RFC 6455 itself",
        versions: Versions::Any,
        action: "mend the client: a Close is one masked frame whose body is empty, or a code and a reason of at most 123 bytes of UTF-8",
        ..fault("client.fault.close_frame", close_frame)
    },
    Rule {
        title: "Neither TLS nor HTTP",
        explanation: "A TLS port received bytes that are no TLS handshake and no HTTP: another \
                      protocol, or a scanner.",
        evidence: "first bytes on a TLS port that are neither TLS nor HTTP",
        versions: Versions::Any,
        action: "check what connects here: it should speak TLS",
        ..fault("client.fault.not_tls", not_tls)
    },
    Rule {
        title: "Plain HTTP on the TLS port",
        explanation: "The client spoke plain HTTP (http:// or ws://) where TLS is expected. The tap \
                      answered 400 and said so.",
        evidence: "an HTTP request line as the first bytes on a TLS port",
        versions: Versions::Any,
        action: "use https:// or wss:// in the client's URL",
        ..fault("client.fault.plain_on_tls", plain_on_tls)
    },
    Rule {
        title: "TLS could not be agreed with the client",
        explanation: "The TLS handshake failed, but not because of our certificate: no version, \
                      cipher suite, key exchange group or signature scheme in common (we speak TLS \
                      1.3, and 1.2 unless tls.min_version forbids it), or a broken handshake: \
                      bytes that changed on the way, or that are no TLS. \
                      What the TLS library said is in the evidence.",
        evidence: "a TLS handshake that failed without an alert about a certificate",
        versions: Versions::Any,
        action: "let the client use TLS 1.2 or 1.3",
        ..fault("client.fault.tls", tls)
    },
    Rule {
        title: "TLS on the plain port",
        explanation: "The client began a TLS handshake (https:// or wss://) on a listener that \
                      speaks plain HTTP.",
        evidence: "a TLS record as the first bytes on a plain port",
        versions: Versions::Any,
        action: "use http:// or ws:// in the client's URL, or give this listener a `tls` section",
        ..fault("client.fault.tls_on_plain", tls_on_plain)
    },
    Rule {
        party: Party::Gateway,
        title: "The client broke the WebSocket protocol",
        explanation: "The tap saw a breach of RFC 6455 in what came from the client, before anything \
                      else that could have ended the session, and the gateway then closed with \
                      1002, 1003 or 1007 or ended its connection within a second. It is the \
                      client's fault, too, where an end answers in kind (a ping that is too long, \
                      by a pong that is too long). When every client does it, a proxy between \
                      client and tap changes frames.",
        evidence: "a breach of RFC 6455 in the client's frames, seen here and first, and a Close 1002, 1003 or 1007 of the gateway or the end of its connection within a second",
        versions: Versions::Any,
        action: "mend the client (or the proxy in front of it): the breach is named above",
        ..fault("client.fault.violation", violation)
    },
];

fn tls_failure<'a>(view: &View<'a>) -> Option<&'a crate::session::record::TlsFailure> {
    if view.kind != Kind::Connection || view.close.timer.is_some() {
        return None;
    }
    view.record().client.tls.as_ref()?.failure.as_ref()
}

fn alpn(view: &View<'_>) -> Option<Finding> {
    let failure = tls_failure(view)?;
    let ours = failure.kind == Some(TlsFailureKind::Alpn);
    let theirs = failure.alert == Some(TlsAlert::NoApplicationProtocol);
    if !ours && !theirs {
        return None;
    }
    let summary = "the client's TLS offers no protocol that we speak (ALPN)";
    let offered = view.client.tls.as_ref().map(|tls| &tls.alpn_offered);
    let h2 = offered.is_some_and(|all| all.iter().any(|name| name.as_str() == "h2"));
    let offered = offered
        .filter(|offered| !offered.is_empty())
        .map(|offered| {
            let offered: Vec<String> = offered.iter().map(short).collect();
            fact(format!(
                "it offered {}, and we speak none of it",
                offered.join(", ")
            ))
        });
    let said = fact(failure.detail.clone());
    let found = Finding::new(Confidence::Certain, summary);
    let found = found.because(offered.into_iter().chain([said]));
    Some(if h2 {
        // We speak h2 unless the configuration disables it.
        found.next(
            "set `http2: { enabled: true }` in wstap's configuration, or let the client offer \
             http/1.1 as well",
        )
    } else {
        found
    })
}

fn close_code(view: &View<'_>) -> Option<Finding> {
    let (close, _) = view.client_close()?;
    let code = close.code.filter(|code| !code.is_legal_on_the_wire())?;
    let summary = format!("the client closed with {code}, a code that must not be sent");
    Some(Finding::new(Confidence::Certain, summary).because(view.both_legs()))
}

fn close_frame(view: &View<'_>) -> Option<Finding> {
    let (_, _, kind) = view
        .broken_close()
        .filter(|(leg, _, kind)| *leg == Leg::Client && *kind != Violation::InvalidCloseCode)?;
    let summary = format!(
        "the client ended it with a Close that breaks the protocol ({})",
        close_violation_words(kind)
    );
    Some(Finding::new(Confidence::Certain, summary).because(view.both_legs()))
}

fn not_tls(view: &View<'_>) -> Option<Finding> {
    let failure = tls_failure(view)?;
    if view.client.first_bytes != Some(FirstBytes::Other) || view.phase > Phase::Tls {
        return None;
    }
    let summary = "the client sent something that is neither TLS nor HTTP to the TLS port";
    Some(Finding::new(Confidence::Certain, summary).because([fact(failure.detail.clone())]))
}

fn plain_on_tls(view: &View<'_>) -> Option<Finding> {
    tls_failure(view)?;
    if view.client.first_bytes != Some(FirstBytes::Http) {
        return None;
    }
    let summary = "the client spoke plain HTTP (http:// or ws://) to the TLS port";
    Some(
        Finding::new(Confidence::Certain, summary).because([fact(format!(
            "the listener {} expects TLS",
            view.tap.listener
        ))]),
    )
}

fn tls(view: &View<'_>) -> Option<Finding> {
    let failure = tls_failure(view)?;
    let said = failure.alert.map(|alert| match alert {
        TlsAlert::ProtocolVersion => "the client refused TLS: no TLS version in common".to_owned(),
        alert => format!("the client ended the TLS handshake with the alert {alert}"),
    });
    let found = failure.kind.map(|kind| (kind, tls_words(kind)));
    let (confidence, summary, next) = match (said, found) {
        (Some(said), _) => (Confidence::Likely, said, None),
        (None, Some((kind, (words, next)))) => {
            let read_wrong = matches!(
                kind,
                TlsFailureKind::Undecryptable | TlsFailureKind::NotTls | TlsFailureKind::Malformed
            );
            let confidence = if read_wrong {
                // A proxy may have changed it.
                Confidence::Likely
            } else {
                Confidence::Certain
            };
            (confidence, words.to_owned(), Some(next))
        }
        (None, None) => {
            let words = "the TLS handshake with the client failed";
            (Confidence::Likely, words.to_owned(), None)
        }
    };
    let finding = Finding::new(confidence, summary).because([fact(failure.detail.clone())]);
    Some(match next {
        Some(next) => finding.next(next),
        None => finding,
    })
}

/// The fault in a handshake, and what to do.
fn tls_words(kind: TlsFailureKind) -> (&'static str, &'static str) {
    const UPDATE: &str = "update the client's TLS library, or widen its TLS settings";
    const COMPARE: &str = "check what speaks TLS there; take TLS inspection and middleboxes \
                           between client and tap out to compare";
    use TlsFailureKind as Kind;
    match kind {
        Kind::Version => (
            "the client offers no TLS version that we speak",
            "let the client use TLS 1.3, or 1.2 where listeners[].tls.min_version allows it",
        ),
        Kind::CipherSuite => ("the client offers no cipher suite that we have", UPDATE),
        Kind::KeyExchange => (
            "the client offers no key exchange group that we have",
            UPDATE,
        ),
        Kind::SignatureScheme => (
            "the client verifies no signature that we could make",
            UPDATE,
        ),
        Kind::Undecryptable => (
            "a record of the client's TLS handshake could not be decrypted",
            COMPARE,
        ),
        Kind::NotTls => (
            "the client sent bytes that are no TLS in the handshake",
            COMPARE,
        ),
        Kind::Malformed => ("the client's TLS handshake is malformed", COMPARE),
        Kind::Unexpected => (
            "the client sent a message that TLS does not allow in its handshake",
            COMPARE,
        ),
        _ => (
            "the client's TLS has nothing in common with ours in one point",
            UPDATE,
        ),
    }
}

fn tls_on_plain(view: &View<'_>) -> Option<Finding> {
    let plain = view.kind == Kind::Connection && view.client.tls.is_none();
    if !plain || view.client.first_bytes != Some(FirstBytes::Tls) || view.close.timer.is_some() {
        return None;
    }
    let summary = "the client spoke TLS (https:// or wss://) to the plain port";
    Some(
        Finding::new(Confidence::Certain, summary).because([fact(format!(
            "the listener {} speaks plain HTTP",
            view.tap.listener
        ))]),
    )
}

fn violation(view: &View<'_>) -> Option<Finding> {
    let breach = view.breach().filter(|breach| breach.by == Leg::Client)?;
    Some(
        Finding::new(breach.confidence, breach.words())
            .because(view.both_legs())
            .ended_by(breach.ended_by.party()),
    )
}
