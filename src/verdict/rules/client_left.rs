//! Clients that vanished, aborted or gave up.

use std::net::SocketAddr;

use super::together::{lost_with_it, usual_losses};
use crate::session::party::{Leg, Party, Phase};
use crate::session::record::verdict::ActOn;
use crate::session::record::{
    AnswerBy, Class, Confidence, FirstBytes, Kind, StreamReset, TimerFact, TimerKey, TransportEnd,
};
use crate::session::text::PeerText;
use crate::verdict::finding::Finding;
use crate::verdict::rule::{Find, Rule, Versions};
use crate::verdict::view::{View, at, fact, human_bytes, human_ms};

/// A rule of this family. The rules differ in their place in the precedence and in the facts that
/// they look for.
const fn left(id: &'static str, find: Find) -> Rule {
    Rule::of(id, Class::ClientLeft, Party::Client, ActOn::Client, find)
}

pub(super) const RULES: &[Rule] = &[
    Rule {
        title: "The client left while the answer came",
        explanation: "The gateway was answering a plain request and the client's connection ended \
                      before the answer was through: a cancelled download, a timeout of the client.",
        evidence: "the end of the client's connection before the body of an answer was through",
        versions: Versions::Any,
        action: "look at the client's own timeout if it did not cancel on purpose",
        ..left("client.left.answer", answer)
    },
    Rule {
        title: "The client left before the gateway accepted it",
        explanation: "The tunnel was open and the application had not accepted the client yet when \
                      the client's connection ended without a Close. The gateway had not refused \
                      anything.",
        evidence: "the end of the client's connection first, without a Close, in the handshake, after it had sent something",
        versions: Versions::Seen,
        action: "look at the client's log at this time: it ended the connection during the handshake",
        ..left("client.left.before_hello", before_hello)
    },
    Rule {
        title: "The client changed its mind before the gateway accepted it",
        explanation: "The client ended the tunnel with a normal Close (1000, 1001 or an empty one) \
                      before the application had accepted it. The gateway had not refused \
                      anything: a page that was left while it loaded, a command that was \
                      cancelled.",
        evidence: "a Close 1000, 1001 or an empty one of the client in the handshake, and no refusal before it",
        versions: Versions::Any,
        action: "nothing to do if it was cancelled on purpose; else look at the client's log at this time",
        ..left("client.left.cancelled", cancelled)
    },
    Rule {
        title: "The client gave up while we connected to the gateway",
        explanation: "The client left within 3 s, before we had connected to the gateway. One that waits longer is gateway.unreachable.no_answer.",
        evidence: "the end of the client's connection while ours to the gateway was being made",
        versions: Versions::Any,
        action: "if it happens again, check that the gateway's address answers, or give the client more time",
        ..left("client.left.dial", dial)
    },
    Rule {
        title: "The client vanished from an open session",
        explanation: "The client's connection ended with FIN and without a Close frame, before the \
                      gateway had done anything to end it: the process was killed, the machine \
                      went to sleep, or a proxy in front of the client's connection cut it. The \
                      gateway sees 1006 for it.",
        evidence: "FIN of the client first, without a Close from either side",
        versions: Versions::Any,
        action: "look at the client's log and at any proxy between client and tap at this time",
        ..left("client.left.open", open)
    },
    Rule {
        title: "The client left in the middle of its request",
        explanation: "Some bytes of a request head came, then the connection ended.",
        evidence: "some bytes of a request head, then the end of the connection",
        versions: Versions::Any,
        action: "look at the client's log at this time",
        ..left("client.left.request_head", request_head)
    },
    Rule {
        title: "The client reset an open session",
        explanation: "The client's connection was reset (RST) without a Close frame. A process \
                      that dies with unread data, a firewall or a load balancer can send that. \
                      Nothing shows that packets were lost, which would be network.cut.",
        evidence: "RST of the client first, without a Close, and no sign of lost packets",
        versions: Versions::Any,
        action: "look at the client's log at this time; if it shows 1006 too, capture packets between client and tap",
        ..left("client.left.reset", reset)
    },
    Rule {
        title: "The client cancelled its stream",
        explanation: "The client reset the stream of its WebSocket (RST_STREAM with CANCEL or \
                      NO_ERROR), without a Close frame. Its HTTP/2 connection went on: it is no \
                      loss of the network. Chromium does this when a page's tab is closed or \
                      reloaded, where it sends Close 1001 over HTTP/1.1. The gateway sees 1006 for \
                      it.",
        evidence: "RST_STREAM CANCEL or NO_ERROR of the client first, without a Close",
        versions: Versions::Any,
        action: "nothing to do if the page was closed, left or reloaded; else look at the client's log at this time",
        ..left("client.left.stream", stream)
    },
    Rule {
        title: "The client did not answer the network any more",
        explanation: "The client's connection was given up: nothing acknowledged our packets, \
                      keepalive had no answer, it read nothing for tcp.user_timeout, or (with \
                      HTTP/2) it answered no ping within 20 s. The machine is off, asleep or \
                      without network.",
        evidence: "a time-out on the client's connection, and no retransmitted bytes",
        versions: Versions::Any,
        action: "check that the client's machine is up and has its network",
        ..left("client.left.timeout", timeout)
    },
    Rule {
        title: "The client left during the TLS handshake",
        explanation: "The client began TLS and ended the connection before it completed, without \
                      an alert that would say why. Some clients do this when they do not trust a \
                      certificate.",
        evidence: "the end of the connection inside the TLS handshake, without an alert",
        versions: Versions::Any,
        action: "connect with `openssl s_client` from the client's host to see what it finds wrong",
        ..left("client.left.tls", tls)
    },
    Rule {
        title: "The client did not wait for the answer to its request",
        explanation: "The client ended its sending side right after its request, which a client \
                      that goes on reading may do. The gateway's answer was complete, but only a reset came \
                      back for it: the client had closed its socket, and nobody read the answer.",
        evidence: "FIN or close_notify of the client before the answer, and a reset in reply to the answer",
        versions: Versions::Any,
        action: "nothing to do if the client wants no answer; else let it read the answer before it closes its \
                 socket",
        ..left("client.left.unread", unread)
    },
    Rule {
        title: "The client gave up while we waited for the gateway's answer",
        explanation: "The request had gone to the gateway and the client ended its connection \
                      before the answer was passed on. A client that only ends its sending side \
                      looks the same until something is sent to it: if it does so within half a \
                      second of its request, the tap waits for the answer for timeouts.half_close.",
        evidence: "the end of the client's connection between request and answer",
        versions: Versions::Any,
        action: "if it happens again, look at the client's own timeout",
        ..left("client.left.upgrade", upgrade)
    },
];

