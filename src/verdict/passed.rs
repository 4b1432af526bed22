//! What shows from outside of a connection that passed unread.

use super::finding::Finding;
use super::view::View;
use super::view::{at, fact, human_bytes};
use crate::session::moment::Moment;
use crate::session::party::Leg;
use crate::session::record::{
    Confidence, Evidence, LastRecord, PassedFacts, PassthroughFacts, TransportEnd,
};

/// Between the end of TLS and the end of the connection.
const AT_ONCE_MS: i64 = 1000;

/// A connection that passed unread, with what is needed to judge it.
pub(super) struct Passed<'a> {
    view: &'a View<'a>,
    pub(super) facts: &'a PassthroughFacts,
}

impl<'a> Passed<'a> {
    /// `None` also where a fault or a shutdown of ours explains the end.
    pub(super) fn of(view: &'a View<'_>) -> Option<Self> {
        let record = view.record();
        let facts = record.passthrough.as_deref()?;
        let ours = record.close.drained || record.close.fault.is_some();
        (!ours).then_some(Self { view, facts })
    }

    pub(super) fn from(&self, leg: Leg) -> &'a PassedFacts {
        match leg {
            Leg::Client => &self.facts.to_gateway,
            Leg::Gateway => &self.facts.to_client,
        }
    }

    pub(super) fn is_first(&self, leg: Leg) -> bool {
        self.view.close.first == Some(leg.party())
    }

    /// When the far end of this leg ended TLS. In TLS 1.3 that cannot be read: of a gateway a record of an
    /// alert's size may be an empty frame, and counts only if its FIN follows at once.
    pub(super) fn said_last(&self, leg: Leg) -> Option<Moment> {
        let from = self.from(leg);
        let is_said = match (from.last_record?, leg) {
            (LastRecord::Alert, _) | (LastRecord::PerhapsAlert, Leg::Client) => true,
            (LastRecord::PerhapsAlert, Leg::Gateway) => {
                let ended = self.view.close.transport.gateway_at.zip(from.last_at);
                let at_once =
                    ended.is_some_and(|(ended, last)| ended.millis_since(last) <= AT_ONCE_MS);
                at_once && self.view.end_of(leg) == TransportEnd::Fin
            }
            (LastRecord::Whole | LastRecord::Cut, _) => false,
        };
        from.last_at.filter(|_| is_said)
    }

    /// When the transport of this leg ended.
    pub(super) fn ended(&self, leg: Leg) -> Option<Moment> {
        let transport = &self.view.close.transport;
        match leg {
            Leg::Client => transport.client_at,
            Leg::Gateway => transport.gateway_at,
        }
    }

    /// The other end had ended TLS before this leg's connection ended.
    fn was_done(&self, leg: Leg) -> bool {
        let said = self.said_last(leg.other());
        said.is_some_and(|said| self.ended(leg).is_none_or(|ended| said <= ended))
    }

    /// The connection of this leg broke first.
    pub(super) fn broke(&self, leg: Leg) -> bool {
        let cut = match self.view.end_of(leg) {
            TransportEnd::Timeout => true,
            // A peer that has ended TLS in order may close its socket with data unread.
            TransportEnd::Rst => self.said_last(leg).is_none(),
            TransportEnd::Fin => self.from(leg).last_record == Some(LastRecord::Cut),
            _ => false,
        };
        cut && self.is_first(leg) && !self.was_done(leg)
    }

    /// Which end was the first to end TLS, or its connection.
    pub(super) fn ended_by(&self) -> Option<Leg> {
        let first = [Leg::Client, Leg::Gateway].into_iter().filter_map(|leg| {
            let ended = self
                .ended(leg)
                .filter(|_| self.view.end_of(leg).is_by_peer());
            Some((self.said_last(leg).or(ended)?, leg))
        });
        first.min_by_key(|(at, _)| *at).map(|(_, leg)| leg)
    }

    pub(super) fn finding(&self, confidence: Confidence, summary: impl Into<String>) -> Finding {
        Finding::new(confidence, summary).because(self.evidence())
    }

    /// What passed, and how both connections ended.
    fn evidence(&self) -> Vec<Evidence> {
        let mut all = Vec::new();
        for leg in [Leg::Client, Leg::Gateway] {
            let who = leg.party().as_str();
            let passed = self.from(leg);
            let what = format!("the {who} sent {}", human_bytes(passed.bytes));
            all.push(match passed.first_at.filter(|_| passed.bytes > 0) {
                Some(first) => at(first, format!("{what} from here on")),
                None => fact(what),
            });
            let last = match passed.last_record {
                Some(LastRecord::Cut) => "ended inside a TLS record",
                Some(LastRecord::Alert) => "ended with a TLS alert, such as close_notify",
                Some(LastRecord::PerhapsAlert) => {
                    "ended with a TLS record of the size of an alert, such as close_notify"
                }
                Some(LastRecord::Whole) => "ended with a whole TLS record and no alert",
                None => continue,
            };
            all.extend(
                passed
                    .last_at
                    .map(|when| at(when, format!("what the {who} sent {last}"))),
            );
        }
        all.extend(self.view.end_evidence(Leg::Client));
        all.extend(self.view.end_evidence(Leg::Gateway));
        all.extend(
            self.facts
                .sni
                .as_ref()
                .map(|name| fact(format!("the client asked for the server name {name}"))),
        );
        all
    }
}
