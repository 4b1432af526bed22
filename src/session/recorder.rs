//! Collects one session's facts and turns them into its record, once.

mod answer;
mod client;
pub(crate) mod gateway;
mod tunnel;

use std::sync::Arc;
use std::time::Instant;

use uuid::Uuid;

use super::credential::Credential;
use super::legs::Ending;
use super::moment::{Anchor, Moment, millis};
use super::party::Phase;
use super::record::{
    AnswerBy, AnswerFacts, ClientFacts, DialectFacts, Frames, GatewayFacts, Kind, Latency,
    OriginFacts, PassthroughFacts, PhaseBegan, RequestFacts, SessionRecord, TapFacts, TapMode,
    texts,
};
use super::secrets::SeenSecrets;

/// The record while its session is open. [`Recorder::finish`] consumes it.
#[derive(Clone, Debug)]
pub struct Recorder {
    facts: Facts,
    ending: Ending,
    /// Secrets that the session has shown. No text of the record may quote them.
    seen: SeenSecrets,
    anchor: Anchor,
}

/// Facts known before the session ends, each as in [`SessionRecord`]. Facts that are known only at
/// the end have no room here: sessions are idle for hours.
#[derive(Clone, Debug, Default)]
#[expect(missing_docs, reason = "documented in the record")]
pub struct Facts {
    pub id: Uuid,
    pub kind: Kind,
    pub tap: Tapped,
    /// Separate from the other tap facts, where it takes no room.
    pub mode: TapMode,
    pub phase: Phase,
    pub phases: Vec<PhaseBegan>,
    pub client: ClientFacts,
    pub request: Option<RequestFacts>,
    pub auth: Vec<Credential>,
    pub auth_dropped: u64,
    pub origin: Option<OriginFacts>,
    pub gateway: Option<GatewayFacts>,
    pub answer: Option<AnswerFacts>,
    /// Set by a tunnel when it ends.
    pub tunnel: Option<Box<Tunnelled>>,
}

/// [`TapFacts`] without the fields that are the same in all sessions.
#[derive(Clone, Debug, Default)]
#[expect(missing_docs, reason = "documented in the record")]
pub struct Tapped {
    pub identity: Arc<TapIdentity>,
    pub listener: Box<str>,
    pub listener_key: Arc<str>,
}

/// The fields of [`TapFacts`] that are the same in all records of one tap.
#[derive(Clone, Debug, Default)]
#[expect(missing_docs, reason = "documented in the record")]
pub struct TapIdentity {
    pub name: String,
    pub started_at: Option<Moment>,
}

impl From<Tapped> for TapFacts {
    fn from(tapped: Tapped) -> Self {
        Self {
            name: tapped.identity.name.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            started_at: tapped.identity.started_at,
            listener: tapped.listener.into(),
            listener_key: tapped.listener_key.as_ref().to_owned(),
            mode: TapMode::default(),
        }
    }
}

