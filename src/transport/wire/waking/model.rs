//! A loom model: no wake-up is lost in any order of events between the task, the reactor and the
//! far end, with up to two preemptions. loom reports a deadlock if the task waits and nothing is
//! left to wake it.

use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};

use loom::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use loom::sync::{Mutex, Notify};
use loom::thread;

use super::{Flag, Impossible, Leg, Waking};

impl Flag for AtomicBool {
    fn new(value: bool) -> Self {
        Self::new(value)
    }

    fn load(&self, order: Ordering) -> bool {
        self.load(order)
    }

    fn store(&self, value: bool, order: Ordering) {
        self.store(value, order);
    }
}

/// A task that sleeps until it is woken.
struct Task(Notify);

impl Wake for Task {
    fn wake(self: Arc<Self>) {
        self.0.notify();
    }
}

/// A socket registered with tokio's reactor, reduced to one reader: `ScheduledIo` of
/// `runtime/io/scheduled_io.rs`.
struct Socket {
    /// Bytes that the kernel has.
    bytes: AtomicUsize,
    /// Readiness in the lowest bit, and above it the number of events.
    readiness: AtomicUsize,
    reader: Mutex<Option<Waker>>,
}

impl Socket {
    fn new() -> Self {
        Self {
            bytes: AtomicUsize::new(0),
            readiness: AtomicUsize::new(0),
            reader: Mutex::new(None),
        }
    }

    /// Delivers a byte from the far end: the kernel has it, and its event reaches the reactor.
    fn comes(&self) {
        self.bytes.fetch_add(1, Ordering::AcqRel);
        let next = |readiness: usize| Some((readiness | 1) + 2);
        let _ = self
            .readiness
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, next);
        let reader = self.reader.lock().unwrap().take();
        if let Some(reader) = reader {
            reader.wake();
        }
    }

    fn poll_ready(&self, cx: &Context<'_>) -> Poll<usize> {
        let readiness = self.readiness.load(Ordering::Acquire);
        if readiness & 1 == 1 {
            return Poll::Ready(readiness);
        }
        let mut reader = self.reader.lock().unwrap();
        *reader = Some(cx.waker().clone());
        // The event may have come before the reader registered its waker.
        let readiness = self.readiness.load(Ordering::Acquire);
        if readiness & 1 == 1 {
            Poll::Ready(readiness)
        } else {
            Poll::Pending
        }
    }

    /// Reads at most one byte, so that more may be left.
    fn poll_read(&self, cx: &Context<'_>) -> Poll<()> {
        loop {
            let Poll::Ready(seen) = self.poll_ready(cx) else {
                return Poll::Pending;
            };
            let one_less = |bytes: usize| bytes.checked_sub(1);
            let read = self
                .bytes
                .fetch_update(Ordering::AcqRel, Ordering::Acquire, one_less);
            if read.is_ok() {
                return Poll::Ready(());
            }
            // Unless another event has come meanwhile.
            let _ = self.readiness.compare_exchange(
                seen,
                seen & !1,
                Ordering::AcqRel,
                Ordering::Acquire,
            );
        }
    }
}

/// The modelled operation: a read of `Socket` through a leg's `Waking`.
type Ask = fn(&mut Waking<AtomicBool>, &mut Context<'_>, &Socket) -> Poll<()>;

/// A task reads `BYTES` bytes, which come one by one, while its other leg wakes it too.
fn every_byte_is_read(ask: Ask) {
    const BYTES: usize = 2;
    let mut model = loom::model::Builder::new();
    // A lost wake-up needs only one preemption; without a bound there are millions of orders.
    model.preemption_bound = Some(2);
    model.check(move || {
        let socket = Arc::new(Socket::new());
        let task = Arc::new(Task(Notify::new()));
        let waker = Waker::from(Arc::clone(&task));
        let far_end = thread::spawn({
            let socket = Arc::clone(&socket);
            move || (0..BYTES).for_each(|_| socket.comes())
        });
        let other_leg = thread::spawn({
            let waker = waker.clone();
            move || waker.wake()
        });
        let mut cx = Context::from_waker(&waker);
        let mut waking = Waking::default();
        let mut read = 0;
        while read < BYTES {
            match ask(&mut waking, &mut cx, &socket) {
                Poll::Ready(()) => read += 1,
                Poll::Pending => task.0.wait(),
            }
        }
        far_end.join().unwrap();
        other_leg.join().unwrap();
    });
}

#[test]
fn no_wake_up_is_lost() {
    every_byte_is_read(|waking, cx, socket| {
        waking.ask(cx, |cx| socket.poll_read(cx)).expect("one task")
    });
}

/// The model finds a promise that is made only after the read has found nothing.
#[test]
#[should_panic(expected = "deadlock")]
fn a_promise_made_too_late_loses_a_wake_up() {
    every_byte_is_read(|waking, cx, socket| {
        if matches!(waking, Waking::New) {
            *waking = Waking::Asked(Leg::new(cx.waker()));
        }
        let Waking::Asked(Leg { promise, waker }) = waking else {
            unreachable!("reads wait");
        };
        if promise.holds.load(Ordering::Acquire) {
            return Poll::Pending;
        }
        let poll = socket.poll_read(&Context::from_waker(waker));
        promise.holds.store(poll.is_pending(), Ordering::Release);
        poll
    });
}

/// The model finds a promise that is not withdrawn when a read has found something.
#[test]
#[should_panic(expected = "deadlock")]
fn a_promise_that_outlives_a_read_loses_what_is_left() {
    every_byte_is_read(|waking, cx, socket| {
        let poll = waking.ask(cx, |cx| socket.poll_read(cx)).expect("one task");
        if let Waking::Asked(leg) = waking {
            leg.promise.holds.store(true, Ordering::Relaxed);
        }
        poll
    });
}

#[test]
fn another_task_is_an_error() {
    struct Other;
    impl Wake for Other {
        fn wake(self: Arc<Self>) {}
    }

    let mut waking = Waking::<std::sync::atomic::AtomicBool>::default();
    let wait = |_: &mut Context<'_>| Poll::<()>::Pending;
    let mut noop = Context::from_waker(Waker::noop());
    assert_eq!(waking.ask(&mut noop, wait), Ok(Poll::Pending));
    let other = Waker::from(Arc::new(Other));
    let mut other = Context::from_waker(&other);
    let asked = waking.ask(&mut other, wait);
    assert_eq!(asked, Err(Impossible::OtherTask));
    // At the end of a session there is no task to wake.
    waking.read_at_once();
    assert_eq!(
        waking.ask(&mut other, |_| Poll::Ready(1)),
        Ok(Poll::Ready(1))
    );
}
