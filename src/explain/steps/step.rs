//! One step, and the list of steps.

use serde::Serialize;

use crate::explain::offset::offset_ms;
use crate::explain::page_writer::inert;
use crate::session::SessionRecord;
use crate::session::moment::Moment;
use crate::session::party::Phase;

/// Either end of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum StepEnd {
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
pub(crate) enum Event {
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
pub(crate) struct Step {
    /// When it happened, if the record has the time.
    pub at: Option<Moment>,
    /// Milliseconds since the session began.
    pub ms: Option<f64>,
    /// Where it began.
    pub from: StepEnd,
    /// Where it ended; equal to `from` for an event at one place.
    pub to: StepEnd,
    /// Whether it was delivered, as far as the tap knows.
    pub delivered: bool,
    /// The kind of step.
    pub event: Event,
    /// The step in words, inert.
    pub text: String,
}

/// Steps in the order in which they follow from each other.
pub(super) struct Steps<'a> {
    pub(super) record: &'a SessionRecord,
    pub(super) found: Vec<Step>,
}

impl Steps<'_> {
    /// Adds a step that was delivered.
    pub(super) fn add(
        &mut self,
        at: Option<Moment>,
        (from, to): (StepEnd, StepEnd),
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

    /// When a phase began, if the record has the time.
    pub(super) fn began(&self, phase: Phase) -> Option<Moment> {
        self.record.began(phase)
    }

    pub(super) fn in_order(self) -> Vec<Step> {
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
