//! Steps inside the tunnel: the application's messages, and the traffic.

use std::fmt::Write as _;

use super::openclaw;
use super::step::StepEnd::{Client, Gateway, Tap};
use super::step::{Event, StepEnd, Steps};
use crate::explain::page_writer::{count, word};
use crate::session::party::{Direction, Phase};
use crate::session::record::dialect::{ConnectResult, RpcFacts};
use crate::session::record::{Application, DialectFacts, DirectionFrames};
use crate::verdict::words::{front, human_bytes, human_ms, opcode_word, quoted, violation_words};

pub(super) fn add_steps(steps: &mut Steps<'_>) {
    if let Some(at) = steps.began(Phase::Handshake) {
        let text = "the tunnel is open";
        steps.add(Some(at), (Tap, Tap), Event::Tunnel, text);
    }
    let said = steps.record.application();
    match &steps.record.dialect {
        Some(DialectFacts::OpenClaw(facts)) => openclaw::handshake(steps, facts),
        Some(DialectFacts::Other(_)) => handshake(steps, &said),
        Some(DialectFacts::Plain(_)) | None => {}
    }
    if let Some(frames) = &steps.record.frames {
        moved(steps, Direction::ToGateway, &frames.to_gateway);
        moved(steps, Direction::ToClient, &frames.to_client);
    }
    if let Some(rpc) = said.requests {
        requests(steps, rpc);
    }
    if let Some(shutdown) = said.shutdown {
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

/// The handshake of a dialect without its own steps.
fn handshake(steps: &mut Steps<'_>, said: &Application<'_>) {
    if let Some(at) = said.asked_at {
        let text = "asks to be let in";
        steps.add(Some(at), (Client, Gateway), Event::Connect, text);
    }
    let way = (Gateway, Client);
    match said.result {
        ConnectResult::None => {}
        ConnectResult::Accepted => {
            steps.add(said.answered_at, way, Event::Hello, "lets the client in");
        }
        ConnectResult::Refused => {
            let mut text = "refuses the client".to_owned();
            let refusal = said.refusal.clone().unwrap_or_default();
            for (name, code) in refusal.codes {
                let _ = write!(text, ", {name} {code}");
            }
            if let Some(message) = refusal.message {
                let _ = write!(text, " {}", quoted(message));
            }
            if let Some(ms) = refusal.retry_after_ms {
                let _ = write!(text, ", retry after {ms} ms");
            }
            steps.add(said.answered_at, way, Event::Refusal, text);
        }
    }
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
    let way: (StepEnd, StepEnd) = match direction {
        Direction::ToGateway => (Client, Gateway),
        Direction::ToClient => (Gateway, Client),
    };
    // The application's messages have their own steps.
    let said = steps.record.application();
    let spoken = match direction {
        Direction::ToGateway => said.asked_at.is_some() || said.client_spoke,
        Direction::ToClient => said.greeted_at.is_some(),
    };
    let heard = [said.greeted_at, said.asked_at, said.answered_at];
    let over = heard.into_iter().flatten().max();
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
