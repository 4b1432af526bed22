//! Unanswered pings: which leg's, for how long, and whether the other end's kernel acknowledged
//! them.

use super::view::{View, at, human_ms};
use crate::session::party::{Direction, Leg};
use crate::session::record::Evidence;
use crate::session::record::frames::{TcpFacts, WaitingPings};

/// A ping that has waited for less may simply be in flight when the session ends.
const MISSED_MS: f64 = 5000.0;

/// Pings that a leg had not answered when the session's end was decided.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Missed {
    /// How many, and when.
    pub waiting: WaitingPings,
    /// From the first of them to the end.
    pub age_ms: f64,
    /// Whether the leg sent not a single byte after the first of them.
    pub silent: bool,
    /// Whether that leg's kernel acknowledged them; `None` where it is not known.
    pub acknowledged: Option<bool>,
}

impl View<'_> {
    /// The pings to this leg that had been unanswered for 5 s or longer when the end was decided.
    #[must_use]
    pub fn missed_pings(&self, leg: Leg) -> Option<Missed> {
        let record = self.record();
        let unanswered = record.latency.as_ref()?.unanswered_pings;
        let (waiting, from) = match leg {
            Leg::Client => (unanswered.client?, Direction::ToGateway),
            Leg::Gateway => (unanswered.gateway?, Direction::ToClient),
        };
        let end = self.decided_at()?;
        #[expect(clippy::cast_precision_loss, reason = "milliseconds of one session")]
        let age_ms = end.millis_since(waiting.first_at) as f64;
        if age_ms < MISSED_MS {
            return None;
        }
        let last = self.frames_of(from).and_then(|frames| frames.last_at);
        Some(Missed {
            waiting,
            age_ms,
            silent: last.is_none_or(|last| last <= waiting.first_at),
            acknowledged: self.acknowledged_by(leg, age_ms),
        })
    }

    /// The unanswered pings of both legs as evidence.
    #[must_use]
    pub fn missed_pings_evidence(&self) -> Vec<Evidence> {
        [Leg::Client, Leg::Gateway]
            .into_iter()
            .filter_map(|leg| {
                let missed = self.missed_pings(leg)?;
                let (silent, asked) = (leg.party().as_str(), leg.other().party().as_str());
                let pings = match missed.waiting.count {
                    1 => format!("a ping of the {asked}"),
                    count => format!("{count} pings of the {asked}, this the first,"),
                };
                let age = human_ms(missed.age_ms);
                let kernel = match missed.acknowledged {
                    Some(true) => {
                        "; its kernel acknowledged what we had sent, so the process there did not answer"
                    }
                    Some(false) => {
                        "; its kernel did not acknowledge what we had sent: its host or the network is \
                         gone"
                    }
                    None => "",
                };
                Some(at(
                    missed.waiting.first_at,
                    format!("{pings} had no answer from the {silent} for {age}{kernel}"),
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
