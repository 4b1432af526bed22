//! Endings that our timers decided. Those about the gateway's silence are in `silent.rs` and
//! `unreachable.rs`; a timer that only ended the wait after a Close or a FIN decides nothing.

use super::hop_header::{key, sender};
use crate::session::party::{Direction, Leg, Party};
use crate::session::record::verdict::ActOn;
use crate::session::record::{AnswerBy, AnswerFacts, Class, Confidence, TimerFact, TimerKey};
use crate::verdict::finding::Finding;
use crate::verdict::rule::{Find, Rule, Versions};
use crate::verdict::view::{Decisive, View, fact, human_bytes, human_ms, limit};

const fn timeout(id: &'static str, act_on: ActOn, find: Find) -> Rule {
    Rule::of(id, Class::TapTimeout, Party::Tap, act_on, find)
}

pub(super) const RULES: &[Rule] = &[
    Rule {
        title: "An answer stalled",
        explanation: "The gateway's answer to a plain request had begun, and then no byte of it, or \
                      of the request's body, moved for timeouts.idle. The tap ended both \
                      connections; the client sees a body that broke off. Streams of events that \
                      pause for longer need a longer timer.",
        evidence: "timeouts.idle fired in the middle of an answer's body",
        versions: Versions::Any,
        action: "look into the gateway's log why it stopped sending; raise timeouts.idle if such a pause is normal",
        ..timeout("tap.timeout.answer", ActOn::Operator, answer)
    },
    Rule {
        title: "A client did not read its answer",
        explanation: "The answer to a request over HTTP/2 was there, and for timeouts.idle the \
                      client took nothing of it: it gave its stream no window, although its \
                      connection is alive. The tap reset the stream, so that the gateway's \
                      connection is free again. Over HTTP/1.1 the system gives up by \
                      tcp.user_timeout.",
        evidence: "timeouts.idle fired while a part of the answer waited for the client's window",
        versions: Versions::Any,
        action: "look at the client's log at this time: it has stopped reading, or holds a download on purpose; raise timeouts.idle if such a pause is normal",
        ..timeout("tap.timeout.unread", ActOn::Client, unread)
    },
    Rule {
        title: "A request's body stalled",
        explanation: "The client sent a request's head and a part of its body, and then nothing for \
                      timeouts.idle; the tap answered 408.",
        evidence: "timeouts.idle fired while the rest of a request's body was awaited from the client",
        versions: Versions::Any,
        action: "look at the client's log at this time; raise timeouts.idle if such a pause is normal",
        ..timeout("tap.timeout.request_body", ActOn::Client, request_body)
    },
    Rule {
        title: "A request's body came too slowly",
        explanation: "The client kept sending its request's body, but so little at a time that the tap \
                      waited for it for longer than timeouts.request_body in all; each KiB that \
                      came extended the limit by a second. The network is stalled, or the client \
                      holds the request open, perhaps on purpose. The tap answered 408, or broke \
                      off the answer that had begun. What the gateway does not read in time is not \
                      counted.",
        evidence: "timeouts.request_body fired",
        versions: Versions::Any,
        action: "look at the client: it, or its network, sends less than 1 KiB a second; if it is yours and means to, raise timeouts.request_body",
        ..timeout("tap.timeout.slow_body", ActOn::Client, slow_body)
    },
    Rule {
        title: "Nobody ended the session, so we did",
        explanation: "timeouts.half_close or timeouts.close ran out, and the record shows neither \
                      the FIN nor the Close frame that had started it.",
        evidence: "timeouts.close or timeouts.half_close fired, and nothing shows what began the end",
        versions: Versions::Any,
        action: "report this record to the wstap project",
        ..timeout("tap.timeout.closing", ActOn::Tap, closing)
    },
    Rule {
        title: "The session was idle for too long",
        explanation: "No byte moved in either direction for timeouts.idle, so the tap closed both \
                      ends with 1001. OpenClaw gateways ping every 25 s once a client is accepted: \
                      with them, an hour of silence means that an end was dead. Anything that pings \
                      less often than timeouts.idle is cut while it is healthy.",
        evidence: "timeouts.idle fired first",
        versions: Versions::Any,
        action: "raise timeouts.idle above the longest pause that is normal, or let an end send pings",
        ..timeout("tap.timeout.idle", ActOn::Operator, idle)
    },
    Rule {
        title: "A timer of ours fired",
        explanation: "One of the tap's timers ended the session; the evidence names its key, limit \
                      and what was observed.",
        evidence: "another timer of ours fired first",
        versions: Versions::Any,
        action: "raise the timer that is named, if the wait is normal",
        ..timeout("tap.timeout.other", ActOn::Operator, other)
    },
    Rule {
        title: "The PROXY header was too slow",
        explanation: "A proxy that is listed in proxy_protocol.from connected, and its PROXY \
                      protocol header was not whole within timeouts.proxy_header. A listed proxy \
                      that sends no header looks the same if its client waits for the server to \
                      speak first.",
        evidence: "timeouts.proxy_header fired",
        versions: Versions::Any,
        action: "check that the proxy sends the header (HAProxy: `send-proxy-v2`; nginx: `proxy_protocol on`); for slow networks raise timeouts.proxy_header",
        ..timeout("tap.timeout.proxy_header", ActOn::Hop, proxy_header)
    },
    Rule {
        title: "The request head was too slow",
        explanation: "A client sent a part of a request head and not the rest within \
                      timeouts.request_head: a stalled network, or an attack that holds \
                      connections open.",
        evidence: "timeouts.request_head fired after some bytes of a request",
        versions: Versions::Any,
        action: "if the client is slow and yours, raise timeouts.request_head",
        ..timeout("tap.timeout.request_head", ActOn::Client, request_head)
    },
    Rule {
        title: "A connection without a request",
        explanation: "A client connected and asked for nothing within timeouts.request_head. \
                      Browsers open such connections in advance; it harms nobody.",
        evidence: "timeouts.request_head fired before any byte of a request",
        versions: Versions::Any,
        action: "nothing to do, unless a client that should have asked hangs: then look at that client",
        ..timeout("tap.timeout.silent_client", ActOn::Nobody, silent_client)
    },
    Rule {
        title: "The TLS handshake was too slow",
        explanation: "The client did not complete TLS within timeouts.tls_handshake. A client that \
                      sent nothing at all may be waiting for the server to speak first: it is of \
                      another protocol, or expects plain text.",
        evidence: "timeouts.tls_handshake fired",
        versions: Versions::Any,
        action: "check what connects here; for slow networks raise timeouts.tls_handshake",
        ..timeout("tap.timeout.tls_handshake", ActOn::Client, tls_handshake)
    },
];

