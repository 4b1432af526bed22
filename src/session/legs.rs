//! From the events on each leg to what each end must have observed.
//!
//! 1005 and 1006 exist only in an end's own view (RFC 6455 sections 7.1.5 and 7.4.1): they are
//! derived here from the Close frames that were under way and from how the transports ended.

use std::time::{Duration, Instant};

use super::caps::Over;
use super::end_cause::EndCause;
use super::first_act::Unrecorded;
use super::moment::{Anchor, millis};
use super::party::{Direction, Leg};
use super::record::close::{
    CapFact, CloseFacts, CloseSeen, Saw, SawBasis, TimerFact, TimerKey, TransportEnd, TransportEnds,
};
use super::record::request::{HeadFault, RefusedHead};
use super::record::stream_fault::StreamFault;
use super::text::PeerText;
use crate::session::record::{DeniedFact, Http2Error};
use crate::ws::{CloseCode, CloseFrame};

/// Longest escaped close reason: 123 bytes, each written as `\u{1b}` at worst.
const REASON_CAP: usize = 123 * 6;

/// The end of a session as it happens. Takes no memory until something has ended.
#[derive(Clone, Debug, Default)]
pub struct Ending(Option<Box<Acts>>);

/// The events so far.
#[derive(Clone, Debug, Default)]
struct Acts {
    client: LegEnding,
    gateway: LegEnding,
    tap: Option<(CloseFrame, Instant)>,
    /// When the tap first acted of its own accord: a timer, a denial, the drain.
    acted: Option<Instant>,
    timer: Option<TimerFired>,
    cap: Option<(Over, Direction, Instant)>,
    drained: bool,
    fault: Option<String>,
    denied: Option<DeniedFact>,
    refused: Option<RefusedHead>,
}

#[derive(Clone, Copy, Debug)]
struct TimerFired {
    key: TimerKey,
    limit_ms: u64,
    observed_ms: f64,
    at: Instant,
}

#[derive(Clone, Debug, Default)]
struct LegEnding {
    /// The Close frame received from this leg.
    received: Option<(CloseFrame, Instant)>,
    /// A Close for this leg had been written when the leg's own Close came. The times alone do not
    /// show this.
    answered: bool,
    /// The first Close frame meant for this leg, and when it was wholly written.
    under_way: Option<(CloseCode, Option<Instant>)>,
    transport: TransportEnd,
    ended: Option<Instant>,
    /// It had sent FIN, and bytes sent to it afterwards were answered with a reset, so nobody was
    /// reading. The time when that was found.
    refused_after_fin: Option<Instant>,
    cause: Option<EndCause>,
    /// It refused the connection or the upgrade before there was a tunnel.
    refused: Option<Instant>,
}

/// The smallest difference that a record's times can show.
const TICK: Duration = Duration::from_micros(1);

impl LegEnding {
    /// When this leg's far end was gone, if it left without a Close frame.
    ///
    /// An orderly end after its own Close is a normal closing handshake, and does not count.
    fn vanished(&self) -> Option<Instant> {
        if !self.transport.is_by_peer() {
            return None;
        }
        let ended = self.ended?;
        let said_so = self.received.as_ref().is_some_and(|(_, at)| *at <= ended);
        if said_so && self.transport.is_orderly() {
            None
        } else {
            Some(ended)
        }
    }

    /// Whether this leg's far end may have read what was written to it at `at`. An end that has
    /// sent FIN still reads, unless a reset comes back.
    fn could_read(&self, at: Instant) -> bool {
        if self.transport.is_orderly() {
            return self.refused_after_fin.is_none();
        }
        self.vanished().is_none_or(|gone| gone > at)
    }

    /// Text of the error that ended this leg.
    fn words(&self) -> Option<String> {
        self.cause.as_ref().map(|cause| cause.words().to_owned())
    }

    /// What the far end sent that ended this leg.
    fn fault(&self) -> Option<&StreamFault> {
        self.cause.as_ref()?.fault()
    }

    /// The first thing that this leg's far end did to end the session. If we end a leg because of
    /// something that came on it, that counts as the far end's act.
    fn first_act(&self) -> Option<Instant> {
        let by_peer = self.transport.is_by_peer() || self.fault().is_some();
        let ended = self.ended.filter(|_| by_peer);
        let closed = self.received.as_ref().map(|(_, at)| *at);
        [ended, closed, self.refused].into_iter().flatten().min()
    }

