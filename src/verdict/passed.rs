//! Facts of a connection that passed unread, as far as they are visible from outside.

use super::finding::Finding;
use super::view::View;
use super::view::{at, fact, human_bytes};
use crate::session::moment::Moment;
use crate::session::party::Leg;
use crate::session::record::{
    Confidence, Evidence, LastRecord, PassedFacts, PassthroughFacts, TransportEnd,
};

/// A connection that passed unread, with the facts to judge it.
pub(super) struct Passed<'a> {
    view: &'a View<'a>,
    pub(super) facts: &'a PassthroughFacts,
}

impl<'a> Passed<'a> {
    /// `None` also if our own fault or shutdown explains the end.
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
        self.ended_by() == Some(leg)
    }

    /// Time at which the far end of this leg ended TLS.
    pub(super) fn said_last(&self, leg: Leg) -> Option<Moment> {
        self.view.record().tls_ended(leg)
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
        self.view.first_act()?.leg()
    }

    pub(super) fn finding(&self, confidence: Confidence, summary: impl Into<String>) -> Finding {
        Finding::new(confidence, summary).because(self.evidence())
    }

    /// Evidence of what passed, and how both connections ended.
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
