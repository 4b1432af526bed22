//! A tunnel from the 101 to its end, and how any session ends.

use std::time::{Duration, Instant};

use super::{Recorder, Tunnelled};
use crate::session::caps::Over;
use crate::session::end_cause::EndCause;
use crate::session::party::{Direction, Leg, Phase};
use crate::session::record::{DeniedFact, HeadFault, Http2Error, TimerKey, TransportEnd};
use crate::ws::CloseFrame;

/// Events in a tunnel.
impl Recorder {
    /// The 101 was passed on.
    pub fn tunnel_opened(&mut self) {
        self.reach(Phase::Handshake);
    }

    /// The dialect's handshake is over, or there is none: messages pass.
    pub fn session_opened(&mut self) {
        self.reach(Phase::Open);
    }

    /// An open session ends by a Close.
    pub fn closing(&mut self) {
        self.reach(Phase::Closing);
    }

    /// The tunnel has ended; `tunnelled` is what was seen in it.
    pub fn tunnel_ended(&mut self, tunnelled: Tunnelled) {
        self.facts.tunnel = Some(Box::new(tunnelled));
    }
}

/// How the session ends. Of each kind of event, the first one counts.
impl Recorder {
    /// The transport of `leg` ended.
    pub fn leg_ended(&mut self, leg: Leg, end: TransportEnd, cause: Option<EndCause>, at: Instant) {
        self.ending.transport_ended(leg, end, cause, at);
    }

    /// The tap ended this leg, unless it had already ended by itself.
    pub fn leg_ended_by_tap(&mut self, leg: Leg, at: Instant) {
        self.leg_ended(leg, TransportEnd::Local, None, at);
    }

    /// Bytes sent to `leg` after its far end had sent FIN were answered with a reset, found at `at`.
    pub fn leg_refuses_to_read(&mut self, leg: Leg, at: Instant) {
        self.ending.refuses_to_read(leg, at);
    }

    /// The far end of `leg` refused before there was a tunnel.
    pub fn leg_refused(&mut self, leg: Leg, at: Instant) {
        self.ending.refused(leg, at);
    }

    /// A Close frame came from `leg` and is on its way to the other one.
    pub fn close_received(&mut self, leg: Leg, close: &CloseFrame, at: Instant) {
        self.ending.close_received(leg, close, at);
    }

    /// A Close frame of our own is on its way to `leg`.
    pub fn close_sent(&mut self, leg: Leg, close: &CloseFrame, at: Instant) {
        self.ending.close_of_ours(leg, close, at);
    }

    /// Everything for `leg` has been written, including any Close that was under way.
    pub fn written(&mut self, leg: Leg, at: Instant) {
        self.ending.written(leg, at);
    }

    /// A timer of ours fired. `observed` is the time that really passed.
    pub fn timer_fired(&mut self, key: TimerKey, limit: Duration, observed: Duration, at: Instant) {
        self.ending.timer_fired(key, limit, observed, at);
    }

    /// A frame in `direction` would have exceeded a cap of ours.
    pub fn cap_met(&mut self, over: Over, direction: Direction, at: Instant) {
        self.ending.cap_met(over, direction, at);
    }

    /// The tap shuts down and ends this session.
    pub fn drained(&mut self, at: Instant) {
        self.ending.drained(at);
    }

    /// A bug of ours ended this session.
    pub fn faulted(&mut self, what: String, at: Instant) {
        self.ending.fault(what, at);
    }

    /// Our policy refused this session.
    pub fn denied(&mut self, denied: DeniedFact, at: Instant) {
        self.ending.denied(denied, at);
    }

    /// The client sent something that cannot be passed on. `http2` is the code with which the
    /// stream or connection was ended.
    pub fn head_refused(
        &mut self,
        fault: HeadFault,
        http2: Option<Http2Error>,
        detail: String,
        at: Instant,
    ) {
        self.ending.refused_head(fault, http2, detail, at);
    }

    /// The tap ended or refused the session of its own accord, for a reason that another fact
    /// records.
    pub fn acted(&mut self, at: Instant) {
        self.ending.acted(at);
    }
}
