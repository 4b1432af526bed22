//! The tunnel: bytes through, untouched and at once, both directions in one poll.
//!
//! Each slice is written first and shown to the observer afterwards, so that observing never delays
//! it. While a peer is slow, its leg keeps the unwritten rest and the other leg is not read: exact
//! backpressure. Endings pass in kind: FIN as FIN, `close_notify` as `close_notify`, a reset as a
//! reset; no Close frame is invented. Only a timer, a cap or the drain makes the tap send a Close
//! of its own, and only at a frame boundary with nothing waiting; otherwise it aborts.

mod caps;
mod ending;
#[cfg(test)]
mod faults;
mod finish;
#[cfg(test)]
mod size;
mod timers;

use std::cell::RefCell;
use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use tokio::task::{unconstrained, yield_now};
use tokio::time::sleep_until;

use self::timers::Timers;
use crate::config::Timeouts;
use crate::dialect::Dialect;
use crate::dialect::observer::{Observer, SessionReaders};
use crate::proxy::connection::session::SessionHandle;
use crate::proxy::tap::drain::Drain;
use crate::session::caps::{Caps, Meter};
use crate::session::end_cause::EndCause;
use crate::session::heartbeats::Heartbeats;
use crate::session::party::{Direction, Leg};
use crate::session::record::TransportEnd;
use crate::sink::live::Live;
use crate::transport::wire::{Readout, Scratch, Wire};
use crate::ws::extensions::Extensions;

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

/// A session's tunnel. Dropping it, for whatever reason, writes its facts to the record.
pub(crate) struct Relay {
    client: Option<Wire>,
    gateway: Option<Wire>,
    to_gateway: Half,
    to_client: Half,
    dialect: Box<dyn Dialect>,
    heartbeats: Heartbeats,
    timers: Timers,
    /// We sent a Close of our own: bytes are read and counted, but not passed on.
    closing_ourselves: bool,
    buffered_max: usize,
    /// When a leg broke. Bytes that are read after this were sent before it.
    broke_at: Option<Instant>,
    /// When this turn began, until its first slice is written: the time for a slice is measured
    /// once per wake-up, by reading the clock a second time.
    woken: Option<Instant>,
    tcp_noted: bool,
    session: SessionHandle,
    live: Arc<Live>,
    open: bool,
}

/// One direction.
struct Half {
    direction: Direction,
    observer: Observer,
    /// Checked before anything is passed on; only where the direction is capped.
    meter: Option<Box<Meter>>,
    /// The source has ended its side.
    ended: bool,
    /// The source's end has been passed on to the sink.
    passed_on: bool,
    notified: bool,
    /// The sink takes no more bytes.
    sink_gone: bool,
    /// Every byte before this offset was written to the sink's connection.
    written_to: u64,
    blocked_since: Option<Instant>,
    blocked: Duration,
}

