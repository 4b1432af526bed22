//! Endings of a tunnel that are not in order: a leg breaks, a timer fires, the tap shuts down.

use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use crate::proxy::tunnel::relay::timers::Due;
use crate::proxy::tunnel::relay::{Lent, READS_PER_POLL, Relay, Turn};
use crate::session::end_cause::EndCause;
use crate::session::memory;
use crate::session::party::{Direction, Leg};
use crate::session::record::{TimerKey, TransportEnd};
use crate::transport::wire::end::WriteEnd;
use crate::transport::wire::{Readout, Scratch, Wire};
use crate::ws::frame::encode_close;
use crate::ws::{CloseCode, CloseFrame, Masking};

impl Relay {
    /// Reports a shutdown of the gateway to other sessions, if that is why it closes this one.
    pub(super) fn announce(&self, close: &CloseFrame, at: Instant) {
        let event = self.dialect.going_down();
        let record = self.session.record();
        let event = event.map(|(at, expected)| (record.at(at), expected));
        let announces = self.dialect.announces(close.code, &close.reason);
        let close = announces.then(|| record.at(at));
        drop(record);
        if let Some(down) = memory::announcement(event, close) {
            self.session.announce(self.dialect.process(), down);
        }
    }

    /// Ends the tunnel once both ends have answered a Close of ours.
    pub(super) fn finish_own_close(&mut self, now: Instant) {
        if !self.closing_ourselves {
            return;
        }
        for half in [&mut self.to_gateway, &mut self.to_client] {
            if half.observer.stats().close().is_some() && !half.ended {
                half.ended = true;
                let leg = half.direction.from();
                self.session.record().leg_ended_by_tap(leg, now);
            }
        }
    }

    /// The sink of `direction` cannot be written to: its far end has reset the connection. Bytes
    /// that it had sent before that may still be readable.
    pub(super) fn sink_gone(
        &mut self,
        direction: Direction,
        end: WriteEnd,
        scratch: &mut Scratch,
        now: Instant,
    ) -> Turn {
        let (half, back) = match direction {
            Direction::ToGateway => (&mut self.to_gateway, &self.to_client),
            Direction::ToClient => (&mut self.to_client, &self.to_gateway),
        };
        half.sink_gone = true;
        half.unblocked(now);
        let WriteEnd(end, cause) = end;
        if cause.is_bug() {
            return self.faulted(&cause);
        }
        if back.ended {
            // It had sent its FIN, and now refuses the bytes that the other end still sends.
            if end == TransportEnd::Rst {
                self.session
                    .record()
                    .leg_refuses_to_read(direction.to(), now);
            }
            return Turn::Broken;
        }
        tracing::debug!(
            leg = direction.to().party().as_str(),
            ?end,
            ?cause,
            "write failed"
        );
        self.note_tcp();
        let at = *self.broke_at.get_or_insert_with(Instant::now);
        // Recorded as the leg's ending only if reading finds no other ending.
        let leg = direction.to();
        if !self.read_what_is_left(leg, scratch, at) {
            self.session.record().leg_ended(leg, end, Some(cause), at);
        }
        Turn::Broken
    }

    /// Reads, without waiting, the bytes that a leg had sent before it broke, as evidence. Returns
    /// whether this recorded how the leg ended.
    pub(super) fn read_what_is_left(
        &mut self,
        leg: Leg,
        scratch: &mut Scratch,
        now: Instant,
    ) -> bool {
        let (direction, wire) = match leg {
            Leg::Client => (Direction::ToGateway, &mut self.client),
            Leg::Gateway => (Direction::ToClient, &mut self.gateway),
        };
        if let Some(wire) = wire {
            wire.read_at_once();
        }
        let mut cx = Context::from_waker(Waker::noop());
        for _ in 0..READS_PER_POLL {
            match self.read_on(direction, &mut cx, scratch, now) {
                Turn::Moved => {}
                Turn::Waiting => return false,
                Turn::Broken => return true,
            }
        }
        false
    }

    /// Reads one direction once; the bytes are passed on if that is possible without waiting.
    pub(super) fn read_on(
        &mut self,
        direction: Direction,
        cx: &mut Context<'_>,
        scratch: &mut Scratch,
        now: Instant,
    ) -> Turn {
        let (half, source, sink) = match direction {
            Direction::ToGateway => (&mut self.to_gateway, &mut self.client, &mut self.gateway),
            Direction::ToClient => (&mut self.to_client, &mut self.gateway, &mut self.client),
        };
        let (Some(source), Some(sink), false) = (source, sink, half.ended) else {
            return Turn::Waiting;
        };
        match source.poll_read(cx, scratch) {
            Poll::Pending => Turn::Waiting,
            Poll::Ready(Readout::Bytes(count)) => {
                let bytes = match scratch.plain(count) {
                    Ok(bytes) => bytes,
                    Err(bug) => return self.faulted(&bug.into()),
                };
                let capped = !self.closing_ourselves
                    && half
                        .meter
                        .as_mut()
                        .is_some_and(|meter| meter.look(bytes, now).is_some());
                let mut written =
                    !half.sink_gone && !self.closing_ourselves && !capped && sink.is_flushed();
                if written {
                    written = match sink.write(cx, bytes) {
                        Ok(()) => sink.is_flushed(),
                        Err(WriteEnd(_, cause)) if cause.is_bug() => return self.faulted(&cause),
                        Err(_) => false,
                    };
                }
                self.observed(direction, bytes, written, now);
                Turn::Moved
            }
            Poll::Ready(Readout::End(end, cause)) => {
                self.source_ended(direction, end, cause, now);
                Turn::Broken
            }
        }
    }