fn gone(view: &View<'_>) -> bool {
    !view.had_tunnel() && view.end_of(Leg::Client).is_by_peer()
}

fn answer(view: &View<'_>) -> Option<Finding> {
    let answer = view.answer.as_ref()?;
    let refused = view.decided_answer().is_some();
    if view.had_tunnel() || refused || answer.complete || answer.by != AnswerBy::Gateway {
        return None;
    }
    let sent = human_bytes(answer.body_bytes.unwrap_or(0));
    let found = if gone(view) {
        Finding::new(
            Confidence::Certain,
            format!("the client left while the answer came, after {sent} of it"),
        )
    } else {
        Finding::new(
            Confidence::Possible,
            format!("the answer ended after {sent}; most likely the client did not want the rest"),
        )
    };
    Some(
        found
            .because(view.answer_evidence())
            .because(view.end_evidence(Leg::Client)),
    )
}

/// The answer was for a client that was gone.
fn unread(view: &View<'_>) -> Option<Finding> {
    let answer = view.answer.as_ref()?;
    let transport = &view.record().close.transport;
    let found_at = transport.client_refused_at?;
    let fine = view.is_http() && answer.by == AnswerBy::Gateway && answer.status < 400;
    if !fine || !answer.complete || !transport.client.is_orderly() {
        return None;
    }
    let summary = format!(
        "the client ended its sending side and was gone when the answer ({}) was written",
        answer.status
    );
    Some(
        Finding::new(Confidence::Likely, summary)
            .because(view.end_evidence(Leg::Client))
            .because([at(
                found_at,
                "the client's connection was reset when the answer was written",
            )])
            .because(view.answer_evidence()),
    )
}

/// The wait for the answer to a client that had ended its sending side was over.
fn half_closed(view: &View<'_>) -> Option<TimerFact> {
    view.close
        .timer
        .filter(|timer| timer.key == TimerKey::HalfClose)
}

