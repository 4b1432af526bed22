//! Our caps on the traffic of one session.

use crate::session::party::{Direction, Party};
use crate::session::record::verdict::ActOn;
use crate::session::record::{CapFact, CapKey, Class, Confidence};
use crate::verdict::finding::Finding;
use crate::verdict::rule::{Find, Rule};
use crate::verdict::view::{Decisive, View, at, human_bytes};
use crate::verdict::words::cap_words;

const fn cap(id: &'static str, act_on: ActOn, find: Find) -> Rule {
    Rule::of(id, Class::TapDenied, Party::Tap, act_on, find)
}

pub(super) const RULES: &[Rule] = &[
    Rule {
        title: "A message was larger than we allow",
        explanation: "A message declared more bytes than limits.session.message_bytes, counting \
                      all its fragments in their size on the wire. Nothing of the frame that \
                      exceeded it was passed on: both ends got Close 1009, or were cut off if a \
                      frame was in progress.",
        evidence: "limits.session.message_bytes was met first",
        action: "find out what sends so much at once; if it should pass, raise limits.session.message_bytes",
        ..cap("tap.denied.message_bytes", ActOn::Operator, message_bytes)
    },
    Rule {
        title: "The session carried more than we allow",
        explanation: "One direction of the session reached limits.session.bytes. Both ends got \
                      Close 1009, or were cut off if a frame was in progress. Clients that \
                      reconnect begin at zero.",
        evidence: "limits.session.bytes was met first",
        action: "raise limits.session.bytes if sessions are meant to carry so much, or take it out",
        ..cap("tap.denied.session_bytes", ActOn::Operator, session_bytes)
    },
    Rule {
        title: "The client sent faster than we allow",
        explanation: "The client sent more messages, or more bytes, than limits.session allows in \
                      the time, the burst included. It got Close 1009, and so did the gateway. A \
                      frame counts whole when its header comes: one that is larger than \
                      limits.session.bytes_burst never passes.",
        evidence: "limits.session.messages_per_second or limits.session.bytes_per_second was met first",
        action: "find out why the client sends so fast (a loop that retries?); if it is meant to, raise the rate or the burst",
        ..cap("tap.denied.session_rate", ActOn::Client, session_rate)
    },
];

/// The cap, if it decided the end.
fn met(view: &View<'_>, keys: &[CapKey]) -> Option<CapFact> {
    let cap = view.record().close.cap?;
    (keys.contains(&cap.key) && view.decisive() == Decisive::Tap).then_some(cap)
}

fn finding(view: &View<'_>, cap: &CapFact, summary: String, next: String) -> Finding {
    let who = sender(cap);
    let words = format!("the {who} {}", cap_words(cap));
    Finding::new(Confidence::Certain, summary)
        .because([at(cap.at, words)])
        .because(view.both_legs())
        .next(next)
}

fn sender(cap: &CapFact) -> &'static str {
    match cap.direction {
        Direction::ToGateway => "client",
        Direction::ToClient => "gateway",
    }
}

fn message_bytes(view: &View<'_>) -> Option<Finding> {
    let cap = met(view, &[CapKey::MessageBytes])?;
    let summary = format!(
        "a message of the {} was {}: more than limits.session.message_bytes ({})",
        sender(&cap),
        human_bytes(cap.observed),
        human_bytes(cap.limit)
    );
    let next = if cap.observed > 1 << 40 {
        "no real message is so large: look at what sends it".to_owned()
    } else {
        format!(
            "set `limits: {{ session: {{ message_bytes: {} }} }}` if such messages should pass",
            fitting(cap.observed)
        )
    };
    Some(finding(view, &cap, summary, next))
}

fn session_bytes(view: &View<'_>) -> Option<Finding> {
    let cap = met(view, &[CapKey::Bytes])?;
    let summary = format!(
        "the {} had sent as much as one session may (limits.session.bytes is {})",
        sender(&cap),
        human_bytes(cap.limit)
    );
    // How much more would have come is not known.
    let next = format!(
        "set `limits: {{ session: {{ bytes: {} }} }}` or more, if sessions are meant to carry so much",
        fitting(cap.observed.min(1 << 50).saturating_mul(2))
    );
    Some(finding(view, &cap, summary, next))
}

fn session_rate(view: &View<'_>) -> Option<Finding> {
    let cap = met(view, &[CapKey::MessagesPerSecond, CapKey::BytesPerSecond])?;
    let key = cap.key.as_str();
    let (rate, burst) = match cap.key {
        CapKey::BytesPerSecond => (
            human_bytes(cap.limit),
            ("bytes_burst", fitting(cap.observed)),
        ),
        _ => (
            cap.limit.to_string(),
            ("messages_burst", cap.observed.to_string()),
        ),
    };
    let summary = format!("the client sent faster than limits.session.{key} ({rate})");
    let next = format!(
        "look why the client sends so fast; if it should pass, set `limits: {{ session: {{ {}: {} }} }}` or raise {key}",
        burst.0, burst.1
    );
    Some(finding(view, &cap, summary, next))
}

/// The least whole KiB, MiB or bytes that it takes, as the configuration spells it.
fn fitting(bytes: u64) -> String {
    const MIB: u64 = 1 << 20;
    match bytes {
        0..=1024 => format!("{bytes}B"),
        1025..=MIB => format!("{}KiB", bytes.div_ceil(1024)),
        _ => format!("{}MiB", bytes.div_ceil(MIB)),
    }
}