    /// Asks the kernel about legs that are not read because the other leg takes no more bytes.
    pub(super) fn a_blocked_leg_broke(&mut self, cx: &mut Context<'_>) -> bool {
        let now = Instant::now();
        for leg in [Leg::Client, Leg::Gateway] {
            let (half, wire) = match leg {
                Leg::Client => (&mut self.to_gateway, &mut self.client),
                Leg::Gateway => (&mut self.to_client, &mut self.gateway),
            };
            let unread = wire.as_mut().filter(|_| half.blocked_since.is_some());
            let Some((end, cause)) = unread.and_then(Wire::broke) else {
                continue;
            };
            tracing::debug!(
                leg = leg.party().as_str(),
                ?end,
                ?cause,
                "blocked leg failed"
            );
            half.ended = true;
            self.note_tcp();
            self.broke_at = Some(now);
            self.session.record().leg_ended(leg, end, Some(cause), now);
            self.break_off(cx, Lent::take().get(), now);
            return true;
        }
        false
    }

    /// Ends the tunnel after one leg broke: the other leg gets a reset too.
    pub(super) fn break_off(&mut self, cx: &mut Context<'_>, scratch: &mut Scratch, now: Instant) {
        self.note_refusals();
        for leg in [Leg::Gateway, Leg::Client] {
            self.read_what_is_left(leg, scratch, now);
        }
        for leg in [Leg::Client, Leg::Gateway] {
            self.session.record().leg_ended_by_tap(leg, now);
            let wire = match leg {
                Leg::Client => &mut self.client,
                Leg::Gateway => &mut self.gateway,
            };
            // A Close that the broken leg had already sent goes out before the reset, if possible.
            if let Some(wire) = wire
                && !wire.is_flushed()
            {
                match wire.poll_flush(cx) {
                    Poll::Ready(Ok(())) => self.session.record().written(leg, now),
                    Poll::Ready(Err(WriteEnd(_, cause))) if cause.is_bug() => {
                        self.faulted(&cause);
                    }
                    _ => {}
                }
            }
        }
        self.note_tcp();
        for wire in [self.client.take(), self.gateway.take()]
            .into_iter()
            .flatten()
        {
            wire.reset();
        }
    }

    pub(super) fn timer_fired(&mut self, cx: &mut Context<'_>, due: Due) -> Poll<()> {
        self.note_tcp();
        let now = Instant::now();
        let Due {
            key,
            limit,
            observed,
        } = due;
        tracing::debug!(?key, ?limit, ?observed, "timer fired");
        match key {
            TimerKey::Idle => {
                self.session.record().timer_fired(key, limit, observed, now);
                let reason = format!("wstap: idle for {}", seconds(observed));
                self.close_ourselves(cx, &reason, now)
            }
            TimerKey::Drain => {
                self.session.record().drained(now);
                if self.timers.is_closing() {
                    self.end_locally(now);
                    return Poll::Ready(());
                }
                self.close_ourselves(cx, "wstap: shutting down", now)
            }
            _ => {
                // Half-closed or closing for too long: do not wait any longer.
                if !self.closing_ourselves {
                    self.session.record().timer_fired(key, limit, observed, now);
                }
                self.end_locally(now);
                Poll::Ready(())
            }
        }
    }

    /// Ends the session with a Close of our own where that is legal, and otherwise with an abort.
    pub(super) fn close_ourselves(
        &mut self,
        cx: &mut Context<'_>,
        reason: &str,
        now: Instant,
    ) -> Poll<()> {
        if self.send_closes(cx, CloseCode::GOING_AWAY, reason, now) {
            return Poll::Pending;
        }
        self.break_off(cx, Lent::take().get(), now);
        Poll::Ready(())
    }

