//! Who ended a session first, how, and when. Computed once and stored; verdicts, the memory of
//! recent sessions and `explain` all read it.

use super::moment::Moment;
use super::party::{Leg, Party};
use super::record::close::{ActKind, FirstAct};
use super::record::dialect::ConnectResult;
use super::record::{LastRecord, SessionRecord, TransportEnd};

/// Longest time between the end of TLS and the end of its connection.
const AT_ONCE_MS: i64 = 1000;

/// Acts whose times are in no other field of the record.
#[derive(Clone, Copy, Debug, Default)]
pub struct Unrecorded {
    /// When the tap first acted of its own accord.
    pub tap: Option<Moment>,
    /// When the client and the gateway refused before there was a tunnel.
    pub refused: [Option<Moment>; 2],
}

impl SessionRecord {
    /// Who ended the session first. It is derived from the other fields for records of versions
    /// that did not store it.
    #[must_use]
    pub fn first_act(&self) -> Option<FirstAct> {
        self.close.first_act.or_else(|| self.derived_first_act())
    }

    /// Stores the first act in a record that is otherwise finished.
    pub fn note_first_act(&mut self, unrecorded: Unrecorded) {
        let act = self.find_first_act(unrecorded);
        self.close.first_act = act;
        self.close.first = act.map(|act| act.party);
    }

    fn find_first_act(&self, unrecorded: Unrecorded) -> Option<FirstAct> {
        let [by_client, by_gateway] = unrecorded.refused;
        let refused = |at: Option<Moment>, party| (at, ActKind::HttpRefusal, party);
        self.acts()
            .chain([
                (unrecorded.tap, ActKind::Tap, Party::Tap),
                refused(by_gateway, Party::Gateway),
                refused(by_client, Party::Client),
            ])
            .filter_map(|(at, kind, party)| at.map(|at| FirstAct { party, kind, at }))
            .min_by_key(|act| (act.at, act.kind))
    }

    fn derived_first_act(&self) -> Option<FirstAct> {
        let close = &self.close;
        let timer = close.timer.map(|timer| timer.at);
        let own_close = close.tap.as_ref().map(|close| close.at);
        let cap = close.cap.map(|cap| cap.at);
        let drained = close.drained && close.first == Some(Party::Tap);
        let drained = drained.then_some(self.closed_at);
        let tap = [timer, own_close, cap, drained].into_iter().flatten().min();
        let found = self.find_first_act(Unrecorded {
            tap,
            ..Unrecorded::default()
        });
        // The time of a fault is in no other field.
        if close.fault.is_some() && close.first == Some(Party::Tap) {
            let of_tap = found.filter(|act| act.party == Party::Tap);
            return of_tap.or(Some(FirstAct {
                party: Party::Tap,
                kind: ActKind::Tap,
                at: self.closed_at,
            }));
        }
        if self.had_tunnel()
            || self.passthrough.is_some()
            || found.map(|act| act.party) == close.first
        {
            return found;
        }
        // Before a tunnel, the times of refusals are not in the other fields.
        close.first.map(|party| FirstAct {
            party,
            kind: if party == Party::Tap {
                ActKind::Tap
            } else {
                ActKind::HttpRefusal
            },
            at: self.closed_at,
        })
    }

    /// The acts whose times are in the record. The gateway's come first: if acts of one kind have
    /// the same time, the gateway's was already on its way when the others acted.
    fn acts(&self) -> impl Iterator<Item = (Option<Moment>, ActKind, Party)> {
        let close = &self.close;
        let said = self.application();
        let refusal = (said.result == ConnectResult::Refused)
            .then(|| said.answered_at.unwrap_or(self.closed_at));
        let closed = |leg| match leg {
            Leg::Client => close.client.as_ref().map(|close| close.at),
            Leg::Gateway => close.gateway.as_ref().map(|close| close.at),
        };
        [
            (refusal, ActKind::Refusal, Party::Gateway),
            (closed(Leg::Gateway), ActKind::Close, Party::Gateway),
            (closed(Leg::Client), ActKind::Close, Party::Client),
            (
                self.tls_ended(Leg::Gateway),
                ActKind::TlsEnd,
                Party::Gateway,
            ),
            (self.tls_ended(Leg::Client), ActKind::TlsEnd, Party::Client),
            (self.left(Leg::Gateway), ActKind::Transport, Party::Gateway),
            (self.left(Leg::Client), ActKind::Transport, Party::Client),
        ]
        .into_iter()
    }

    /// When the far end of a leg ended its transport. If we ended a leg because of something that came
    /// on it, that counts as the far end's act.
    fn left(&self, leg: Leg) -> Option<Moment> {
        let ends = &self.close.transport;
        let (end, fault, at) = match leg {
            Leg::Client => (ends.client, &ends.client_fault, ends.client_at),
            Leg::Gateway => (ends.gateway, &ends.gateway_fault, ends.gateway_at),
        };
        (end.is_by_peer() || fault.is_some()).then(|| at.unwrap_or(self.closed_at))
    }

    /// When the far end of a leg ended TLS on a connection that passed unread. TLS 1.3 hides it: a
    /// record of an alert's size may be an empty frame of a gateway, so it counts only if the
    /// gateway's FIN follows at once.
    #[must_use]
    pub fn tls_ended(&self, leg: Leg) -> Option<Moment> {
        let passed = self.passthrough.as_deref()?;
        let from = match leg {
            Leg::Client => &passed.to_gateway,
            Leg::Gateway => &passed.to_client,
        };
        let is_end = match (from.last_record?, leg) {
            (LastRecord::Alert, _) | (LastRecord::PerhapsAlert, Leg::Client) => true,
            (LastRecord::PerhapsAlert, Leg::Gateway) => {
                let ends = &self.close.transport;
                let ended = ends.gateway_at.zip(from.last_at);
                let at_once =
                    ended.is_some_and(|(ended, last)| ended.millis_since(last) <= AT_ONCE_MS);
                at_once && ends.gateway == TransportEnd::Fin
            }
            (LastRecord::Whole | LastRecord::Cut, _) => false,
        };
        from.last_at.filter(|_| is_end)
    }
}