fn fired(view: &View<'_>, keys: &[TimerKey]) -> Option<TimerFact> {
    view.close.timer.filter(|timer| keys.contains(&timer.key))
}

/// The timer, if it decided the end of a tunnel.
fn decided(view: &View<'_>, keys: &[TimerKey]) -> Option<TimerFact> {
    fired(view, keys).filter(|_| view.decisive() == Decisive::Tap)
}

/// The idle timer of a plain request, if the answer that it ended was made by `by`.
fn still<'a>(view: &View<'a>, by: AnswerBy) -> Option<(TimerFact, &'a AnswerFacts)> {
    let timer = fired(view, &[TimerKey::Idle]).filter(|_| !view.had_tunnel())?;
    let answer = view.record().answer.as_ref();
    // A refusal by the gateway is explained elsewhere.
    let refused = view.decided_answer().is_some();
    let answer = answer.filter(|answer| answer.by == by && !refused)?;
    Some((timer, answer))
}

/// The client has stopped reading.
fn is_unread(view: &View<'_>) -> bool {
    view.client.http2.as_ref().is_some_and(|http2| http2.unread)
}

fn unread(view: &View<'_>) -> Option<Finding> {
    let (timer, answer) = still(view, AnswerBy::Gateway).filter(|_| is_unread(view))?;
    let summary = format!(
        "the client took nothing of its answer for {} after {} of it had come (timeouts.idle is {})",
        human_ms(timer.observed_ms),
        human_bytes(answer.body_bytes.unwrap_or_default()),
        limit(timer.limit_ms)
    );
    Some(
        Finding::new(Confidence::Certain, summary)
            .because(view.timer_evidence())
            .because(view.answer_evidence()),
    )
}

fn answer(view: &View<'_>) -> Option<Finding> {
    let (timer, answer) = still(view, AnswerBy::Gateway).filter(|(_, it)| !it.complete)?;
    if is_unread(view) {
        return None;
    }
    let summary = format!(
        "the gateway's answer stalled for {} after {} (timeouts.idle is {})",
        human_ms(timer.observed_ms),
        human_bytes(answer.body_bytes.unwrap_or_default()),
        limit(timer.limit_ms)
    );
    Some(
        Finding::new(Confidence::Certain, summary)
            .because(view.timer_evidence())
            .because(view.answer_evidence()),
    )
}

fn request_body(view: &View<'_>) -> Option<Finding> {
    let (timer, _) = still(view, AnswerBy::Tap).filter(|(_, it)| it.status == 408)?;
    let summary = format!(
        "the client stopped in the middle of its request's body (timeouts.idle is {})",
        limit(timer.limit_ms)
    );
    Some(Finding::new(Confidence::Certain, summary).because(view.timer_evidence()))
}

fn slow_body(view: &View<'_>) -> Option<Finding> {
    let timer = fired(view, &[TimerKey::RequestBody])?;
    // A refusal by the gateway explains the end.
    if view.decided_answer().is_some() {
        return None;
    }
    let summary = format!(
        "the client trickled its request's body: we waited for it for {} in all (timeouts.request_body is {})",
        human_ms(timer.observed_ms),
        limit(timer.limit_ms)
    );
    Some(
        Finding::new(Confidence::Certain, summary)
            .because(view.timer_evidence())
            .because(view.answer_evidence())
            .next(format!(
                "look at the client: it, or its network, sends less than 1 KiB a second; if it is yours \
                 and means to, set `timeouts: {{ request_body: {} }}`",
                limit(timer.limit_ms.saturating_mul(4))
            )),
    )
}