/// What a tunnel reports when it ends.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "documented in the record")]
#[expect(clippy::large_enum_variant, reason = "it is only ever boxed")]
pub enum Tunnelled {
    WebSocket {
        frames: Frames,
        latency: Latency,
        dialect: DialectFacts,
    },
    Unread(Box<PassthroughFacts>),
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
            seen: SeenSecrets::default(),
            anchor,
        }
    }

    /// The facts so far, read-only.
    #[must_use]
    pub fn facts(&self) -> &Facts {
        &self.facts
    }

    /// How the session is ending, read-only.
    #[must_use]
    pub fn ending(&self) -> &Ending {
        &self.ending
    }

    /// For tests, which begin in the middle of a session.
    #[cfg(test)]
    pub(crate) fn facts_mut(&mut self) -> &mut Facts {
        &mut self.facts
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

    /// Records how far the session got; it never goes back.
    fn reach(&mut self, phase: Phase) {
        self.facts.phase = self.facts.phase.max(phase);
    }

    /// Records that the phase that the session has reached began at `now`; once for each phase.
    pub fn began(&mut self, now: Instant) {
        let phase = self.facts.phase;
        let last = self.facts.phases.last().map(|began| began.phase);
        if last.is_none_or(|last| last < phase) {
            let at = self.at(now);
            if last.is_none() {
                // As many phases as an open session has had.
                self.facts.phases.reserve_exact(6);
            }
            self.facts.phases.push(PhaseBegan { phase, at });
        }
    }

    /// Whether the record is of an upgrade attempt.
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
            seen,
            anchor,
        } = self;
        let mut record = SessionRecord {
            id: facts.id,
            kind: facts.kind,
            tap: TapFacts {
                mode: facts.mode,
                ..facts.tap.into()
            },
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
            ..SessionRecord::default()
        };
        match facts.tunnel.map(|tunnel| *tunnel) {
            Some(Tunnelled::WebSocket {
                frames,
                latency,
                dialect,
            }) => {
                record.frames = Some(frames);
                record.latency = Some(latency);
                record.dialect = Some(dialect);
            }
            Some(Tunnelled::Unread(passed)) => record.passthrough = Some(passed),
            None => {}
        }
        // A denial by Close opens a WebSocket with the client, and no tunnel.
        let denied = record
            .answer
            .as_ref()
            .is_some_and(|answer| answer.by == AnswerBy::Tap && answer.status == 101);
        record.close = ending.facts(record.had_tunnel() || denied, &anchor);
        record.note_first_act(ending.unrecorded(&anchor));
        if record.gateway.is_none() {
            // The tap answered in the gateway's place, so no gateway saw anything.
            record.close.gateway_saw = None;
        }
        if !seen.is_empty() {
            let masker = seen.masker();
            record.each_text(&mut |text| masker.apply(text));
        }
        record
    }

    /// Masks the secrets that are known so far in a text of ours that may quote the request.
    #[must_use]
    pub fn masked(&self, text: String) -> String {
        if self.seen.is_empty() {
            return text;
        }
        self.seen.masker().mask(&text).unwrap_or(text)
    }

    /// Masks the secrets that are known so far in the request's texts, which `/sessions` shows
    /// while the session is open.
    fn mask_request(&mut self) {
        if self.seen.is_empty() {
            return;
        }
        let masker = self.seen.masker();
        texts::of_credentials(&mut self.facts.auth, &mut |text| masker.apply(text));
        if let Some(request) = &mut self.facts.request {
            texts::of_request(request, &mut |text| masker.apply(text));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::session::text::PeerText;

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

    /// One recorder is kept for every open session, which is mostly idle for hours.
    #[test]
    #[cfg(target_pointer_width = "64")]
    fn what_is_kept_before_the_end_grows_by_nobodys_oversight() {
        let recorder = size_of::<Recorder>();
        assert!(recorder <= 1480, "a recorder takes {recorder} bytes");
        let ending = size_of::<Ending>();
        assert!(
            ending <= 8,
            "before it begins an ending takes {ending} bytes"
        );
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
    fn a_finished_record_quotes_no_secret_that_was_seen() {
        const SECRET: &str = "Zq83kd01LwmX7pqTy5630dhs";
        let start = Instant::now();
        let anchor = Anchor::new("2026-11-21T00:00:00Z".parse().unwrap(), start);
        let mut recorder = Recorder::new(Uuid::nil(), anchor);
        recorder.facts.request = Some(RequestFacts {
            host: Some(PeerText::new(&format!("{SECRET}.example"), 255)),
            ..RequestFacts::default()
        });
        // The secret was seen after the head, inside a frame.
        recorder.mask_request();
        assert!(format!("{:?}", recorder.facts).contains(SECRET));
        recorder.seen.add(SECRET.as_bytes());
        recorder.mask_request();
        assert!(!format!("{:?}", recorder.facts).contains(SECRET));
        let shown = |recorder: Recorder| recorder.finish(start).request.unwrap().host.unwrap();
        assert_eq!(shown(recorder).as_str(), "[masked 24].example");
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
