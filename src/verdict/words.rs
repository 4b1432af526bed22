//! Texts that rules share: facts, codes, sizes and times in readable form.

use crate::session::moment::Moment;
use crate::session::record::{
    CapFact, CapKey, CloseSeen, Evidence, GatewayErrorKind, StreamFault, StreamFaultKind,
};
use crate::session::text::PeerText;
use crate::ws::{Opcode, Violation};

/// A fact without a time.
#[must_use]
pub(crate) fn fact(text: impl Into<String>) -> Evidence {
    Evidence {
        at: None,
        fact: text.into(),
    }
}

/// A fact with its time.
#[must_use]
pub(crate) fn at(when: Moment, text: impl Into<String>) -> Evidence {
    Evidence {
        at: Some(when),
        fact: text.into(),
    }
}

/// `1008 "pairing required"`, `without a code`.
#[must_use]
pub(crate) fn close_words(close: &CloseSeen) -> String {
    let code = match close.code {
        Some(code) => code.to_string(),
        None => "without a code".to_owned(),
    };
    if close.reason.is_empty() {
        code
    } else {
        format!("{code} {}", quoted(&close.reason))
    }
}

/// How a peer broke its TLS stream, as part of a sentence.
#[must_use]
pub(crate) fn stream_fault_words(fault: &StreamFault) -> String {
    match (fault.kind, fault.alert) {
        (StreamFaultKind::Alert, Some(alert)) => {
            return format!("broke off TLS with the alert {alert}");
        }
        (StreamFaultKind::Alert, None) => "broke off TLS with an alert",
        (StreamFaultKind::Undecryptable, _) => "sent a TLS record that cannot be decrypted",
        (StreamFaultKind::NotTls, _) => "sent bytes that are no TLS record",
        (StreamFaultKind::Malformed, _) => "sent a malformed TLS record",
        (StreamFaultKind::Unexpected, _) => "sent a TLS message that is not allowed there",
    }
    .to_owned()
}

/// A breach of the protocol, for sentences.
#[must_use]
pub(crate) fn violation_words(violation: Violation) -> &'static str {
    match violation {
        Violation::Unmasked => "a client's frame without a mask",
        Violation::Masked => "a server's frame with a mask",
        Violation::Rsv => "a reserved bit without an agreed extension",
        Violation::ReservedOpcode => "an opcode that is not defined",
        Violation::ControlTooLong => "a control frame of more than 125 bytes",
        Violation::ControlFragmented => "a fragmented control frame",
        Violation::NonMinimalLength => "a length that is not in its shortest form",
        Violation::LengthMsb => "a length with its top bit set",
        Violation::UnexpectedContinuation => "a continuation without a message",
        Violation::InterleavedData => "a new message inside another one",
        Violation::DataAfterClose => "a frame after the Close frame",
        Violation::InvalidUtf8 => "text that is not UTF-8",
        Violation::InvalidCloseCode => "a close code that must not be sent",
        Violation::CloseBody1 => "a Close body of one byte",
    }
}

/// What is wrong with a Close frame, as part of a sentence.
#[must_use]
pub(crate) fn close_violation_words(violation: Violation) -> &'static str {
    match violation {
        Violation::Unmasked => "it has no mask",
        Violation::Masked => "it has a mask",
        Violation::Rsv => "it has a reserved bit",
        Violation::ControlTooLong => "it is longer than 125 bytes",
        Violation::ControlFragmented => "it is fragmented",
        Violation::InvalidUtf8 => "its reason is not UTF-8",
        Violation::CloseBody1 => "its body has one byte",
        other => violation_words(other),
    }
}

/// A frame, for sentences.
#[must_use]
pub(crate) fn opcode_word(opcode: Opcode) -> &'static str {
    match opcode {
        Opcode::Text => "text",
        Opcode::Binary => "binary",
        Opcode::Continuation => "continuation",
        Opcode::Ping => "ping",
        Opcode::Pong => "pong",
        Opcode::Close => "close",
        Opcode::Reserved(_) => "reserved",
    }
}

/// Text of a peer in quotes, shortened for a sentence.
#[must_use]
pub(crate) fn short(text: &PeerText) -> String {
    front(text, 48)
}

