//! The page of one session: its parties, phases, steps, traffic, and how and why it ended.

mod around;

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::offset::offset_ms;
use super::page_writer::{NAME, PageWriter, count, inert, pad, pad_left, word};
use super::phases::phases;
use super::steps::{LANES, Step, credential_words, lane, steps};
use crate::session::SessionRecord;
use crate::session::record::{
    CloseFacts, DirectionFrames, Frames, GatewayFacts, Kind, Latency, Repeats, Saw, SawBasis,
    Verdict,
};
use crate::verdict;
use crate::verdict::words::{human_bytes, human_ms};

/// Width of the time column before each step.
const TIME: usize = 9;

/// A tap that started less than this before a session says so: evidence from other sessions, such as attempts of the same
/// client, is mostly from the last five minutes.
const YOUNG_MS: u32 = 5 * 60 * 1000;

/// A record, judged by the rules of this version.
#[derive(Debug)]
pub(crate) struct Story<'a> {
    record: &'a SessionRecord,
    verdict: Verdict,
}

impl<'a> Story<'a> {
    /// Judges a record again.
    #[must_use]
    pub(crate) fn new(record: &'a SessionRecord) -> Self {
        Self {
            record,
            verdict: verdict::decide(record),
        }
    }

    /// The stored verdict in words, if this version judges differently.
    fn differs(&self) -> Option<String> {
        let stored = self.record.verdict.as_ref()?;
        (stored.rule != self.verdict.rule).then(|| {
            format!(
                "wstap {} had judged: {} ({})",
                self.record.tap.version, stored.rule, stored.summary
            )
        })
    }

    /// The page as JSON; see `docs/explain.md`.
    #[must_use]
    pub(crate) fn json(&self) -> Value {
        json!({
            "explains": "session",
            "id": self.record.id,
            "phases": phases(self.record),
            "steps": steps(self.record),
            "verdict": self.verdict,
            "stored_rule": self.record.verdict.as_ref().map(|stored| &stored.rule),
            "record": self.record,
        })
    }

    /// The page for people, `width` columns wide.
    #[must_use]
    pub(crate) fn page(&self, width: usize) -> String {
        let record = self.record;
        let mut writer = PageWriter::new(width);
        writer.title(&format!("session {}", record.id));
        self.parties(&mut writer);
        writer.heading("Step by step");
        writer.table_row(&format!("  {}  {LANES}", pad_left("+ms", TIME)));
        for step in steps(record) {
            writer.item(&margin(&step), &step.text);
        }
        let spans = phases(record);
        if !spans.is_empty() {
            writer.heading("Phases");
        }
        for span in spans {
            let ms = span.ms.map_or_else(String::new, human_ms);
            let name = pad(span.phase.as_str(), NAME);
            let first = format!("  {name}  {}  ", pad_left(&ms, 8));
            writer.item(&first, &span.parts);
        }
        self.facts(&mut writer);
        self.ends(&mut writer);
        self.judgement(&mut writer);
        writer.finish()
    }

    fn parties(&self, writer: &mut PageWriter) {
        let record = self.record;
        let text = format!(
            "{}, {}, reached {}",
            record.opened_at,
            human_ms(record.duration_ms),
            record.phase.as_str()
        );
        writer.row(&word(&record.kind), NAME, &text);
        let mut client = record.client.addr.clone();
        let said = record.application();
        if let Some(words) = said.client_words() {
            let _ = write!(client, ", {words}");
        }
        writer.row("client", NAME, &client);
        let tap = &record.tap;
        let mut text = format!("{}, wstap {}, {}", tap.name, tap.version, tap.listener);
        let age = tap.started_at.map(|at| record.opened_at.millis_since(at));
        if let Some(age) = age.and_then(|ms| u32::try_from(ms).ok())
            && age < YOUNG_MS
        {
            let age = human_ms(age.into());
            let _ = write!(
                text,
                ", started {age} before: knew only sessions since then"
            );
        }
        writer.row("tap", NAME, &text);
        if let Some(gateway) = &record.gateway {
            writer.row("gateway", NAME, &gateway_words(gateway));
        }
        if let Some(repeats) = &record.repeats {
            writer.row("repeats", NAME, &repeats_words(repeats));
        }
    }

