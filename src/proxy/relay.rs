//! The tunnel: bytes through, untouched and at once, both directions in one poll.
//!
//! Each slice is written first and shown to the observer afterwards, so that observing never
//! delays. While a peer is slow its leg keeps the rest and the other leg is not read: exact
//! backpressure. Endings pass in kind: FIN as FIN, `close_notify` as `close_notify`, a reset as a
//! reset; no Close frame is invented. Only a timer or the drain makes the tap send a Close of its
//! own, and only at a frame boundary with nothing waiting; otherwise it aborts.

mod timers;

use std::cell::RefCell;
use std::future::poll_fn;
use std::pin::pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use tokio::time::sleep_until;

use self::timers::{Due, Timers};
use crate::config::Timeouts;
use crate::dialect::Dialect;
use crate::dialect::observer::{Observer, Shared as ObserverShared};
use crate::proxy::drain::Drain;
use crate::proxy::session::Shared;
use crate::session::heartbeats::Heartbeats;
use crate::session::moment::millis;
use crate::session::party::{Direction, Leg, Phase};
use crate::session::record::frames::BlockedMs;
use crate::session::record::{Frames, Latency, TimerKey, TransportEnd};
use crate::transport::wire::{Readout, Scratch, Wire, WriteEnd};
use crate::ws::extensions::Extensions;
use crate::ws::frame::encode_close;
use crate::ws::{CloseCode, CloseFrame, Masking};

/// Reads of one direction before the other sessions of the thread get their turn.
const READS_PER_POLL: usize = 16;

thread_local! {
    static SCRATCH: RefCell<Option<Box<Scratch>>> = const { RefCell::new(None) };
}

/// The thread's buffers, lent to one session for one poll.
struct Lent(Option<Box<Scratch>>);

impl Lent {
    fn take() -> Self {
        Self(SCRATCH.take())
    }

    fn get(&mut self) -> &mut Scratch {
        self.0.get_or_insert_default()
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        SCRATCH.set(self.0.take());
    }
}

/// A session's tunnel. Dropping it, however that comes about, writes its facts to the record.
pub(super) struct Relay {
    client: Option<Wire>,
    gateway: Option<Wire>,
    to_gateway: Half,
    to_client: Half,
    dialect: Box<dyn Dialect>,
    heartbeats: Heartbeats,
    timers: Timers,
    /// We sent a Close of our own: bytes are read and counted and go nowhere.
    closing_ourselves: bool,
    buffered_max: usize,
    session: Shared,
    open: bool,
}

/// One direction.
struct Half {
    direction: Direction,
    observer: Observer,
    /// The source has ended its side.
    ended: bool,
    /// The sink has been told so.
    passed_on: bool,
    notified: bool,
    /// The sink takes nothing any more.
    sink_gone: bool,
    blocked_since: Option<Instant>,
    blocked: Duration,
}

impl Half {
    fn new(direction: Direction, extensions: Extensions) -> Self {
        Self {
            direction,
            observer: Observer::new(direction, extensions),
            ended: false,
            passed_on: false,
            notified: false,
            sink_gone: false,
            blocked_since: None,
            blocked: Duration::ZERO,
        }
    }

    fn is_done(&self) -> bool {
        self.ended && (self.passed_on || self.sink_gone)
    }

    fn unblocked(&mut self, now: Instant) {
        if let Some(since) = self.blocked_since.take() {
            self.blocked += now.saturating_duration_since(since);
        }
    }
}

/// What one turn of a direction came to.
enum Turn {
    /// Something moved; ask again.
    Moved,
    /// Nothing to do until a socket is ready.
    Waiting,
    /// A leg broke: the whole tunnel ends at once, as a reset for the other leg.
    Broken,
}

impl Relay {
    /// A tunnel between these legs, from the first byte after the 101 on.
    pub(super) fn new(
        client: Wire,
        gateway: Wire,
        extensions: Extensions,
        dialect: Box<dyn Dialect>,
        timeouts: Timeouts,
        session: Shared,
    ) -> Self {
        Self {
            client: Some(client),
            gateway: Some(gateway),
            to_gateway: Half::new(Direction::ToGateway, extensions),
            to_client: Half::new(Direction::ToClient, extensions),
            dialect,
            heartbeats: Heartbeats::default(),
            timers: Timers::new(timeouts, Instant::now()),
            closing_ourselves: false,
            buffered_max: 0,
            session,
            open: false,
        }
    }

