//! Collects one session's facts and turns them into its record, once.

use std::time::Instant;

use uuid::Uuid;

use super::credential::Credential;
use super::legs::Ending;
use super::moment::{Anchor, Moment, millis};
use super::party::Phase;
use super::record::{
    AnswerFacts, ClientFacts, DialectFacts, Frames, GatewayFacts, Kind, Latency, OriginFacts,
    PhaseBegan, RequestFacts, SessionRecord, TapFacts,
};

/// The record while its session lives. [`Recorder::finish`] consumes it.
#[derive(Clone, Debug)]
pub struct Recorder {
    /// The facts so far.
    pub facts: Facts,
    /// How it is ending.
    pub ending: Ending,
    anchor: Anchor,
}

/// What is known of a session before its end, each as in [`SessionRecord`]. What only the end tells
/// has no room here: sessions are idle for hours.
#[derive(Clone, Debug, Default)]
#[expect(missing_docs, reason = "documented in the record")]
pub struct Facts {
    pub id: Uuid,
    pub kind: Kind,
    pub tap: TapFacts,
    pub phase: Phase,
    pub phases: Vec<PhaseBegan>,
    pub client: ClientFacts,
    pub request: Option<RequestFacts>,
    pub auth: Vec<Credential>,
    pub auth_dropped: u64,
    pub origin: Option<OriginFacts>,
    pub gateway: Option<GatewayFacts>,
    pub answer: Option<AnswerFacts>,
    /// Told by a tunnel when it ends.
    pub tunnel: Option<Box<Tunnelled>>,
}

/// What a tunnel tells when it ends.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "documented in the record")]
pub struct Tunnelled {
    pub frames: Frames,
    pub latency: Latency,
    pub dialect: DialectFacts,
}

impl Recorder {
    /// Begins a record at the anchor's time.
    #[must_use]
    pub fn new(id: Uuid, anchor: Anchor) -> Self {
        let facts = Facts {
            id,
            ..Facts::default()
        };
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
    pub fn finish(self, now: Instant) -> SessionRecord {
        let Self {
            facts,
            ending,
            anchor,
        } = self;
        let tunnel = facts.tunnel.map(|tunnel| *tunnel);
        let (frames, latency, dialect) = match tunnel {
            Some(told) => (Some(told.frames), Some(told.latency), Some(told.dialect)),
            None => (None, None, None),
        };
        let mut record = SessionRecord {
            id: facts.id,
            kind: facts.kind,
            tap: facts.tap,
            opened_at: anchor.at(anchor.opened()),
            closed_at: anchor.at(now),
            duration_ms: millis(anchor.since(now)),
            phase: facts.phase,
            phases: facts.phases,
            client: facts.client,
            request: facts.request,
            auth: facts.auth,
            auth_dropped: facts.auth_dropped,
            origin: facts.origin,
            gateway: facts.gateway,
            answer: facts.answer,
            frames,
            latency,
            dialect,
            ..SessionRecord::default()
        };
        record.close = ending.facts(record.had_tunnel(), &anchor);
        if record.gateway.is_none() {
            // The tap answered in its place: there was nobody to see anything.
            record.close.gateway_saw = None;
        }
        record
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
