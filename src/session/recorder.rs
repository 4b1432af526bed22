//! Collects one session's facts and turns them into its record, once.

use std::time::Instant;

use uuid::Uuid;

use super::legs::Ending;
use super::moment::{Anchor, Moment, millis};
use super::party::Phase;
use super::record::{Kind, PhaseBegan, SessionRecord};

/// The record while its session lives. [`Recorder::finish`] consumes it.
#[derive(Clone, Debug)]
pub struct Recorder {
    /// The facts so far; `close`, `closed_at` and `duration_ms` are filled in at the end.
    pub facts: Box<SessionRecord>,
    /// How it is ending.
    pub ending: Ending,
    anchor: Anchor,
}

impl Recorder {
    /// Begins a record at the anchor's time.
    #[must_use]
    pub fn new(id: Uuid, anchor: Anchor) -> Self {
        let opened_at = anchor.at(anchor.opened());
        let facts = Box::new(SessionRecord {
            id,
            opened_at,
            ..SessionRecord::default()
        });
        Self {
            facts,
            ending: Ending::default(),
            anchor,
        }
    }

    /// The session's clock.
    #[must_use]
    pub fn anchor(&self) -> &Anchor {
        &self.anchor
    }

    /// `now` as the record shows it.
    #[must_use]
    pub fn at(&self, now: Instant) -> Moment {
        self.anchor.at(now)
    }

    /// Notes how far the session got; it never goes back.
    pub fn reach(&mut self, phase: Phase) {
        self.facts.phase = self.facts.phase.max(phase);
    }

    /// Notes that the phase that it has reached began at `now`, once for each phase.
    pub fn began(&mut self, now: Instant) {
        let phase = self.facts.phase;
        let last = self.facts.phases.last().map(|began| began.phase);
        if last.is_none_or(|last| last < phase) {
            let at = self.at(now);
            self.facts.phases.push(PhaseBegan { phase, at });
        }
    }

    /// Whether the record tells of an upgrade attempt.
    #[must_use]
    pub fn is_websocket(&self) -> bool {
        self.facts.kind == Kind::Websocket
    }

    /// The finished record, without a verdict.
    #[must_use]
    pub fn finish(mut self, now: Instant) -> SessionRecord {
        let tunnel = self.facts.had_tunnel();
        self.facts.close = self.ending.facts(tunnel, &self.anchor);
        if self.facts.gateway.is_none() {
            // The tap answered in its place: there was nobody to see anything.
            self.facts.close.gateway_saw = None;
        }
        self.facts.closed_at = self.anchor.at(now);
        self.facts.duration_ms = millis(self.anchor.since(now));
        *self.facts
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn phases_never_go_back_and_durations_are_monotonic() {
        let start = Instant::now();
        let wall = "2026-11-21T00:00:00Z".parse().unwrap();
        let mut recorder = Recorder::new(Uuid::nil(), Anchor::new(wall, start));
        recorder.reach(Phase::Dial);
        recorder.reach(Phase::Request);
        let record = recorder.finish(start + Duration::from_millis(12));
        assert_eq!(record.phase, Phase::Dial);
        assert!((record.duration_ms - 12.0).abs() < 1e-9);
        assert_eq!(record.closed_at.to_string(), "2026-11-21T00:00:00.012000Z");
    }

    #[test]
    fn each_phase_begins_once() {
        let start = Instant::now();
        let anchor = Anchor::new("2026-11-21T00:00:00Z".parse().unwrap(), start);
        let mut recorder = Recorder::new(Uuid::nil(), anchor);
        recorder.reach(Phase::Dial);
        recorder.began(start + Duration::from_millis(1));
        recorder.reach(Phase::Request);
        recorder.began(start + Duration::from_millis(2));
        recorder.reach(Phase::Open);
        recorder.began(start + Duration::from_millis(3));
        let began = recorder.finish(start).phases;
        let began: Vec<_> = began.iter().map(|one| one.phase).collect();
        assert_eq!(began, [Phase::Dial, Phase::Open]);
    }

    #[test]
    fn a_record_reads_back_from_its_json() {
        let start = Instant::now();
        let anchor = Anchor::new("2026-11-21T00:00:00Z".parse().unwrap(), start);
        let record = Recorder::new(Uuid::nil(), anchor).finish(start);
        let json = serde_json::to_string(&record).unwrap();
        assert!(json.starts_with(r#"{"schema":"wstap.session/1","id":""#));
        assert_eq!(
            serde_json::from_str::<SessionRecord>(&json).unwrap(),
            record
        );
    }
}