    /// Runs until both legs have ended.
    pub(super) async fn run(mut self, drain: &Drain) {
        let mut drained = pin!(drain.token().cancelled());
        let (mut listening, mut draining) = (false, false);
        let mut sleep = pin!(sleep_until(self.timers.next().into()));
        self.note_open();
        poll_fn(|cx| {
            if !std::mem::replace(&mut listening, true) {
                // Once is enough: it is this task that the token wakes.
                let _ = drained.as_mut().poll(cx);
            }
            if drain.has_begun() && !std::mem::replace(&mut draining, true) {
                self.timers.drain(drain.plan(), self.session.spread());
            }
            loop {
                if self.turn(cx).is_ready() {
                    return Poll::Ready(());
                }
                // Deadlines move away with every byte; the sleep is set anew only when it must
                // end earlier, or when it has ended too early.
                let next = self.timers.next();
                if next < sleep.deadline().into_std() {
                    sleep.as_mut().reset(next.into());
                }
                if sleep.as_mut().poll(cx).is_pending() {
                    return Poll::Pending;
                }
                if let Some(due) = self.timers.due(Instant::now())
                    && self.timer_fired(cx, due).is_ready()
                {
                    return Poll::Ready(());
                }
                sleep.as_mut().reset(self.timers.next().into());
            }
        })
        .await;
    }

