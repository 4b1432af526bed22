//! The handshake of an `OpenClaw` session.

use std::fmt::Write as _;

use super::opening::credential_words;
use super::step::StepEnd::{Client, Gateway};
use super::step::{Event, Steps};
use crate::session::record::dialect::ConnectResult;
use crate::session::record::dialect::openclaw::{FirstMessage, OpenClawFacts};
use crate::session::text::PeerText;
use crate::verdict::words::quoted;

pub(super) fn handshake(steps: &mut Steps<'_>, dialect: &OpenClawFacts) {
    if let Some(at) = dialect.challenge_at {
        steps.add(
            Some(at),
            (Gateway, Client),
            Event::Challenge,
            "connect.challenge",
        );
    }
    match dialect.first_message {
        None | Some(FirstMessage::Connect) => {}
        Some(other) => {
            let text = match other {
                FirstMessage::Connect | FirstMessage::OtherRequest => {
                    "the first message is a request, and not connect"
                }
                FirstMessage::NotARequest => "the first message is JSON, and no request",
                FirstMessage::NotJson => "the first message is not JSON",
                FirstMessage::Binary => "the first message is binary",
                FirstMessage::TooLong => "the first message is longer than the tap reads (64 KiB)",
                FirstMessage::Compressed => {
                    "the first message is compressed, and cannot be inflated"
                }
            };
            let first = steps.record.frames.as_ref();
            let at = first.and_then(|frames| frames.to_gateway.first_at);
            steps.add(at, (Client, Gateway), Event::FirstMessage, text);
        }
    }
    if let Some(at) = dialect.connect_at {
        let text = connect_words(steps, dialect);
        steps.add(Some(at), (Client, Gateway), Event::Connect, text);
    }
    match dialect.result {
        ConnectResult::None => {}
        ConnectResult::Accepted => {
            let text = hello_words(dialect);
            steps.add(dialect.answered_at, (Gateway, Client), Event::Hello, text);
        }
        ConnectResult::Refused => {
            let text = refusal_words(dialect);
            steps.add(dialect.answered_at, (Gateway, Client), Event::Refusal, text);
        }
    }
}

fn connect_words(steps: &Steps<'_>, dialect: &OpenClawFacts) -> String {
    let mut text = "connect".to_owned();
    if let Some(client) = steps.record.application().client_words() {
        let _ = write!(text, " of {client}");
    }
    if let Some(role) = &dialect.role {
        let _ = write!(text, ", role {role}");
    }
    if let Some(scopes) = &dialect.scopes_asked {
        let _ = write!(text, ", scopes {}", list(scopes));
    }
    if let (Some(min), Some(max)) = (dialect.protocol.min, dialect.protocol.max) {
        let _ = write!(text, ", protocol {min} to {max}");
    }
    text.push_str(if dialect.device.present {
        ", with a device"
    } else {
        ", without a device"
    });
    for credential in &steps.record.auth {
        if credential.place.starts_with("frame:") {
            let _ = write!(text, "; {}", credential_words(credential));
        }
    }
    text
}

fn hello_words(dialect: &OpenClawFacts) -> String {
    let mut text = "hello-ok".to_owned();
    if let Some(version) = dialect.server.as_ref().and_then(|one| one.version.as_ref()) {
        let _ = write!(text, " of OpenClaw {version}");
    }
    if let Some(agreed) = dialect.protocol.agreed {
        let _ = write!(text, ", protocol {agreed}");
    }
    if let Some(scopes) = &dialect.scopes_granted {
        let _ = write!(text, ", scopes {}", list(scopes));
    }
    if let Some(id) = &dialect.conn_id {
        let _ = write!(text, ", connId {id}");
    }
    text
}

fn refusal_words(dialect: &OpenClawFacts) -> String {
    let mut text = "refuses connect".to_owned();
    let Some(error) = &dialect.error else {
        return text;
    };
    let codes: Vec<&str> = [&error.code, &error.details_code, &error.details_reason]
        .into_iter()
        .flatten()
        .map(AsRef::as_ref)
        .collect();
    if !codes.is_empty() {
        let _ = write!(text, ": {}", codes.join(", "));
    }
    if let Some(message) = &error.message {
        let _ = write!(text, " {}", quoted(message));
    }
    if let Some(id) = &error.request_id {
        let _ = write!(text, ", request {id}");
    }
    if let Some(ms) = error.retry_after_ms {
        let _ = write!(text, ", retry after {ms} ms");
    }
    text
}

fn list(items: &[PeerText]) -> String {
    if items.is_empty() {
        return "none".to_owned();
    }
    let items: Vec<&str> = items.iter().map(AsRef::as_ref).collect();
    items.join(", ")
}
