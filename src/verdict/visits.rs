//! Evidence from other connections of the same address about a connection without a request.

use super::view::View;
use super::view::{at, fact, human_ms};
use crate::session::moment::Moment;
use crate::session::record::{Evidence, Steady, VisitFacts};

/// Regular intervals count as a schedule if random times would give them in fewer than one case in
/// this many.
const CHANCE: f64 = 1e-6;

/// The kind of client that completes TLS and leaves, as far as its address shows.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Visitor {
    /// It sent a request over the certificate that we presented, so it accepts it.
    Accepts(Moment),
    /// It connects at regular intervals.
    Checks(Steady),
    /// Nothing is known.
    Unknown,
}

impl<'a> View<'a> {
    /// See [`VisitFacts`].
    #[must_use]
    pub fn visits(&self) -> Option<&'a VisitFacts> {
        self.record().context.as_ref()?.visits.as_deref()
    }

    /// What kind of client completed TLS and left.
    #[must_use]
    pub fn visitor(&self) -> Visitor {
        let Some(visits) = self.visits() else {
            return Visitor::Unknown;
        };
        let steady = visits.steady.filter(|steady| steady.chance < CHANCE);
        match (visits.accepted_at, steady) {
            (Some(at), _) => Visitor::Accepts(at),
            (None, Some(steady)) => Visitor::Checks(steady),
            (None, None) => Visitor::Unknown,
        }
    }

    /// How often this address did the same in ten minutes, including this time.
    #[must_use]
    pub fn times_left_at_certificate(&self) -> u32 {
        self.visits()
            .map_or(1, |visits| visits.left_at_certificate.max(1))
    }

    /// The visits as evidence.
    #[must_use]
    pub fn visits_evidence(&self) -> Vec<Evidence> {
        let mut all = Vec::new();
        match self.visitor() {
            Visitor::Accepts(asked) => all.push(at(
                asked,
                "a request of this address had come through the same certificate",
            )),
            Visitor::Checks(steady) => all.push(fact(format!(
                "the last {} connections of this address did the same, {} apart",
                steady.intervals + 1,
                human_ms(u32::try_from(steady.every_ms).map_or(f64::MAX, f64::from))
            ))),
            Visitor::Unknown => {}
        }
        all
    }
}
