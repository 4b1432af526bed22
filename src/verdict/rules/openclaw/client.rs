//! Close reasons of the gateway's own clients, and clients that sent no message.

use crate::session::party::{Direction, Party};
use crate::session::record::verdict::ActOn;
use crate::session::record::{Class, Confidence};
use crate::verdict::finding::Finding;
use crate::verdict::rule::{Rule, Versions};
use crate::verdict::rules::client_fault::fault;
use crate::verdict::view::{View, close_words, fact, human_ms};

pub(super) const RULES: &[Rule] = &[
    Rule {
        id: "client.closed.connect_failed",
        class: Class::ClientClosed,
        party: Party::Client,
        act_on: ActOn::Client,
        title: "The client says that its connect failed",
        explanation: "OpenClaw clients close with their own words when their connect request \
                      was refused: the Control UI with 4008 \"connect failed\" or 4013 \"gateway \
                      starting\", the command line with 1008 \"connect failed\". No refusal of the \
                      gateway was seen here, so the client failed by itself (it could not sign, or \
                      its own timer ran out), or the refusal could not be read: with `dialect: \
                      plain` none is.",
        evidence: "a Close 4008 or 1008 \"connect failed\" or 4013 \"gateway starting\" of the client, and no refusal of the gateway before it",
        versions: Versions::Read,
        action: "look at the client's own message (the browser's console, the command's output); with gateway.dialect: openclaw the tap shows what the gateway had answered",
        find: connect_failed,
    },
    Rule {
        id: "client.closed.tick_timeout",
        class: Class::ClientClosed,
        party: Party::Client,
        act_on: ActOn::Client,
        title: "The client missed the gateway's ticks",
        explanation: "OpenClaw clients close with 4000 \"tick timeout\" when no tick event came for \
                      twice the tick interval (60 s). Bytes of the gateway did pass the tap in \
                      that time, so they were held up on the way to the client, or the client was \
                      too busy to read them.",
        evidence: "a Close 4000 \"tick timeout\" of the client, and bytes of the gateway shortly before",
        versions: Versions::Read,
        action: "look for a proxy that buffers between client and tap, and for a client that is suspended or overloaded",
        find: tick_timeout,
    },
    Rule {
        title: "A client opened the WebSocket and sent nothing",
        explanation: "The gateway ends a connection with Close 1000 without a reason when no \
                      connect request came within its 15 s. Not one message of the client reached \
                      the tap: the client is no OpenClaw client, it is stuck, or a proxy between \
                      client and tap holds its frames back.",
        evidence: "a Close 1000 of the gateway without a reason after about 15 s, its challenge before, and not one message of the client",
        versions: Versions::Seen,
        action: "check that the client is an OpenClaw client; if it is, look for a proxy between it and the tap that buffers requests",
        ..fault("client.fault.no_first_frame", no_first_frame)
    },
];

fn connect_failed(view: &View<'_>) -> Option<Finding> {
    // Not limited to the dialect: with `gateway.dialect: plain` the client's own words are enough.
    let (close, code) = view.client_close()?;
    let words = match code? {
        4008 | 1008 => "connect failed",
        4013 => "gateway starting",
        _ => return None,
    };
    // After hello-ok the reason would mean something else.
    let accepted = view.rpc().is_some();
    if accepted || !close.reason.as_str().starts_with(words) {
        return None;
    }
    let summary = format!(
        "the client closed with {}; no refusal of the gateway was seen",
        close_words(close)
    );
    Some(Finding::new(Confidence::Certain, summary).because(view.both_legs()))
}

fn tick_timeout(view: &View<'_>) -> Option<Finding> {
    let (close, code) = view.client_close()?;
    let says_so = close.reason.as_str().starts_with("tick timeout");
    if !view.is_openclaw() || !view.was_open() || code != Some(4000) || !says_so {
        return None;
    }
    let last = view.silent_ms(Direction::ToClient).map(|ms| {
        fact(format!(
            "the gateway's last byte had come {} before",
            human_ms(ms)
        ))
    });
    let silence = view.silent_ms(Direction::ToClient).unwrap_or_default();
    let unread = view.held_up_ms(Direction::ToClient, silence);
    let summary = match unread {
        Some(_) => "the client closed: it missed the gateway's ticks while it did not read",
        None => "the client closed: it missed the gateway's ticks, though the gateway was sending",
    };
    let unread = unread.map(|waited| {
        fact(format!(
            "bytes of the gateway waited {} in all because the client did not read; ticks may have \
             waited after them",
            human_ms(waited)
        ))
    });
    Some(
        Finding::new(Confidence::Likely, summary)
            .because(view.both_legs())
            .because(last)
            .because(unread),
    )
}

fn no_first_frame(view: &View<'_>) -> Option<Finding> {
    let (close, code) = view.gateway_close()?;
    let silent = view
        .frames_of(Direction::ToGateway)
        .is_none_or(|frames| frames.messages == 0);
    let first = view.openclaw()?.first_message;
    let unexplained = matches!(code, None | Some(1000)) && close.reason.is_empty();
    if !view.is_openclaw() || !view.was_in_handshake() || !unexplained || !silent || first.is_some()
    {
        return None;
    }
    let waited = view.tunnel_ms() >= 10_000.0;
    let confidence = if waited {
        Confidence::Likely
    } else {
        Confidence::Possible
    };
    let summary = "the client sent no first message, and the gateway gave up waiting for it";
    let count = fact("not one message of the client reached us");
    Some(
        Finding::new(confidence, summary)
            .because(view.both_legs())
            .because([count]),
    )
}