    /// Sends both ends a Close of our own. A leg where a Close is not legal is aborted. If it is
    /// legal on neither leg, does nothing and returns `false`.
    pub(super) fn send_closes(
        &mut self,
        cx: &mut Context<'_>,
        code: CloseCode,
        reason: &str,
        now: Instant,
    ) -> bool {
        tracing::debug!(%code, reason, "sending a Close to both ends");
        let close = CloseFrame {
            code: Some(code),
            reason: reason.as_bytes().to_vec(),
            ..CloseFrame::default()
        };
        let mut any = false;
        let mut aborted = Vec::new();
        for leg in [Leg::Client, Leg::Gateway] {
            let (half, wire, masking) = match leg {
                Leg::Client => (&self.to_client, &mut self.client, Masking::Unmasked),
                Leg::Gateway => (&self.to_gateway, &mut self.gateway, Masking::Masked),
            };
            if half.observer.stats().close().is_some() || half.passed_on {
                // A Close or an end was already sent to it: nothing to add.
                any = true;
                continue;
            }
            let Some(wire) = wire else { continue };
            let legal =
                half.observer.scanner().at_frame_boundary() && !half.sink_gone && wire.is_flushed();
            if !legal {
                aborted.push(leg);
                continue;
            }
            if let Err(WriteEnd(_, cause)) = wire.write(cx, &encode_close(code, reason, masking)) {
                if cause.is_bug() {
                    // Both legs are gone.
                    self.faulted(&cause);
                    return false;
                }
                aborted.push(leg);
                continue;
            }
            any = true;
            let flushed = wire.is_flushed();
            let mut record = self.session.record();
            record.close_sent(leg, &close, now);
            if flushed {
                record.written(leg, now);
            }
        }
        if !any {
            return false;
        }
        for leg in aborted {
            self.abort(leg, now);
        }
        self.closing_ourselves = true;
        self.timers.close_seen(now);
        // If an end had sent a Close before ours, that counts as its answer.
        self.finish_own_close(now);
        true
    }

    /// Resets one leg, in the middle of a frame where no Close is allowed.
    pub(super) fn abort(&mut self, leg: Leg, now: Instant) {
        self.note_tcp();
        let (wire, from, to) = match leg {
            Leg::Client => (&mut self.client, &mut self.to_gateway, &mut self.to_client),
            Leg::Gateway => (&mut self.gateway, &mut self.to_client, &mut self.to_gateway),
        };
        from.ended = true;
        to.sink_gone = true;
        to.unblocked(now);
        if let Some(wire) = wire.take() {
            wire.reset();
        }
        self.session.record().leg_ended_by_tap(leg, now);
    }

    /// Drops both legs; each far end sees FIN.
    pub(super) fn end_locally(&mut self, now: Instant) {
        for leg in [Leg::Client, Leg::Gateway] {
            self.session.record().leg_ended_by_tap(leg, now);
        }
        self.note_tcp();
        // An orderly end as far as it is possible without waiting: close_notify before FIN.
        let mut cx = Context::from_waker(Waker::noop());
        let mut bug = None;
        for (wire, notified) in [
            (self.client.take(), &mut self.to_client.notified),
            (self.gateway.take(), &mut self.to_gateway.notified),
        ] {
            let shut = wire.map(|mut wire| wire.poll_shutdown(&mut cx, notified));
            // If it fails otherwise, the far end is gone.
            if let Some(Poll::Ready(Err(WriteEnd(_, cause)))) = shut
                && cause.is_bug()
            {
                bug = Some(cause);
            }
        }
        if let Some(bug) = bug {
            self.faulted(&bug);
        }
    }

    /// Ends the tunnel because of a bug of ours. Bytes may be missing, so nothing more is read or written: the receiver
    /// would misread what follows.
    pub(super) fn faulted(&mut self, bug: &EndCause) -> Turn {
        tracing::error!(%bug, "a tunnel ends because of a bug of wstap");
        self.note_tcp();
        let now = Instant::now();
        let mut record = self.session.record();
        record.faulted(bug.words().to_owned(), now);
        for leg in [Leg::Client, Leg::Gateway] {
            record.leg_ended_by_tap(leg, now);
        }
        drop(record);
        for wire in [self.client.take(), self.gateway.take()]
            .into_iter()
            .flatten()
        {
            wire.reset();
        }
        Turn::Broken
    }

    /// Asks the kernel whether bytes sent to a leg that had already sent FIN were answered with a
    /// reset.
    pub(super) fn note_refusals(&mut self) {
        for (leg, wire, ended) in [
            (Leg::Client, &mut self.client, self.to_gateway.ended),
            (Leg::Gateway, &mut self.gateway, self.to_client.ended),
        ] {
            let broke = wire.as_mut().filter(|_| ended).and_then(Wire::broke);
            if broke.is_some_and(|(end, _)| end == TransportEnd::Rst) {
                let now = Instant::now();
                self.session.record().leg_refuses_to_read(leg, now);
            }
        }
    }

    /// Asks the kernel about both legs, once: at the first event that ends the session, before our
    /// own reaction to it changes the answer.
    pub(super) fn note_tcp(&mut self) {
        if std::mem::replace(&mut self.tcp_noted, true) {
            return;
        }
        let of = |wire: &Option<Wire>| wire.as_ref().and_then(Wire::tcp_facts);
        let (client, gateway) = (of(&self.client), of(&self.gateway));
        let mut record = self.session.record();
        record.client_tcp(client);
        record.gateway_tcp(gateway);
    }
}

fn seconds(duration: Duration) -> String {
    if duration < Duration::from_secs(10) {
        format!("{:.1} s", duration.as_secs_f64())
    } else {
        format!("{} s", duration.as_secs())
    }
}