    fn saw(&self, other: &Self) -> Option<Saw> {
        let Some((code, written)) = self.under_way else {
            let gone_first = self
                .vanished()
                .is_some_and(|at| other.first_act().is_none_or(|other| at < other));
            let saw = Saw {
                code: CloseCode::ABNORMAL,
                basis: SawBasis::Written,
            };
            return if gone_first { None } else { Some(saw) };
        };
        let delivered = written.filter(|at| self.could_read(*at));
        let Some(delivered) = delivered else {
            return Some(Saw {
                code: CloseCode::ABNORMAL,
                basis: SawBasis::Undelivered,
            });
        };
        // An answer echoes the code or carries none. Any other Close was already on its way, or is
        // about something else.
        let acked = self.received.as_ref().is_some_and(|(close, at)| {
            self.answered && *at >= delivered && (close.code.is_none() || close.seen_as() == code)
        });
        let basis = if acked {
            SawBasis::Acked
        } else {
            SawBasis::Written
        };
        Some(Saw { code, basis })
    }
}

impl Ending {
    /// Whether an event has begun to end the session.
    #[must_use]
    pub fn has_begun(&self) -> bool {
        self.0.is_some()
    }

    /// Records a Close frame that came from `leg` and is on its way to the other one.
    pub fn close_received(&mut self, leg: Leg, close: &CloseFrame, at: Instant) {
        let from = self.acts().leg(leg);
        if from.received.is_none() {
            let written = from.under_way.and_then(|(_, written)| written);
            from.answered = written.is_some();
            // The relay reads the clock once per pass, so an answer can have the same time as the
            // Close that it answers, and would count as the first.
            let at = written.map_or(at, |written| at.max(written + TICK));
            from.received = Some((close.clone(), at));
        }
        self.acts()
            .leg(leg.other())
            .under_way
            .get_or_insert((close.seen_as(), None));
    }

    /// Records a Close frame of our own that is on its way to `leg`.
    pub fn close_of_ours(&mut self, leg: Leg, close: &CloseFrame, at: Instant) {
        self.acts().acted.get_or_insert(at);
        self.acts().tap.get_or_insert_with(|| (close.clone(), at));
        self.acts()
            .leg(leg)
            .under_way
            .get_or_insert((close.seen_as(), None));
    }

    /// Everything for `leg` has been written, including any Close that was under way.
    pub fn written(&mut self, leg: Leg, at: Instant) {
        let Some(acts) = &mut self.0 else {
            return;
        };
        if let Some((_, written)) = &mut acts.leg(leg).under_way {
            written.get_or_insert(at);
        }
    }

    /// The Close frame received from `leg`.
    #[must_use]
    pub fn received(&self, leg: Leg) -> Option<&CloseFrame> {
        let received = self.looked(leg)?.received.as_ref();
        received.map(|(close, _)| close)
    }

    /// Records the end of the transport of `leg`; only the first end counts. If a bug ended it, the
    /// session has a fault.
    pub fn transport_ended(
        &mut self,
        leg: Leg,
        end: TransportEnd,
        cause: Option<EndCause>,
        at: Instant,
    ) {
        if let Some(bug) = cause.as_ref().filter(|cause| cause.is_bug()) {
            self.fault(bug.words().to_owned(), at);
        }
        let leg = self.acts().leg(leg);
        if leg.transport == TransportEnd::None {
            leg.transport = end;
            // A Close before it may have been recorded slightly later than the clock reading.
            let closed = leg.received.as_ref().map(|(_, at)| *at);
            leg.ended = Some(closed.map_or(at, |closed| at.max(closed)));
            leg.cause = cause;
        }
    }

    /// Records that bytes sent to `leg` after its far end had sent FIN were answered with a reset,
    /// found at `at`.
    pub fn refuses_to_read(&mut self, leg: Leg, at: Instant) {
        let leg = self.acts().leg(leg);
        if leg.transport.is_orderly() {
            leg.refused_after_fin.get_or_insert(at);
        }
    }

    /// Records that the far end of `leg` refused before there was a tunnel.
    pub fn refused(&mut self, leg: Leg, at: Instant) {
        self.acts().leg(leg).refused.get_or_insert(at);
    }

    /// Records that the tap ended or refused the session of its own accord, for a reason that is
    /// recorded elsewhere.
    pub fn acted(&mut self, at: Instant) {
        self.acts().acted.get_or_insert(at);
    }

    /// Records a timer of ours that fired; the first one counts. `observed` is the time that really
    /// passed.
    pub fn timer_fired(&mut self, key: TimerKey, limit: Duration, observed: Duration, at: Instant) {
        self.acts().acted.get_or_insert(at);
        self.acts().timer.get_or_insert(TimerFired {
            key,
            limit_ms: u64::try_from(limit.as_millis()).unwrap_or(u64::MAX),
            observed_ms: millis(observed),
            at,
        });
    }

    /// Records a frame in `direction` that would have exceeded a cap of ours; the first one counts.
    pub fn cap_met(&mut self, over: Over, direction: Direction, at: Instant) {
        self.acts().acted.get_or_insert(at);
        self.acts().cap.get_or_insert((over, direction, at));
    }

    /// Records that the tap is shutting down and ends this session.
    pub fn drained(&mut self, at: Instant) {
        self.acts().acted.get_or_insert(at);
        self.acts().drained = true;
    }

