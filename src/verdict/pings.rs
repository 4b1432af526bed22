//! Unanswered pings: whose they were, for how long they waited, and whether the other end's kernel
//! acknowledged them.
//!
//! While one end does not read, we stop reading from the other one, so a pong may wait there
//! unseen. A ping counts as missed only if its answer could have come through.

use super::view::{View, at, human_ms};
use crate::session::party::{Direction, Leg};
use crate::session::record::Evidence;
use crate::session::record::frames::{TcpFacts, WaitingPings};

/// A ping that has waited for less may simply be in flight when the session ends.
const MISSED_MS: f64 = 5000.0;

/// A silence proves nothing if bytes waited for more than one part in this many of it.
const WAITED_PART: f64 = 10.0;

/// Pings that a leg has left unanswered until the session's end was decided.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Missed {
    /// Their number and times.
    pub waiting: WaitingPings,
    /// From the first of them to the end.
    pub age_ms: f64,
    /// Whether the leg sent not a single byte after the first of them.
    pub silent: bool,
    /// Whether that leg's kernel acknowledged them; `None` if that is not known, or if they may not
    /// have been written because that end did not read.
    pub acknowledged: Option<bool>,
    /// How long bytes waited for that end to read, if that is a large part of the time.
    pub unread_ms: Option<f64>,
}

/// The direction in which a leg's answers travel.
const fn answers(leg: Leg) -> Direction {
    match leg {
        Leg::Client => Direction::ToGateway,
        Leg::Gateway => Direction::ToClient,
    }
}

/// What else is known of an end that did not answer.
fn why(missed: &Missed) -> String {
    match (missed.acknowledged, missed.unread_ms) {
        (Some(true), _) => {
            "; its kernel acknowledged what we had sent, so the process there did not answer"
                .to_owned()
        }
        (Some(false), _) => {
            "; its kernel did not acknowledge what we had sent: its host or the network is gone"
                .to_owned()
        }
        (None, Some(waited)) => format!(
            "; it did not read: bytes waited {} in all for it",
            human_ms(waited)
        ),
        (None, None) => String::new(),
    }
}

impl View<'_> {
    /// The pings to this leg that had been unanswered for 5 s or longer when the end was decided,
    /// although an answer would have come through.
    #[must_use]
    pub fn missed_pings(&self, leg: Leg) -> Option<Missed> {
        let (waiting, age_ms) = self.waiting_pings(leg)?;
        let from = answers(leg);
        if self.held_up_ms(from, age_ms).is_some() {
            return None;
        }
        let last = self.frames_of(from).and_then(|frames| frames.last_at);
        let unread_ms = self.held_up_ms(answers(leg.other()), age_ms);
        let acknowledged = self.acknowledged_by(leg, age_ms);
        Some(Missed {
            waiting,
            age_ms,
            silent: last.is_none_or(|last| last <= waiting.first_at),
            acknowledged: acknowledged.filter(|taken| !taken || unread_ms.is_none()),
            unread_ms,
        })
    }

    /// Whether pings to this leg may be unanswered only because the answer waits where we stopped
    /// reading.
    #[must_use]
    pub fn pongs_held_up(&self, leg: Leg) -> bool {
        let waiting = self.waiting_pings(leg);
        waiting.is_some_and(|(_, age_ms)| self.held_up_ms(answers(leg), age_ms).is_some())
    }

    /// The pings to this leg without an answer, and the time since the first.
    fn waiting_pings(&self, leg: Leg) -> Option<(WaitingPings, f64)> {
        let unanswered = self.record().latency.as_ref()?.unanswered_pings;
        let waiting = match leg {
            Leg::Client => unanswered.client?,
            Leg::Gateway => unanswered.gateway?,
        };
        let end = self.decided_at()?;
        #[expect(clippy::cast_precision_loss, reason = "milliseconds of one session")]
        let age_ms = end.millis_since(waiting.first_at) as f64;
        (age_ms >= MISSED_MS).then_some((waiting, age_ms))
    }

    /// How long bytes of this direction waited for their receiver, if that is so much of a silence
    /// in it that bytes of its sender may have waited unread. The time is counted over the whole
    /// session, so this is an upper bound.
    #[must_use]
    pub fn held_up_ms(&self, direction: Direction, silence_ms: f64) -> Option<f64> {
        let blocked = self.record().latency.as_ref()?.blocked_ms;
        let waited = match direction {
            Direction::ToGateway => blocked.to_gateway,
            Direction::ToClient => blocked.to_client,
        };
        (waited > 0.0 && waited * WAITED_PART >= silence_ms).then_some(waited)
    }

    /// The same as evidence, for both legs.
    #[must_use]
    pub fn missed_pings_evidence(&self) -> Vec<Evidence> {
        [Leg::Client, Leg::Gateway]
            .into_iter()
            .filter_map(|leg| {
                let (waiting, age_ms) = self.waiting_pings(leg)?;
                let (silent, asked) = (leg.party().as_str(), leg.other().party().as_str());
                let pings = match waiting.count {
                    1 => format!("a ping of the {asked}"),
                    count => format!("{count} pings of the {asked}, this the first,"),
                };
                let age = human_ms(age_ms);
                let why = match (
                    self.missed_pings(leg),
                    self.held_up_ms(answers(leg), age_ms),
                ) {
                    (None, Some(waited)) => format!(
                        "; that proves nothing: bytes of the {silent} waited {} in all because the \
                         {asked} did not read, and an answer may have waited after them",
                        human_ms(waited)
                    ),
                    (None, None) => String::new(),
                    (Some(missed), _) => why(&missed),
                };
                Some(at(
                    waiting.first_at,
                    format!("{pings} had no answer from the {silent} for {age}{why}"),
                ))
            })
            .collect()
    }

    /// The kernel's TCP state of a leg at the end.
    #[must_use]
    pub fn tcp_of(&self, leg: Leg) -> Option<TcpFacts> {
        match leg {
            Leg::Client => self.record().client.tcp,
            Leg::Gateway => self.record().gateway.as_ref()?.tcp,
        }
    }
}
