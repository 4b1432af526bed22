//! Clients that closed on purpose, with a code that is not a normal end.

use crate::session::party::{Direction, Leg, Party};
use crate::session::record::verdict::ActOn;
use crate::session::record::{Class, Confidence};
use crate::verdict::finding::Finding;
use crate::verdict::rule::{Rule, Versions};
use crate::verdict::view::{View, close_words, fact, human_bytes, quoted};

pub(super) const RULES: &[Rule] = &[
    Rule {
        id: "client.closed.code",
        class: Class::ClientClosed,
        party: Party::Client,
        act_on: ActOn::Client,
        title: "The client closed for reasons of its own",
        explanation: "The client sent a Close frame with a code that is not a normal end, and \
                      nothing that the gateway had sent explains it. The reason is the client's \
                      claim: \"unauthorized\" from a client does not show that the gateway refused \
                      anything.",
        evidence: "a Close of the client with a code that no other rule explains, before anything decisive of the gateway",
        versions: Versions::Any,
        action: "look at the client's log at this time for why it closed",
        find: code,
    },
    Rule {
        id: "client.closed.protocol",
        class: Class::ClientClosed,
        party: Party::Client,
        act_on: ActOn::Client,
        title: "The client could not read what it got",
        explanation: "The client closed with 1002, 1003 or 1007: it found a breach of the protocol, \
                      or data that it does not take. The tap saw no breach in what the gateway \
                      sent, so the data were changed between tap and client, or the client is \
                      mistaken (an extension that it thinks was agreed).",
        evidence: "a Close 1002, 1003 or 1007 of the client, and no breach in what the gateway sent",
        versions: Versions::Any,
        action: "take proxies between client and tap out of the path and compare; then look at the client",
        find: protocol,
    },
    Rule {
        id: "client.closed.too_big",
        class: Class::ClientClosed,
        party: Party::Client,
        act_on: ActOn::Client,
        title: "A message was too big for the client",
        explanation: "The client closed with 1009: a message of the gateway was larger than the \
                      client takes. OpenClaw sends single frames of more than 2 MB \
                      (config.schema) in normal operation.",
        evidence: "a Close 1009 of the client; the size of the largest or unfinished frame to it",
        versions: Versions::Any,
        action: "raise the client's limit for messages (maxPayload or its like) above the size shown",
        find: too_big,
    },
];

fn code(view: &View<'_>) -> Option<Finding> {
    let (close, _) = view.client_close()?;
    let what = match close.code {
        Some(code) if close.reason.is_empty() => code.to_string(),
        Some(code) => format!("{code} {}", quoted(&close.reason)),
        None => "an empty Close".to_owned(),
    };
    let when = if view.was_open() {
        ""
    } else {
        " before it was accepted"
    };
    let summary = format!("the client closed with {what}{when}");
    Some(Finding::new(Confidence::Certain, summary).because(view.both_legs()))
}

fn protocol(view: &View<'_>) -> Option<Finding> {
    let (close, code) = view.client_close()?;
    if !matches!(code, Some(1002 | 1003 | 1007)) {
        return None;
    }
    let summary = format!(
        "the client could not read what it got and closed with {}",
        code.unwrap_or_default()
    );
    let clean = view.violation(Direction::ToClient, &[]).is_none().then(|| {
        fact(format!(
            "no breach of the protocol was seen in what the gateway sent; the client's Close was {}",
            close_words(close)
        ))
    });
    Some(
        Finding::new(Confidence::Likely, summary)
            .because(view.both_legs())
            .because(clean),
    )
}

fn too_big(view: &View<'_>) -> Option<Finding> {
    let (_, code) = view.client_close()?;
    if code != Some(1009) {
        return None;
    }
    let frames = view.frames_of(Direction::ToClient);
    let cut = frames
        .and_then(|frames| frames.in_progress)
        .map(|cut| cut.declared);
    let largest = frames
        .and_then(|frames| frames.largest)
        .map(|largest| largest.size);
    let size = cut.max(largest);
    let summary = match size {
        Some(size) => format!(
            "a message of {} was too big for the client",
            human_bytes(size)
        ),
        None => "a message was too big for the client".to_owned(),
    };
    let sizes = largest.map(|size| {
        fact(format!(
            "the largest frame that reached the {} had {size} bytes",
            Leg::Client.party().as_str()
        ))
    });
    Some(
        Finding::new(Confidence::Certain, summary)
            .because(view.both_legs())
            .because(sizes),
    )
}