    fn facts(&self, writer: &mut PageWriter) {
        let record = self.record;
        if !record.auth.is_empty() {
            writer.heading("Credentials");
            for credential in &record.auth {
                writer.item("  ", &credential_words(credential));
            }
            if record.auth_dropped > 0 {
                writer.item("  ", &format!("and {} more", record.auth_dropped));
            }
        }
        if let Some(forwarded) = record
            .gateway
            .as_ref()
            .and_then(|one| one.forwarded.as_ref())
        {
            writer.heading("Attribution headers");
            let why = forwarded.why.map_or_else(String::new, |why| {
                format!(", because: {}", word(&why).replace('_', " "))
            });
            let text = format!("{}{why}", word(&forwarded.mode));
            writer.row("mode", NAME, &text);
            let brought: Vec<&str> = forwarded.brought.iter().map(AsRef::as_ref).collect();
            writer.row("brought", NAME, &none_or(&brought.join(", ")));
            for header in &forwarded.sent {
                writer.row("sent", NAME, &format!("{}: {}", header.name, header.value));
            }
            let believed = word(&forwarded.acceptance).replace('_', " ");
            writer.row("believed", NAME, &believed);
        }
        if let Some(frames) = &record.frames {
            moved(writer, frames, record.latency.as_ref());
        }
        if let Some(rpc) = record.application().requests {
            around::requests(writer, rpc);
        }
        if let Some(context) = &record.context {
            around::recent(writer, context);
        }
    }

    fn ends(&self, writer: &mut PageWriter) {
        let record = self.record;
        let close = &record.close;
        writer.heading("What each end saw");
        if record.had_tunnel() {
            writer.row("client", NAME, &saw_words(close.client_saw));
            writer.row("gateway", NAME, &saw_words(close.gateway_saw));
        } else {
            let text = match &record.answer {
                Some(answer) => format!("HTTP {} by the {}", answer.status, word(&answer.by)),
                None if record.passthrough.is_some() => "not known: it passed unread".to_owned(),
                None => "no answer".to_owned(),
            };
            writer.row("client", NAME, &text);
        }
        if let Some(first) = record.first_act() {
            let text = format!("the {} ended it", first.party.as_str());
            writer.row("first", NAME, &text);
        }
        writer.row("transport", NAME, &transport_words(close));
    }

    fn judgement(&self, writer: &mut PageWriter) {
        let verdict = &self.verdict;
        writer.gap();
        let text = format!("{} ({})", verdict.rule, word(&verdict.confidence));
        writer.class(verdict.class, &text);
        writer.text("  ", &verdict.summary);
        for evidence in &verdict.evidence {
            let mark = match evidence.at {
                Some(at) => format!("  {}  ", time(Some(offset_ms(self.record, at)))),
                None => format!("  {}  ", pad_left("-", TIME)),
            };
            writer.item(&mark, &evidence.fact);
        }
        let layer = verdict
            .layer
            .map_or_else(String::new, |layer| format!(", layer {layer:?}"));
        let text = format!(
            "ended by {}, to act: {}{layer}",
            verdict.party.as_str(),
            word(&verdict.act_on)
        );
        writer.text("  ", &text);
        if let Some(text) = self.differs() {
            writer.text("  ", &text);
        }
        writer.next(&verdict.next);
    }
}

fn margin(step: &Step) -> String {
    format!("  {}  {}  ", time(step.ms), lane(step))
}

/// `     12.3`, or blanks where the record does not say.
fn time(ms: Option<f64>) -> String {
    let text = match ms {
        None => String::new(),
        Some(ms) if ms < 1e7 => format!("{ms:.1}"),
        Some(ms) => format!("{ms:.0}"),
    };
    pad_left(&text, TIME)
}

fn none_or(text: &str) -> String {
    if text.is_empty() {
        "nothing".to_owned()
    } else {
        text.to_owned()
    }
}

fn gateway_words(gateway: &GatewayFacts) -> String {
    let mut text = gateway.url.clone();
    if let Some(addr) = &gateway.addr
        && !gateway.url.contains(addr.as_str())
    {
        let _ = write!(text, " at {addr}");
    }
    if let Some(local) = &gateway.local_addr {
        let _ = write!(text, ", seen there as {local}");
    }
    text
}