    /// True until a peer or a rule of ours has ended it.
    #[must_use]
    pub fn is_nobodys(&self) -> bool {
        self.0.as_ref().is_none_or(|acts| {
            let by_peer = [&acts.client, &acts.gateway].map(LegEnding::first_act);
            acts.acted.is_none() && by_peer == [None, None]
        })
    }

    /// Records that a bug of ours ended this session.
    pub fn fault(&mut self, what: String, at: Instant) {
        self.acts().acted.get_or_insert(at);
        self.acts().fault.get_or_insert(what);
    }

    /// Records that our policy refused this session.
    pub fn denied(&mut self, denied: DeniedFact, at: Instant) {
        self.acts().acted.get_or_insert(at);
        self.acts().denied.get_or_insert(denied);
    }

    /// Records that the client sent something that cannot be passed on. With HTTP/2, `error` is the
    /// code with which the stream or connection was ended.
    pub fn refused_head(
        &mut self,
        fault: HeadFault,
        error: Option<Http2Error>,
        detail: String,
        at: Instant,
    ) {
        self.acts().acted.get_or_insert(at);
        self.acts().refused.get_or_insert(RefusedHead {
            kind: fault,
            detail,
            http2_error: error,
        });
    }

    /// The close facts for the record. `tunnel` says whether a 101 was passed on: without one,
    /// neither end observed a close code.
    #[must_use]
    pub fn facts(&self, tunnel: bool, anchor: &Anchor) -> CloseFacts {
        match &self.0 {
            Some(acts) => acts.facts(tunnel, anchor),
            None => Acts::default().facts(tunnel, anchor),
        }
    }

    /// The acts whose times are not in [`Ending::facts`].
    #[must_use]
    pub fn unrecorded(&self, anchor: &Anchor) -> Unrecorded {
        let Some(acts) = &self.0 else {
            return Unrecorded::default();
        };
        let at = |at: Option<Instant>| at.map(|at| anchor.at(at));
        Unrecorded {
            tap: at(acts.acted),
            refused: [at(acts.client.refused), at(acts.gateway.refused)],
        }
    }

    fn acts(&mut self) -> &mut Acts {
        self.0.get_or_insert_default()
    }

    fn looked(&self, leg: Leg) -> Option<&LegEnding> {
        let acts = self.0.as_ref()?;
        Some(match leg {
            Leg::Client => &acts.client,
            Leg::Gateway => &acts.gateway,
        })
    }
}

impl Acts {
    /// See [`Ending::facts`].
    fn facts(&self, tunnel: bool, anchor: &Anchor) -> CloseFacts {
        let seen = |(close, at): &(CloseFrame, Instant)| CloseSeen {
            code: close.code,
            reason: PeerText::front(&close.reason, REASON_CAP, close.cut),
            at: anchor.at(*at),
            breaks: close.breaks.clone(),
        };
        let saw = |leg: &LegEnding, other| if tunnel { leg.saw(other) } else { None };
        let client_reset = self.client.cause.as_ref().and_then(EndCause::stream_reset);
        CloseFacts {
            // Set once the whole record is known: see `first_act`.
            first: None,
            first_act: None,
            client: self.client.received.as_ref().map(seen),
            gateway: self.gateway.received.as_ref().map(seen),
            tap: self.tap.as_ref().map(seen),
            transport: TransportEnds {
                client: self.client.transport,
                gateway: self.gateway.transport,
                client_at: self.client.ended.map(|at| anchor.at(at)),
                gateway_at: self.gateway.ended.map(|at| anchor.at(at)),
                client_cause: self.client.words(),
                gateway_cause: self.gateway.words(),
                client_fault: self.client.fault().cloned(),
                gateway_fault: self.gateway.fault().cloned(),
                client_refused_at: (self.client.refused_after_fin).map(|at| anchor.at(at)),
                client_reset: client_reset.map(Into::into),
                client_reset_code: client_reset,
            },
            client_saw: saw(&self.client, &self.gateway),
            gateway_saw: saw(&self.gateway, &self.client),
            timer: self.timer.map(|fired| TimerFact {
                key: fired.key,
                limit_ms: fired.limit_ms,
                observed_ms: fired.observed_ms,
                at: anchor.at(fired.at),
            }),
            cap: self.cap.map(|(over, direction, at)| CapFact {
                key: over.key,
                direction,
                limit: over.limit,
                burst: over.burst,
                observed: over.observed,
                within_ms: over.within.map(millis),
                at: anchor.at(at),
            }),
            drained: self.drained,
            fault: self.fault.clone(),
            denied: self.denied.clone(),
            refused: self.refused.clone(),
        }
    }

    fn leg(&mut self, leg: Leg) -> &mut LegEnding {
        match leg {
            Leg::Client => &mut self.client,
            Leg::Gateway => &mut self.gateway,
        }
    }
}

#[cfg(test)]
mod tests;