/// At most `most` characters of a peer's text, in quotes.
#[must_use]
pub(crate) fn front(text: &PeerText, most: usize) -> String {
    let all = text.as_str().replace('"', "'");
    if all.chars().count() <= most {
        return format!("\"{all}\"");
    }
    let front: String = all.chars().take(most).collect();
    format!("\"{front}…\"")
}

/// Text of a peer in quotes. It was escaped when it was recorded.
#[must_use]
pub(crate) fn quoted(text: &PeerText) -> String {
    format!("\"{}\"", text.as_str().replace('"', "'"))
}

/// Text of a peer that is safe inside a command line: a plain identifier.
#[must_use]
pub(crate) fn paste_safe(text: &PeerText) -> Option<&str> {
    let text = text.as_str();
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let starts_well = text.starts_with(|c: char| c.is_ascii_alphanumeric());
    (starts_well && text.len() <= 80 && text.chars().all(plain)).then_some(text)
}

/// `12 ms`, `3.4 s`, `12 min`.
#[must_use]
pub(crate) fn human_ms(ms: f64) -> String {
    if ms < 10.0 {
        format!("{ms:.1} ms")
    } else if ms < 1000.0 {
        format!("{ms:.0} ms")
    } else if ms < 120_000.0 {
        format!("{:.1} s", ms / 1000.0)
    } else if ms < 7_200_000.0 {
        format!("{:.0} min", ms / 60_000.0)
    } else {
        format!("{:.1} h", ms / 3_600_000.0)
    }
}

/// A limit in the form of the configuration: `10s`, `1h`, `500ms`.
#[must_use]
pub(crate) fn limit(ms: u64) -> String {
    match ms {
        0 => "0ms".to_owned(),
        ms if ms % 3_600_000 == 0 => format!("{}h", ms / 3_600_000),
        ms if ms % 60_000 == 0 => format!("{}m", ms / 60_000),
        ms if ms % 1000 == 0 => format!("{}s", ms / 1000),
        ms => format!("{ms}ms"),
    }
}

/// `1,234` bytes as `1.2 KiB`.
#[must_use]
pub(crate) fn human_bytes(bytes: u64) -> String {
    #[expect(clippy::cast_precision_loss, reason = "shown with two digits")]
    let float = bytes as f64;
    match bytes {
        0..1024 => format!("{bytes} B"),
        1024..1_048_576 => format!("{:.1} KiB", float / 1024.0),
        1_048_576..1_073_741_824 => format!("{:.1} MiB", float / 1_048_576.0),
        _ => format!("{:.1} GiB", float / 1_073_741_824.0),
    }
}

/// The cap that a frame would have exceeded, in the present tense and without its sender.
#[must_use]
pub(crate) fn cap_words(cap: &CapFact) -> String {
    let CapFact {
        limit, observed, ..
    } = *cap;
    let key = cap.key.as_str();
    let within = human_ms(cap.within_ms.unwrap_or_default());
    match cap.key {
        CapKey::Bytes => format!(
            "would bring its direction to {} (limits.session.{key} is {})",
            human_bytes(observed),
            human_bytes(limit)
        ),
        CapKey::MessageBytes => format!(
            "sends a message of {} (limits.session.{key} is {})",
            human_bytes(observed),
            human_bytes(limit)
        ),
        CapKey::MessagesPerSecond => format!(
            "sends {observed} messages in {within} (limits.session.{key} is {limit}, {} at once)",
            cap.burst.unwrap_or_default()
        ),
        CapKey::BytesPerSecond => format!(
            "sends {} in {within} (limits.session.{key} is {}, {} at once)",
            human_bytes(observed),
            human_bytes(limit),
            human_bytes(cap.burst.unwrap_or_default())
        ),
    }
}

/// The result of a connection attempt, to follow the address.
#[must_use]
pub(crate) fn error_words(kind: GatewayErrorKind) -> &'static str {
    match kind {
        GatewayErrorKind::Refused => "refused",
        GatewayErrorKind::Unreachable => "has no route",
        GatewayErrorKind::ConnectTimeout => "timed out",
        GatewayErrorKind::NoAddress => "has a family that this host has no address of",
        GatewayErrorKind::Forbidden => "is forbidden by this host",
        kind if kind.is_own_limit() => "was kept from us by a limit of our own",
        _ => "failed",
    }
}