fn before_hello(view: &View<'_>) -> Option<Finding> {
    if !view.was_in_handshake() || !view.left(Leg::Client) {
        return None;
    }
    let summary = format!("the client left {}", handshake_step(view));
    Some(Finding::new(Confidence::Likely, summary).because(view.both_legs()))
}

fn cancelled(view: &View<'_>) -> Option<Finding> {
    let (_, code) = view.client_close()?;
    if !view.was_in_handshake() || !matches!(code, None | Some(1000 | 1001)) {
        return None;
    }
    let summary = format!("the client closed {}", handshake_step(view));
    Some(Finding::new(Confidence::Likely, summary).because(view.both_legs()))
}

fn handshake_step(view: &View<'_>) -> &'static str {
    if view.application().asked_at.is_some() {
        "before the gateway answered its connect"
    } else {
        "before it sent a connect request"
    }
}

fn dial(view: &View<'_>) -> Option<Finding> {
    if !gone(view)
        || view.answer.is_some()
        || view.phase > Phase::Dial
        || view.kind == Kind::Connection
    {
        return None;
    }
    let summary = "the client gave up while we connected to the gateway";
    let target = fact(format!("the gateway is {}", view.gateway_name()));
    Some(
        Finding::new(Confidence::Certain, summary)
            .because(view.end_evidence(Leg::Client))
            .because([target]),
    )
}

fn upgrade(view: &View<'_>) -> Option<Finding> {
    let cut = view
        .answer
        .as_ref()
        .is_some_and(|answer| answer.by == AnswerBy::Tap && answer.status == 400);
    let waiting = view.answer.is_none() || view.status() == Some(101) || cut;
    let refused = view.decided_answer().is_some();
    if !gone(view) || !waiting || refused || view.phase != Phase::Upgrade {
        return None;
    }
    if let Some(timer) = half_closed(view) {
        let summary = format!(
            "the client ended its sending side with its request, and no answer came for {}",
            human_ms(timer.observed_ms)
        );
        return Some(
            Finding::new(Confidence::Likely, summary)
                .because(view.end_evidence(Leg::Client))
                .because(view.timer_evidence())
                .next(
                    "find out why the gateway takes so long; if the client had gone on reading, \
                     which looks the same, let it keep its sending side open until it has its answer",
                ),
        );
    }
    let summary = if cut {
        "the client left in the middle of its request's body"
    } else if view.status().is_some() {
        "the client left just as the gateway had agreed to the upgrade"
    } else {
        "the client gave up waiting for the gateway's answer"
    };
    let end = view.end_of(Leg::Client);
    let may_read = !cut && end.is_orderly();
    let confidence = if may_read {
        Confidence::Likely
    } else {
        Confidence::Certain
    };
    let also = may_read.then(|| {
        fact("it did not reset the connection: a client that had only ended its sending side looks the same")
    });
    Some(
        Finding::new(confidence, summary)
            .because(view.end_evidence(Leg::Client))
            .because(also),
    )
}

fn open(view: &View<'_>) -> Option<Finding> {
    if !view.left(Leg::Client) || !view.was_open() {
        return None;
    }
    let how = match view.end_of(Leg::Client) {
        TransportEnd::TlsTruncated => "cut its connection (no close_notify)",
        _ => "ended its connection",
    };
    let summary = format!("the client {how} without a Close");
    let found = Finding::new(Confidence::Likely, summary)
        .because(view.both_legs())
        .because(view.quiet_evidence());
    Some(with_others(view, found))
}

/// Clients that leave within one second share a cause if far more leave than in a usual second, and
/// more leave than stay.
fn with_others(view: &View<'_>, found: Finding) -> Finding {
    let context = view.record().context.as_ref();
    let together = context.and_then(|context| Some((context, lost_with_it(context)?)));
    let Some((context, others)) = together.filter(|(it, others)| it.survivors < *others) else {
        return found;
    };
    found
        .because([fact(format!(
            "{others} other sessions lost their client in the same second"
        ))])
        .because([usual_losses(context)])
        .next(
            "look at what these clients share: a proxy in front of the tap that was reloaded or \
             restarted, their network, or one program that ended",
        )
}

fn reset(view: &View<'_>) -> Option<Finding> {
    if !view.left(Leg::Client) || !view.was_open() || view.end_of(Leg::Client) != TransportEnd::Rst
    {
        return None;
    }
    let summary = "the client's connection was reset, without a Close";
    let found = Finding::new(Confidence::Possible, summary)
        .because(view.both_legs())
        .because(view.quiet_evidence());
    Some(with_others(view, found))
}

fn stream(view: &View<'_>) -> Option<Finding> {
    let reset = view.close.transport.client_reset?;
    if !view.left(Leg::Client)
        || !view.was_open()
        || view.end_of(Leg::Client) != TransportEnd::Rst
        || !matches!(reset, StreamReset::Cancel | StreamReset::NoError)
    {
        return None;
    }
    let summary = "the client cancelled its stream, without a Close";
    let found = Finding::new(Confidence::Likely, summary)
        .because(view.both_legs())
        .because(view.quiet_evidence());
    Some(with_others(view, found))
}

fn timeout(view: &View<'_>) -> Option<Finding> {
    if !view.left(Leg::Client)
        || !view.was_open()
        || view.end_of(Leg::Client) != TransportEnd::Timeout
    {
        return None;
    }
    let waited = (view.latency.as_ref()).map_or(0.0, |latency| latency.blocked_ms.to_client);
    let http2 = view.client.http2.is_some();
    let unread = (waited > 0.0).then(|| {
        let waited = human_ms(waited);
        let why = if http2 {
            "a client of HTTP/2 that reads nothing answers no ping, either"
        } else {
            "tcp.user_timeout gives up on a peer that reads nothing, too"
        };
        fact(format!(
            "bytes had waited for it to read for {waited} in all: {why}"
        ))
    });
    let summary = match (http2, unread.is_some()) {
        (true, true) => "the client did not read or was gone: it did not answer an HTTP/2 ping",
        (true, false) => "the client did not answer an HTTP/2 ping",
        (false, true) => "the client did not read or did not answer until the system gave up on it",
        (false, false) => "the client stopped answering the network",
    };
    let found = Finding::new(Confidence::Possible, summary).because(view.both_legs());
    Some(found.because(unread))
}

fn request_head(view: &View<'_>) -> Option<Finding> {
    if view.kind != Kind::Connection || view.phase < Phase::Request || view.answer.is_some() {
        return None;
    }
    let came = view.client.bytes_read.filter(|bytes| *bytes > 0)?;
    if !gone(view) || view.close.timer.is_some() {
        return None;
    }
    let summary = "the client left in the middle of a request head";
    let read = fact(format!("{} came on this connection", human_bytes(came)));
    Some(
        Finding::new(Confidence::Certain, summary)
            .because(view.end_evidence(Leg::Client))
            .because([read]),
    )
}

fn tls(view: &View<'_>) -> Option<Finding> {
    let failure = view.client.tls.as_ref()?.failure.as_ref()?;
    let ended = gone(view) && view.close.timer.is_none() && failure.alert.is_none();
    if !ended || view.client.first_bytes == Some(FirstBytes::Http) {
        return None;
    }
    let summary = "the client ended the connection in the middle of the TLS handshake";
    let found = Finding::new(Confidence::Likely, summary)
        .because([fact(failure.detail.clone())])
        .because(view.end_evidence(Leg::Client));
    Some(match s_client(view) {
        Some(command) => found.next(format!(
            "run `{command}` from the client's host to see what it finds wrong"
        )),
        None => found,
    })
}

/// Command that repeats the client's connection from its host: to the address that accepted it, with
/// the name that it asked for. The client chose that name, so it is pasted only if it has the
/// characters of a host name.
fn s_client(view: &View<'_>) -> Option<String> {
    let listener: SocketAddr = view.tap.listener.parse().ok()?;
    let is_plain = |name: &&str| {
        let byte = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-');
        !name.is_empty() && !name.starts_with('-') && name.len() <= 100 && name.bytes().all(byte)
    };
    let name = view.record().client.tls.as_ref()?.sni.as_ref();
    let name = name.map(PeerText::as_str).filter(is_plain);
    let name = name.map_or_else(String::new, |name| format!(" -servername {name}"));
    Some(format!("openssl s_client -connect {listener}{name}"))
}
