//! A record, step by step: what happened on which leg, and when.
//!
//! Pure. Steps whose time a record does not hold stand behind the step that they follow from.

mod ending;
mod opening;
mod passthrough;
mod tunnel;

use serde::Serialize;

pub(super) use opening::credential_words;
pub(super) use tunnel::client_words;

use super::paper::inert;
use crate::session::SessionRecord;
use crate::session::moment::Moment;
use crate::session::party::Phase;

/// Where a step begins and ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Place {
    /// The downstream peer.
    Client,
    /// This program.
    Tap,
    /// The upstream peer.
    Gateway,
}

/// What kind of step it is, for programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "docs/explain.md explains each")]
pub enum Event {
    Accepted,
    Tls,
    FirstBytes,
    Request,
    Credential,
    RefusedHead,
    Origin,
    Denied,
    Dial,
    Forwarded,
    SentOn,
    Answer,
    Error,
    Tunnel,
    Challenge,
    Connect,
    FirstMessage,
    Hello,
    Refusal,
    RequestFailed,
    RequestUnanswered,
    Shutdown,
    FirstData,
    Largest,
    LastData,
    Violation,
    CutFrame,
    Close,
    Timer,
    Cap,
    Drained,
    Fault,
    LegEnded,
    Over,
}

/// One thing that happened.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Step {
    /// When, where the record says so.
    pub at: Option<Moment>,
    /// Milliseconds since the session began.
    pub ms: Option<f64>,
    /// From where.
    pub from: Place,
    /// To where; the same place for what happened there.
    pub to: Place,
    /// It got there, as far as the tap knows.
    pub delivered: bool,
    /// What kind.
    pub event: Event,
    /// In words, inert.
    pub text: String,
}

/// Everything that happened, in order of time.
#[must_use]
pub fn steps(record: &SessionRecord) -> Vec<Step> {
    let mut steps = Steps {
        record,
        found: Vec::new(),
    };
    opening::tell(&mut steps);
    passthrough::tell(&mut steps);
    tunnel::tell(&mut steps);
    ending::tell(&mut steps);
    steps.in_order()
}

/// Steps in the order in which they follow from each other.
struct Steps<'a> {
    record: &'a SessionRecord,
    found: Vec<Step>,
}

impl Steps<'_> {
    /// Adds a step that got where it was sent.
    fn add(
        &mut self,
        at: Option<Moment>,
        (from, to): (Place, Place),
        event: Event,
        text: impl AsRef<str>,
    ) {
        self.found.push(Step {
            at,
            ms: at.map(|at| offset_ms(self.record, at)),
            from,
            to,
            delivered: true,
            event,
            text: inert(text.as_ref()),
        });
    }

    /// When a phase began, where the record says so.
    fn began(&self, phase: Phase) -> Option<Moment> {
        self.record.began(phase)
    }

    fn in_order(self) -> Vec<Step> {
        let mut latest = self.record.opened_at;
        let mut keyed: Vec<(Moment, Step)> = self
            .found
            .into_iter()
            .map(|step| {
                latest = step.at.unwrap_or(latest);
                (latest, step)
            })
            .collect();
        keyed.sort_by_key(|(at, _)| *at);
        keyed.into_iter().map(|(_, step)| step).collect()
    }
}

/// Milliseconds from the session's begin to a moment.
pub(super) fn offset_ms(record: &SessionRecord, at: Moment) -> f64 {
    between_ms(record.opened_at, at)
}

/// Milliseconds from one moment to another.
#[expect(
    clippy::cast_precision_loss,
    reason = "2^53 microseconds are 285 years"
)]
pub(super) fn between_ms(from: Moment, to: Moment) -> f64 {
    let micros = |moment: Moment| moment.0.as_microsecond();
    micros(to).saturating_sub(micros(from)) as f64 / 1000.0
}

/// The word that a fact is recorded as.
pub(super) fn word(fact: &impl Serialize) -> String {
    match serde_json::to_value(fact) {
        Ok(serde_json::Value::String(word)) => word,
        _ => String::new(),
    }
}

/// `client`, `tap` and `gateway` as lines, and the step as an arrow between them.
pub(super) fn lane(step: &Step) -> &'static str {
    use Place::{Client, Gateway, Tap};
    let ended = step.event == Event::LegEnded;
    match (step.from, step.to, step.delivered) {
        (Client, Tap, _) if ended => "✕─────▶│      │",
        (Tap, Client, _) if ended => "│◀─────✕      │",
        (Gateway, Tap, _) if ended => "│      │◀─────✕",
        (Tap, Gateway, _) if ended => "│      ✕─────▶│",
        (Client, Tap, _) => "│─────▶│      │",
        (Client, Gateway, true) => "│─────▶│─────▶│",
        (Client, Gateway, false) => "│─────▶│──✕   │",
        (Tap, Gateway, true) => "│      │─────▶│",
        (Tap, Gateway, false) => "│      │──✕   │",
        (Gateway, Tap, _) => "│      │◀─────│",
        (Gateway, Client, true) => "│◀─────│◀─────│",
        (Gateway, Client, false) => "│   ✕──│◀─────│",
        (Tap, Client, true) => "│◀─────│      │",
        (Tap, Client, false) => "│   ✕──│      │",
        (Client, Client, _) => "●      │      │",
        (Tap, Tap, _) => "│      ●      │",
        (Gateway, Gateway, _) => "│      │      ●",
    }
}

/// Above the lanes.
pub(super) const LANES: &str = "client tap    gateway";
