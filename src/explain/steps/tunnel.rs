//! Inside the tunnel: what the application said, and what moved.

use std::fmt::Write as _;

use super::opening::credential_words;
use super::step::Place::{Client, Gateway, Tap};
use super::step::{Event, Place, Steps};
use crate::explain::paper::{count, word};
use crate::session::party::{Direction, Phase};
use crate::session::record::dialect::{ClientIdentity, ConnectResult, FirstMessage, RpcFacts};
use crate::session::record::{DialectFacts, DirectionFrames};
use crate::session::text::PeerText;
use crate::verdict::words::{front, human_bytes, human_ms, opcode_word, quoted, violation_words};

pub(super) fn tell(steps: &mut Steps<'_>) {
    if let Some(at) = steps.began(Phase::Handshake) {
        let text = "the tunnel is open";
        steps.add(Some(at), (Tap, Tap), Event::Tunnel, text);
    }
    if let Some(dialect) = &steps.record.dialect {
        handshake(steps, dialect);
    }
    if let Some(frames) = &steps.record.frames {
        moved(steps, Direction::ToGateway, &frames.to_gateway);
        moved(steps, Direction::ToClient, &frames.to_client);
    }
    if let Some(rpc) = steps
        .record
        .dialect
        .as_ref()
        .and_then(|one| one.rpc.as_ref())
    {
        requests(steps, rpc);
    }
    if let Some(shutdown) = steps
        .record
        .dialect
        .as_ref()
        .and_then(|dialect| dialect.shutdown.as_ref())
    {
        let mut text = "event shutdown".to_owned();
        if let Some(reason) = &shutdown.reason {
            let _ = write!(text, " {}", quoted(reason));
        }
        let _ = match shutdown.restart_expected_ms {
            Some(ms) => write!(text, ", back in about {ms} ms"),
            None => write!(text, ", for good"),
        };
        steps.add(Some(shutdown.at), (Gateway, Client), Event::Shutdown, text);
    }
}

fn handshake(steps: &mut Steps<'_>, dialect: &DialectFacts) {
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

/// `cli cli 2026.9.6`
pub(in crate::explain) fn client_words(client: &ClientIdentity) -> String {
    let mut words: Vec<&str> = Vec::new();
    for part in [&client.id, &client.mode, &client.version]
        .into_iter()
        .flatten()
    {
        // `cli` is both the id and the mode of the command line tool.
        if words.last() != Some(&part.as_str()) {
            words.push(part.as_str());
        }
    }
    words.join(" ")
}

fn list(items: &[PeerText]) -> String {
    if items.is_empty() {
        return "none".to_owned();
    }
    let items: Vec<&str> = items.iter().map(AsRef::as_ref).collect();
    items.join(", ")
}

fn connect_words(steps: &Steps<'_>, dialect: &DialectFacts) -> String {
    let mut text = "connect".to_owned();
    if let Some(client) = &dialect.client {
        let _ = write!(text, " of {}", client_words(client));
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

fn hello_words(dialect: &DialectFacts) -> String {
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

fn refusal_words(dialect: &DialectFacts) -> String {
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

fn requests(steps: &mut Steps<'_>, rpc: &RpcFacts) {
    for failure in &rpc.failures {
        let codes: Vec<&str> = [&failure.code, &failure.details_code, &failure.missing_scope]
            .into_iter()
            .flatten()
            .map(AsRef::as_ref)
            .collect();
        let mut text = format!("{} fails: {}", failure.method, codes.join(", "));
        if let Some(message) = failure.message.as_ref().filter(|_| !failure.lacks_scope()) {
            let _ = write!(text, ", {}", front(message, 80));
        }
        if failure.count > 1 {
            let _ = write!(text, "; {} times in all", failure.count);
        }
        let at = Some(failure.first_at);
        steps.add(at, (Gateway, Client), Event::RequestFailed, text);
    }
    for request in &rpc.unanswered {
        let text = format!(
            "{}, without an answer at the end, after {}",
            request.method,
            human_ms(request.age_ms)
        );
        let at = Some(request.at);
        steps.add(at, (Client, Gateway), Event::RequestUnanswered, text);
        if let Some(last) = steps.found.last_mut() {
            last.delivered = request.written;
        }
    }
}

fn moved(steps: &mut Steps<'_>, direction: Direction, frames: &DirectionFrames) {
    let way: (Place, Place) = match direction {
        Direction::ToGateway => (Client, Gateway),
        Direction::ToClient => (Gateway, Client),
    };
    // What the application said has its own steps.
    let spoken = steps
        .record
        .dialect
        .as_ref()
        .is_some_and(|dialect| match direction {
            Direction::ToGateway => dialect.connect_at.is_some() || dialect.first_message.is_some(),
            Direction::ToClient => dialect.challenge_at.is_some(),
        });
    let over = steps.record.dialect.as_ref().and_then(|dialect| {
        let heard = [
            dialect.challenge_at,
            dialect.connect_at,
            dialect.answered_at,
        ];
        heard.into_iter().flatten().max()
    });
    if let (false, Some(at)) = (spoken, frames.first_at) {
        let text = "the first bytes";
        steps.add(Some(at), way, Event::FirstData, text);
    }
    if let Some(largest) = frames.largest.filter(|one| one.size >= 64 * 1024) {
        let text = format!(
            "its largest frame: {}, {}",
            human_bytes(largest.size),
            opcode_word(largest.opcode)
        );
        steps.add(Some(largest.at), way, Event::Largest, text);
    }
    for violation in &frames.violations {
        let mut text = format!("breaks RFC 6455: {}", violation_words(violation.kind));
        if violation.count > 1 {
            let _ = write!(text, ", {} times", violation.count);
        }
        steps.add(Some(violation.first_at), way, Event::Violation, text);
    }
    let closed = match direction {
        Direction::ToGateway => steps.record.close.client.as_ref(),
        Direction::ToClient => steps.record.close.gateway.as_ref(),
    };
    let closed = closed.map(|seen| seen.at);
    let lasts = frames.last_at.filter(|last| {
        let first = frames.first_at.is_none_or(|first| first < *last);
        let before_close = closed.is_none_or(|closed| *last < closed);
        first && before_close && over.is_none_or(|over| over < *last)
    });
    if let Some(at) = lasts {
        let text = format!(
            "the last bytes of {} in {}",
            human_bytes(frames.wire_bytes),
            count(frames.messages, "message")
        );
        steps.add(Some(at), way, Event::LastData, text);
    }
    if let Some(cut) = frames.in_progress {
        let text = format!(
            "a {} frame is cut off: {} of {}",
            opcode_word(cut.opcode),
            human_bytes(cut.seen),
            human_bytes(cut.declared)
        );
        steps.add(frames.last_at, way, Event::CutFrame, text);
    } else if frames.partial_header > 0 {
        let text = format!(
            "a frame's header is cut off after {} bytes",
            frames.partial_header
        );
        steps.add(frames.last_at, way, Event::CutFrame, text);
    }
    if frames.lost_sync {
        let text = format!(
            "frames cannot be told apart any more ({})",
            word(&direction)
        );
        steps.add(frames.last_at, way, Event::Violation, text);
    }
}