    /// Serves both directions until neither moves.
    fn turn(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let now = Instant::now();
        let mut lent = Lent::take();
        let scratch = lent.get();
        for _ in 0..READS_PER_POLL {
            // The gateway's direction first: what it says explains the rest.
            let to_client = self.direction(Direction::ToClient, cx, scratch, now);
            let to_gateway = self.direction(Direction::ToGateway, cx, scratch, now);
            match (to_client, to_gateway) {
                (Turn::Broken, _) | (_, Turn::Broken) => {
                    self.break_off(cx, scratch, now);
                    return Poll::Ready(());
                }
                (Turn::Waiting, Turn::Waiting) => {
                    return if self.is_done() {
                        Poll::Ready(())
                    } else {
                        Poll::Pending
                    };
                }
                _ => {}
            }
        }
        // Other sessions wait for this thread too.
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    fn is_done(&self) -> bool {
        self.to_client.is_done() && self.to_gateway.is_done()
    }

    fn direction(
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
        let (Some(source), Some(sink)) = (source, sink) else {
            return Turn::Waiting;
        };
        if !half.sink_gone && !sink.is_flushed() {
            match sink.poll_flush(cx) {
                Poll::Pending => {
                    half.blocked_since.get_or_insert(now);
                    return Turn::Waiting;
                }
                Poll::Ready(Ok(())) => {
                    half.unblocked(now);
                    self.session
                        .with(|rec| rec.ending.written(direction.to(), now));
                }
                Poll::Ready(Err(end)) => return self.sink_gone(direction, end, scratch, now),
            }
        }
        if half.ended {
            if half.passed_on || half.sink_gone {
                return Turn::Waiting;
            }
            return match sink.poll_shutdown(cx, &mut half.notified) {
                Poll::Pending => Turn::Waiting,
                Poll::Ready(Ok(())) => {
                    half.passed_on = true;
                    Turn::Moved
                }
                Poll::Ready(Err(end)) => self.sink_gone(direction, end, scratch, now),
            };
        }
        match source.poll_read(cx, scratch) {
            Poll::Pending => Turn::Waiting,
            Poll::Ready(Readout::Bytes(count)) => {
                let bytes = scratch.plain(count);
                let discard = half.sink_gone || self.closing_ourselves;
                let written = if discard {
                    Ok(())
                } else {
                    sink.write(cx, bytes)
                };
                self.buffered_max = self.buffered_max.max(sink.waiting());
                let flushed = sink.is_flushed();
                if !flushed {
                    half.blocked_since.get_or_insert(now);
                }
                self.observed(direction, bytes, flushed && written.is_ok(), now);
                match written {
                    Ok(()) => Turn::Moved,
                    Err(end) => self.sink_gone(direction, end, scratch, now),
                }
            }
            Poll::Ready(Readout::End(end, cause)) => self.source_ended(direction, end, cause, now),
        }
    }

    /// Shows bytes, which have been written as far as they could be, to the observer.
    fn observed(&mut self, direction: Direction, bytes: &[u8], flushed: bool, now: Instant) {
        let half = match direction {
            Direction::ToGateway => &mut self.to_gateway,
            Direction::ToClient => &mut self.to_client,
        };
        let known_close = half.observer.stats().close().is_some();
        let mut shared = ObserverShared {
            dialect: &mut *self.dialect,
            heartbeats: &mut self.heartbeats,
        };
        half.observer.observe(bytes, now, &mut shared);
        self.timers.active(now);
        let new_close = half.observer.stats().close().filter(|_| !known_close);
        let closes = new_close.is_some();
        if let Some((close, _)) = new_close {
            let discard = self.closing_ourselves;
            self.session.with(|rec| {
                rec.ending.close_received(direction.from(), close, now);
                if flushed && !discard {
                    rec.ending.written(direction.to(), now);
                }
            });
            self.timers.close_seen(now);
        }
        self.note_open();
        if self.open && closes {
            self.session.with(|rec| rec.reach(Phase::Closing));
        }
        self.finish_own_close(now);
    }

    fn note_open(&mut self) {
        if !self.open && self.dialect.is_open() {
            self.open = true;
            self.session.with(|rec| rec.reach(Phase::Open));
        }
    }

    /// After a Close of ours nothing is left to wait for once both ends have answered it.
    fn finish_own_close(&mut self, now: Instant) {
        if !self.closing_ourselves {
            return;
        }
        for half in [&mut self.to_gateway, &mut self.to_client] {
            if half.observer.stats().close().is_some() && !half.ended {
                half.ended = true;
                let leg = half.direction.from();
                self.session.with(|rec| {
                    rec.ending
                        .transport_ended(leg, TransportEnd::Local, None, now);
                });
            }
        }
    }

    fn source_ended(
        &mut self,
        direction: Direction,
        end: TransportEnd,
        cause: Option<String>,
        now: Instant,
    ) -> Turn {
        let leg = direction.from();
        self.session
            .with(|rec| rec.ending.transport_ended(leg, end, cause, now));
        let half = match direction {
            Direction::ToGateway => &mut self.to_gateway,
            Direction::ToClient => &mut self.to_client,
        };
        half.ended = true;
        if end.is_orderly() {
            self.timers.half_closed(now);
            Turn::Moved
        } else {
            Turn::Broken
        }
    }

    /// The sink of `direction` cannot be written to: its far end has reset the connection. What
    /// it had sent before may still be there to read.
    fn sink_gone(
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
        if back.ended {
            // It had sent its FIN, and now refuses what the other end still sends.
            return Turn::Broken;
        }
        let WriteEnd(end, cause) = end;
        // Told as the leg's ending only if reading it tells no other.
        let leg = direction.to();
        if !self.read_what_is_left(leg, scratch, now) {
            self.session
                .with(|rec| rec.ending.transport_ended(leg, end, Some(cause), now));
        }
        Turn::Broken
    }

    /// Reads without waiting what a leg had sent before it broke, as evidence. Tells whether that
    /// told how the leg ended.
    fn read_what_is_left(&mut self, leg: Leg, scratch: &mut Scratch, now: Instant) -> bool {
        let direction = match leg {
            Leg::Client => Direction::ToGateway,
            Leg::Gateway => Direction::ToClient,
        };
        let mut cx = Context::from_waker(std::task::Waker::noop());
        for _ in 0..READS_PER_POLL {
            match self.read_on(direction, &mut cx, scratch, now) {
                Turn::Moved => {}
                Turn::Waiting => return false,
                Turn::Broken => return true,
            }
        }
        false
    }

    /// One read of a direction whose bytes are passed on if that is possible at once.
    fn read_on(
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
                let bytes = scratch.plain(count);
                let written = !half.sink_gone
                    && !self.closing_ourselves
                    && sink.is_flushed()
                    && sink.write(cx, bytes).is_ok()
                    && sink.is_flushed();
                self.observed(direction, bytes, written, now);
                Turn::Moved
            }
            Poll::Ready(Readout::End(end, cause)) => {
                self.source_ended(direction, end, cause, now);
                Turn::Broken
            }
        }
    }

    /// One leg broke: the other learns it the same way, by a reset.
    fn break_off(&mut self, cx: &mut Context<'_>, scratch: &mut Scratch, now: Instant) {
        for leg in [Leg::Gateway, Leg::Client] {
            self.read_what_is_left(leg, scratch, now);
        }
        for leg in [Leg::Client, Leg::Gateway] {
            self.session.with(|rec| {
                rec.ending
                    .transport_ended(leg, TransportEnd::Local, None, now);
            });
            let wire = match leg {
                Leg::Client => &mut self.client,
                Leg::Gateway => &mut self.gateway,
            };
            // A Close that the broken leg had sent before goes out ahead of the reset if it can.
            if let Some(wire) = wire
                && !wire.is_flushed()
                && matches!(wire.poll_flush(cx), Poll::Ready(Ok(())))
            {
                self.session.with(|rec| rec.ending.written(leg, now));
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

    fn timer_fired(&mut self, cx: &mut Context<'_>, due: Due) -> Poll<()> {
        let now = Instant::now();
        let Due {
            key,
            limit,
            observed,
        } = due;
        match key {
            TimerKey::Idle => {
                self.session
                    .with(|rec| rec.ending.timer_fired(key, limit, observed, now));
                let reason = format!("wstap: idle for {}", seconds(observed));
                self.close_ourselves(cx, &reason, now)
            }
            TimerKey::Drain => {
                self.session.with(|rec| rec.ending.drained(now));
                if self.timers.is_closing() {
                    self.end_locally(now);
                    return Poll::Ready(());
                }
                self.close_ourselves(cx, "wstap: shutting down", now)
            }
            _ => {
                // Nobody is left to wait for: half-closed or closing for too long.
                if !self.closing_ourselves {
                    self.session
                        .with(|rec| rec.ending.timer_fired(key, limit, observed, now));
                }
                self.end_locally(now);
                Poll::Ready(())
            }
        }
    }

    /// Sends a Close of our own where that is legal; where it is not, the tunnel is aborted.
    fn close_ourselves(&mut self, cx: &mut Context<'_>, reason: &str, now: Instant) -> Poll<()> {
        let code = CloseCode::GOING_AWAY;
        let close = CloseFrame {
            code: Some(code),
            reason: reason.as_bytes().to_vec(),
        };
        let mut any = false;
        for leg in [Leg::Client, Leg::Gateway] {
            let (half, wire, masking) = match leg {
                Leg::Client => (&self.to_client, &mut self.client, Masking::Unmasked),
                Leg::Gateway => (&self.to_gateway, &mut self.gateway, Masking::Masked),
            };
            let Some(wire) = wire else { continue };
            let legal = half.observer.scanner().at_frame_boundary()
                && half.observer.stats().close().is_none()
                && !half.sink_gone
                && !half.passed_on
                && wire.is_flushed();
            if !legal
                || wire
                    .write(cx, &encode_close(code, reason, masking))
                    .is_err()
            {
                continue;
            }
            any = true;
            let flushed = wire.is_flushed();
            self.session.with(|rec| {
                rec.ending.close_of_ours(leg, &close, now);
                if flushed {
                    rec.ending.written(leg, now);
                }
            });
        }
        if !any {
            self.break_off(cx, Lent::take().get(), now);
            return Poll::Ready(());
        }
        self.closing_ourselves = true;
        self.timers.close_seen(now);
        // A Close that an end had sent before ours is the answer that is waited for.
        self.finish_own_close(now);
        Poll::Pending
    }

    /// Drops both legs; each far end sees FIN.
    fn end_locally(&mut self, now: Instant) {
        self.session.with(|rec| {
            for leg in [Leg::Client, Leg::Gateway] {
                rec.ending
                    .transport_ended(leg, TransportEnd::Local, None, now);
            }
        });
        self.note_tcp();
        self.client = None;
        self.gateway = None;
    }

    fn note_tcp(&self) {
        let of = |wire: &Option<Wire>| wire.as_ref().and_then(Wire::tcp_facts);
        let (client, gateway) = (of(&self.client), of(&self.gateway));
        self.session.with(|rec| {
            if client.is_some() {
                rec.facts.client.tcp = client;
            }
            if let Some(facts) = rec.facts.gateway.as_mut().filter(|_| gateway.is_some()) {
                facts.tcp = gateway;
            }
        });
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        let now = Instant::now();
        self.note_tcp();
        for half in [&mut self.to_gateway, &mut self.to_client] {
            half.unblocked(now);
        }
        let (to_gateway, to_client) = (&self.to_gateway, &self.to_client);
        let (dialect, heartbeats) = (&self.dialect, &self.heartbeats);
        let buffered_max_bytes = self.buffered_max as u64;
        self.session.with(|rec| {
            let anchor = *rec.anchor();
            let summary = |half: &Half| {
                half.observer
                    .stats()
                    .summary(half.observer.scanner(), &anchor)
            };
            rec.facts.frames = Some(Frames {
                to_gateway: summary(to_gateway),
                to_client: summary(to_client),
            });
            rec.facts.latency = Some(Latency {
                added_us: None,
                blocked_ms: BlockedMs {
                    to_gateway: millis(to_gateway.blocked),
                    to_client: millis(to_client.blocked),
                },
                buffered_max_bytes,
                ping_rtt: heartbeats.summary(),
            });
            let (facts, credentials) = dialect.facts(&anchor);
            rec.facts.dialect = Some(facts);
            rec.facts.auth.extend(credentials);
            for leg in [Leg::Client, Leg::Gateway] {
                // Ended by neither side nor by a rule of ours: the process is going down.
                rec.ending
                    .transport_ended(leg, TransportEnd::Local, None, now);
            }
        });
    }
}

fn seconds(duration: Duration) -> String {
    if duration < Duration::from_secs(10) {
        format!("{:.1} s", duration.as_secs_f64())
    } else {
        format!("{} s", duration.as_secs())
    }
}