impl Half {
    fn new(direction: Direction, extensions: Extensions, caps: &Caps) -> Self {
        Self {
            direction,
            observer: Observer::new(direction, extensions),
            meter: Meter::new(caps, direction, Instant::now()).map(Box::new),
            ended: false,
            passed_on: false,
            notified: false,
            sink_gone: false,
            written_to: 0,
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

/// Directions that a turn serves.
#[derive(Clone, Copy)]
struct Asked {
    to_client: bool,
    to_gateway: bool,
}

impl Asked {
    const BOTH: Self = Self {
        to_client: true,
        to_gateway: true,
    };
}

/// Result of one turn of a direction.
enum Turn {
    /// Something moved; take another turn.
    Moved,
    /// Nothing to do until a socket is ready.
    Waiting,
    /// A leg broke: the whole tunnel ends at once, with a reset of the other leg.
    Broken,
}

impl Relay {
    /// A tunnel between these legs, from the first byte after the 101 on.
    pub(crate) fn new(
        client: Wire,
        gateway: Wire,
        extensions: Extensions,
        dialect: Box<dyn Dialect>,
        (timeouts, caps): (Timeouts, &Caps),
        session: SessionHandle,
    ) -> Self {
        Self {
            client: Some(client),
            gateway: Some(gateway),
            to_gateway: Half::new(Direction::ToGateway, extensions, caps),
            to_client: Half::new(Direction::ToClient, extensions, caps),
            dialect,
            heartbeats: Heartbeats::default(),
            timers: Timers::new(timeouts, Instant::now()),
            closing_ourselves: false,
            buffered_max: 0,
            broke_at: None,
            woken: None,
            tcp_noted: false,
            live: session.live(),
            session,
            open: false,
        }
    }

    /// Runs until both legs have ended.
    #[expect(
        clippy::manual_async_fn,
        reason = "the future of an `async fn` would have room for two relays"
    )]
    pub(crate) fn run(mut self, drain: Arc<Drain>) -> impl Future<Output = ()> + Send {
        async move {
            let mut drained = pin!(drain.token().cancelled());
            let (mut listening, mut draining, mut asleep) = (false, false, false);
            let mut sleep = pin!(sleep_until(self.timers.next().into()));
            self.note_open();
            let run = poll_fn(|cx| {
                if !std::mem::replace(&mut listening, true) {
                    // One poll is enough: the token wakes this task.
                    let _ = drained.as_mut().poll(cx);
                }
                if drain.has_begun() && !std::mem::replace(&mut draining, true) {
                    self.timers.drain(drain.plan(), self.session.spread());
                }
                loop {
                    if self.turn(cx).is_ready() {
                        return Poll::Ready(());
                    }
                    // Deadlines move away with every byte; the sleep is reset only when it must end
                    // earlier, or when it has ended too early.
                    if self.timers.take_sooner() {
                        let next = self.timers.next();
                        if next < sleep.deadline().into_std() {
                            sleep.as_mut().reset(next.into());
                            asleep = false;
                        }
                    }
                    // The sleep wakes this task, whose waker stays the same: one poll is enough
                    // here, too.
                    if asleep && !sleep.is_elapsed() {
                        return Poll::Pending;
                    }
                    asleep = sleep.as_mut().poll(cx).is_pending();
                    if asleep {
                        return Poll::Pending;
                    }
                    if let Some(due) = self.timers.due(Instant::now())
                        && self.timer_fired(cx, due).is_ready()
                    {
                        return Poll::Ready(());
                    }
                    if self.timers.watch_is_due(Instant::now()) && self.a_blocked_leg_broke(cx) {
                        return Poll::Ready(());
                    }
                    sleep.as_mut().reset(self.timers.next().into());
                }
            });
            // A turn has its own limit. With the runtime's limit, a poll of the sleep could also
            // return without registering a wake-up.
            unconstrained(run).await;
        }
    }

    /// Serves both directions until neither moves.
    fn turn(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let now = Instant::now();
        self.woken = Some(now);
        let mut lent = Lent::take();
        let scratch = lent.get();
        // For a direction with nothing to read the reactor will wake us, so it is not polled again.
        let mut asked = Asked::BOTH;
        for _ in 0..READS_PER_POLL {
            // The gateway's direction first: what it says explains the rest.
            let to_client = if asked.to_client {
                self.direction(Direction::ToClient, cx, scratch, now)
            } else {
                Turn::Waiting
            };
            let to_gateway = if asked.to_gateway {
                self.direction(Direction::ToGateway, cx, scratch, now)
            } else {
                Turn::Waiting
            };
            match (&to_client, &to_gateway) {
                (Turn::Broken, _) | (_, Turn::Broken) => {
                    self.break_off(cx, scratch, self.at());
                    return Poll::Ready(());
                }
                (Turn::Waiting, Turn::Waiting) => {
                    let any = self.is_blocked();
                    self.timers.blocked(any, now);
                    self.note_waiting();
                    return if self.is_done() {
                        Poll::Ready(())
                    } else {
                        Poll::Pending
                    };
                }
                _ if self.is_unobstructed() => {
                    asked = Asked {
                        to_client: matches!(to_client, Turn::Moved),
                        to_gateway: matches!(to_gateway, Turn::Moved),
                    };
                }
                _ => asked = Asked::BOTH,
            }
        }
        // Yield instead of waking ourselves: an always-ready task starves other sessions and keeps the runtime from
        // polling the I/O driver.
        pin!(yield_now()).poll(cx)
    }

    fn is_done(&self) -> bool {
        self.to_client.is_done() && self.to_gateway.is_done()
    }

    fn is_blocked(&self) -> bool {
        self.to_client.blocked_since.is_some() || self.to_gateway.blocked_since.is_some()
    }

    /// Whether nothing waits to be written and nothing has ended, so that neither direction affects
    /// the other.
    fn is_unobstructed(&self) -> bool {
        let flushed = |leg: &Option<Wire>| leg.as_ref().is_some_and(Wire::is_flushed);
        !(self.to_client.ended || self.to_gateway.ended || self.is_blocked())
            && flushed(&self.client)
            && flushed(&self.gateway)
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
        let mut sink = sink.as_mut().filter(|_| !half.sink_gone);
        if let Some(sink) = &mut sink
            && !sink.is_flushed()
        {
            let before = sink.written();
            let flushed = sink.poll_flush(cx);
            if sink.written() > before {
                // A slow peer that still reads is not idle.
                self.timers.active(now);
            }
            match flushed {
                Poll::Pending => {
                    half.blocked_since.get_or_insert(now);
                    return Turn::Waiting;
                }
                Poll::Ready(Ok(())) => {
                    half.unblocked(now);
                    if !self.closing_ourselves {
                        half.written_to = half.observer.stats().wire_bytes();
                    }
                    // The time of writing matters only for a Close.
                    if self.closing_ourselves || half.observer.stats().close().is_some() {
                        self.session
                            .record()
                            .written(direction.to(), Instant::now());
                    }
                }
                Poll::Ready(Err(end)) => return self.sink_gone(direction, end, scratch, now),
            }
        }
        if half.ended {
            let Some(sink) = sink.filter(|_| !half.passed_on) else {
                return Turn::Waiting;
            };
            return match sink.poll_shutdown(cx, &mut half.notified) {
                Poll::Pending => Turn::Waiting,
                Poll::Ready(Ok(())) => {
                    half.passed_on = true;
                    Turn::Moved
                }
                Poll::Ready(Err(end)) => self.sink_gone(direction, end, scratch, now),
            };
        }
        let Some(source) = source else {
            return Turn::Waiting;
        };
        match source.poll_read(cx, scratch) {
            Poll::Pending => Turn::Waiting,
            Poll::Ready(Readout::Bytes(count)) => {
                let bytes = match scratch.plain(count) {
                    Ok(bytes) => bytes,
                    Err(bug) => return self.faulted(&bug.into()),
                };
                if let Some(meter) = half.meter.as_mut().filter(|_| !self.closing_ourselves)
                    && let Some(over) = meter.look(bytes, now)
                {
                    return self.cap_met(direction, over, cx, bytes, now);
                }
                let (mut written, mut flushed) = (Ok(()), false);
                if let Some(sink) = sink.filter(|_| !self.closing_ourselves) {
                    written = sink.write(cx, bytes);
                    flushed = sink.is_flushed();
                    self.buffered_max = self.buffered_max.max(sink.waiting());
                    if !flushed {
                        half.blocked_since.get_or_insert(now);
                    } else if let Some(woken) = self.woken.take() {
                        self.live.took(woken.elapsed());
                    }
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

    /// The time of an event that may decide who ended the session first. Legs answer each other
    /// within one turn, so the turn's time is too coarse.
    fn at(&self) -> Instant {
        self.broke_at.unwrap_or_else(Instant::now)
    }

    /// Shows bytes to the observer, after they were written as far as possible.
    fn observed(&mut self, direction: Direction, bytes: &[u8], flushed: bool, now: Instant) {
        let half = match direction {
            Direction::ToGateway => &mut self.to_gateway,
            Direction::ToClient => &mut self.to_client,
        };
        let before = half.observer.stats().rare();
        let mut shared = SessionReaders {
            dialect: &mut *self.dialect,
            heartbeats: &mut self.heartbeats,
        };
        half.observer.observe(bytes, now, &mut shared);
        if flushed {
            half.written_to = half.observer.stats().wire_bytes();
        }
        let stats = half.observer.stats();
        self.live
            .relayed(direction, stats.messages(), stats.wire_bytes(), now);
        self.timers.active(now);
        let decides = stats.rare() != before;
        self.note_open();
        if decides {
            self.note_decisive(direction, flushed, now);
        }
        self.finish_own_close(now);
    }

    /// Reads the clock again for a Close frame and for the first breach of its kind.
    #[cold]
    fn note_decisive(&mut self, direction: Direction, flushed: bool, now: Instant) {
        let (at, discard) = (self.at(), self.closing_ourselves);
        let half = match direction {
            Direction::ToGateway => &mut self.to_gateway,
            Direction::ToClient => &mut self.to_client,
        };
        half.observer.date_breaches(at);
        let leg = direction.from();
        let known = self.session.record().ending().received(leg).is_some();
        let close = half
            .observer
            .stats()
            .close()
            .map(|(close, _)| close.clone());
        let Some(close) = close.filter(|_| !known) else {
            tracing::debug!(from = leg.party().as_str(), "a breach of RFC 6455 was seen");
            return;
        };
        tracing::debug!(
            from = leg.party().as_str(),
            code = close.code.map(|code| code.0),
            "Close seen"
        );
        self.note_tcp();
        let open = self.open;
        let mut record = self.session.record();
        record.close_received(leg, &close, at);
        if flushed && !discard {
            record.written(direction.to(), at);
        }
        if open {
            record.closing();
        }
        drop(record);
        self.timers.close_seen(now);
        if leg == Leg::Gateway {
            self.announce(&close, at);
        }
    }

    /// Publishes the number of bytes left to write, for the list of open sessions.
    fn note_waiting(&self) {
        for (direction, sink) in [
            (Direction::ToGateway, &self.gateway),
            (Direction::ToClient, &self.client),
        ] {
            let waiting = sink.as_ref().map_or(0, Wire::waiting);
            self.live.waits(direction, waiting);
        }
    }

    fn note_open(&mut self) {
        if !self.open && self.dialect.is_open() {
            self.open = true;
            self.session.record().session_opened();
        }
    }

    fn source_ended(
        &mut self,
        direction: Direction,
        end: TransportEnd,
        cause: Option<EndCause>,
        now: Instant,
    ) -> Turn {
        if let Some(bug) = cause.as_ref().filter(|cause| cause.is_bug()) {
            return self.faulted(bug);
        }
        let leg = direction.from();
        self.note_tcp();
        let at = self.at();
        tracing::debug!(
            leg = leg.party().as_str(),
            ?end,
            cause = cause.as_ref().map(EndCause::words),
            "leg ended"
        );
        self.session.record().leg_ended(leg, end, cause, at);
        if !end.is_orderly() {
            self.broke_at = Some(at);
        }
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
}