fn moved(writer: &mut PageWriter, frames: &Frames, latency: Option<&Latency>) {
    writer.heading("Frames");
    let blocked = latency.map(|latency| latency.blocked_ms);
    let rtt = latency.map(|latency| latency.ping_rtt);
    let unanswered = latency.map(|latency| latency.unanswered_pings);
    let directions = [
        (
            "to gateway",
            &frames.to_gateway,
            blocked.map_or(0.0, |one| one.to_gateway),
            rtt.and_then(|one| one.gateway),
            unanswered.and_then(|one| one.gateway),
        ),
        (
            "to client",
            &frames.to_client,
            blocked.map_or(0.0, |one| one.to_client),
            rtt.and_then(|one| one.client),
            unanswered.and_then(|one| one.client),
        ),
    ];
    for (name, direction, blocked_ms, rtt, unanswered) in directions {
        let mut text = frame_words(direction);
        if blocked_ms >= 1.0 {
            let _ = write!(text, "; waited {} for its reader", human_ms(blocked_ms));
        }
        if let Some(rtt) = rtt {
            let _ = write!(
                text,
                "; {} from there, {} to {}",
                count(rtt.count, "pong"),
                human_ms(rtt.min_ms),
                human_ms(rtt.max_ms)
            );
        }
        if let Some(unanswered) = unanswered {
            let pings = count(unanswered.count, "ping");
            let _ = write!(text, "; {pings} there without an answer at the end");
        }
        writer.row(name, NAME, &text);
    }
}

/// `2 messages, 640 B: 2 text, 1 close; the largest 412 B`
fn frame_words(frames: &DirectionFrames) -> String {
    let mut text = format!(
        "{}, {}",
        count(frames.messages, "message"),
        human_bytes(frames.wire_bytes)
    );
    let opcodes = &frames.opcodes;
    let kinds = [
        ("text", opcodes.text),
        ("binary", opcodes.binary),
        ("continuation", opcodes.continuation),
        ("ping", opcodes.ping),
        ("pong", opcodes.pong),
        ("close", opcodes.close),
        ("reserved", opcodes.reserved),
    ];
    let kinds: Vec<String> = kinds
        .into_iter()
        .filter(|(_, count)| *count > 0)
        .map(|(name, count)| format!("{count} {name}"))
        .collect();
    if !kinds.is_empty() {
        let _ = write!(text, ": {}", kinds.join(", "));
    }
    if let Some(largest) = frames.largest {
        let _ = write!(text, "; the largest {}", human_bytes(largest.size));
    }
    text
}

fn saw_words(saw: Option<Saw>) -> String {
    let Some(saw) = saw else {
        return "nothing: it was gone first".to_owned();
    };
    let name = saw
        .code
        .name()
        .map_or_else(String::new, |name| format!(" {name}"));
    let basis = match saw.basis {
        SawBasis::Acked => "it answered",
        SawBasis::Written => "written to its connection",
        SawBasis::Undelivered => "what was sent could not be delivered",
    };
    format!("{}{name} ({basis})", saw.code)
}

fn transport_words(close: &CloseFacts) -> String {
    let ends = &close.transport;
    let one = |end: crate::session::record::TransportEnd| end.as_str();
    format!("client {}, gateway {}", one(ends.client), one(ends.gateway))
}

/// One line for a list of sessions: `01a1fcb4-…  2026-…Z  127.0.0.1:5  gateway.auth`.
#[must_use]
pub(crate) fn one_line(record: &SessionRecord) -> String {
    let verdict = verdict::decide(record);
    let path = match (&record.request, record.kind) {
        (Some(request), Kind::Http | Kind::Websocket) => format!(" {}", request.path),
        _ => String::new(),
    };
    let repeats = record.repeats.map_or_else(String::new, |repeats| {
        format!("  the last of {} sessions", repeats.count)
    });
    inert(&format!(
        "{}  {}  {}{path}  {}{repeats}",
        record.id, record.opened_at, record.client.addr, verdict.rule
    ))
}

/// Describes the other sessions that a record covers.
fn repeats_words(repeats: &Repeats) -> String {
    let Repeats {
        count,
        first_at,
        last_at,
        many_clients,
    } = repeats;
    let of = if *many_clients {
        "many clients"
    } else {
        "this client"
    };
    format!(
        "this is the last of {count} sessions of {of} that ended by the same rule between {first_at} and \
         {last_at}; the others have no record of their own"
    )
}