fn closing(view: &View<'_>) -> Option<Finding> {
    let timer = decided(view, &[TimerKey::HalfClose, TimerKey::Close])?;
    let summary = format!(
        "timeouts.{} ran out after {}, and nothing shows what started it",
        timer.key.as_str(),
        human_ms(timer.observed_ms)
    );
    Some(Finding::new(Confidence::Possible, summary).because(view.both_legs()))
}

fn idle(view: &View<'_>) -> Option<Finding> {
    let timer = decided(view, &[TimerKey::Idle])?;
    let pings: u64 = [Direction::ToClient, Direction::ToGateway]
        .into_iter()
        .filter_map(|direction| view.frames_of(direction))
        .map(|frames| frames.opcodes.ping)
        .sum();
    let pinged = if pings == 0 {
        "no pings were seen".to_owned()
    } else {
        format!("{pings} pings had been seen before")
    };
    let set = limit(timer.limit_ms);
    let summary = format!(
        "nothing moved for {}, so we closed it (timeouts.idle is {set}; {pinged})",
        human_ms(timer.observed_ms)
    );
    let longer = limit(timer.limit_ms.max(900_000).saturating_mul(4));
    let next = if pings == 0 {
        format!(
            "set `timeouts: {{ idle: {longer} }}` if such a pause is normal, or let an end send pings"
        )
    } else if timer.limit_ms < 60_000 {
        format!("set `timeouts: {{ idle: {longer} }}`: it is shorter than the time between pings")
    } else {
        "find out which end stopped: pings had been flowing, so one of them was suspended or cut off"
            .to_owned()
    };
    Some(
        Finding::new(Confidence::Certain, summary)
            .because(view.both_legs())
            .because([fact(pinged)])
            .next(next),
    )
}

fn other(view: &View<'_>) -> Option<Finding> {
    let timer = view.close.timer?;
    if view.had_tunnel() && view.decisive() != Decisive::Tap {
        return None;
    }
    let key = timer.key.as_str();
    let summary = format!(
        "our timer timeouts.{key} ({}) ended it after {}",
        limit(timer.limit_ms),
        human_ms(timer.observed_ms)
    );
    let next = format!("raise timeouts.{key} if this wait is normal");
    Some(
        Finding::new(Confidence::Certain, summary)
            .because(view.both_legs())
            .next(next),
    )
}

fn proxy_header(view: &View<'_>) -> Option<Finding> {
    let timer = fired(view, &[TimerKey::ProxyHeader])?;
    let (who, key) = (sender(&view.client.addr), key(view));
    let summary = format!(
        "{who} is in {key} and sent no whole PROXY header within timeouts.proxy_header ({})",
        limit(timer.limit_ms)
    );
    let header = view.client.proxy_protocol.as_ref();
    let fault = header.and_then(|header| header.fault.as_ref());
    let detail = fault.map(|fault| fact(fault.detail.clone()));
    Some(Finding::new(Confidence::Certain, summary).because(detail))
}

fn request_head(view: &View<'_>) -> Option<Finding> {
    let timer = fired(view, &[TimerKey::RequestHead])?;
    let summary = format!(
        "the client did not finish its request head within timeouts.request_head ({})",
        limit(timer.limit_ms)
    );
    let came = view
        .client
        .bytes_read
        .map(|bytes| fact(format!("{bytes} bytes had come")));
    Some(
        Finding::new(Confidence::Certain, summary)
            .because(came)
            .because(view.timer_evidence())
            .next(format!(
                "if the client is slow and yours, set `timeouts: {{ request_head: {} }}`",
                limit(timer.limit_ms.saturating_mul(3))
            )),
    )
}

fn silent_client(view: &View<'_>) -> Option<Finding> {
    let timer = fired(view, &[TimerKey::RequestHead])?;
    if view.client.bytes_read.unwrap_or(0) > 0 || view.request.is_some() {
        return None;
    }
    let summary = format!(
        "the client connected and asked for nothing within {} (timeouts.request_head)",
        limit(timer.limit_ms)
    );
    Some(Finding::new(Confidence::Certain, summary).because(view.timer_evidence()))
}

fn tls_handshake(view: &View<'_>) -> Option<Finding> {
    let timer = fired(view, &[TimerKey::TlsHandshake])?;
    let sent = matches!(view.client.first_bytes, Some(kind) if kind != crate::session::record::FirstBytes::None);
    let what = if sent {
        "did not complete TLS"
    } else {
        "connected and did not begin TLS"
    };
    let summary = format!(
        "the client {what} within timeouts.tls_handshake ({})",
        limit(timer.limit_ms)
    );
    Some(
        Finding::new(Confidence::Certain, summary)
            .because(view.timer_evidence())
            .because(view.end_evidence(Leg::Client)),
    )
}
