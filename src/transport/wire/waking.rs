//! How a leg's task is woken when there is something to read, and when its socket need not be asked.
//!
//! A relay's task has two legs, and most wake-ups concern only one of them. So a leg gives the reactor a waker of its
//! own, which withdraws the leg's *promise* and then wakes the task. While the promise holds, nothing has arrived since
//! a read found nothing, and [`Waking::ask`] does not ask the socket.
//!
//! | state | its meaning | next state |
//! |---|---|---|
//! | new | no read has waited | the first `ask`: *asked* |
//! | asked, without a promise | the next `ask` asks the socket | a read that finds nothing: with the promise |
//! | asked, with the promise | the reactor has the leg's waker and has not used it | the waker is used: without |
//! | at once | the session ends, and reads do not wait | none |
//!
//! Invariants:
//!
//! * The promise is made before the socket is asked. Made afterwards, it would cover up a wake-up in between.
//! * The waker withdraws the promise before it wakes the task, which would otherwise still see it.
//! * A read that found something leaves no promise, because there may be more.
//! * Only one task asks: the waker wakes the task that asked first. Another task gets an error;
//!   without the error, that task would sleep for ever.
//!
//! Writes need no promise: they wake the task itself, and a leg that waits for its peer to read is asked at every wake-up.

#[cfg(test)]
mod model;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use crate::transport::impossible::Impossible;

/// A leg's waker and promise.
#[derive(Debug, Default)]
pub(super) enum Waking<F = AtomicBool> {
    #[default]
    New,
    Asked(Leg<F>),
    AtOnce,
}

#[derive(Debug)]
pub(super) struct Leg<F> {
    promise: Arc<Promise<F>>,
    /// The waker for the reactor; it holds `promise`.
    waker: Waker,
}

#[derive(Debug)]
struct Promise<F> {
    holds: F,
    task: Waker,
}

/// An atomic `bool`; the loom model has its own.
pub(super) trait Flag: Send + Sync + 'static {
    fn new(value: bool) -> Self;
    fn load(&self, order: Ordering) -> bool;
    fn store(&self, value: bool, order: Ordering);
}

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

impl<F: Flag> Wake for Promise<F> {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.holds.store(false, Ordering::Release);
        self.task.wake_by_ref();
    }
}

impl<F: Flag> Leg<F> {
    fn new(task: &Waker) -> Self {
        let promise = Arc::new(Promise {
            holds: F::new(false),
            task: task.clone(),
        });
        Self {
            waker: Arc::clone(&promise).into(),
            promise,
        }
    }
}

impl<F: Flag> Waking<F> {
    /// Calls `read`, unless the promise holds, which means that nothing has arrived. Whenever `read` returns pending,
    /// it must have registered the waker that it was given.
    pub(super) fn ask<T>(
        &mut self,
        task: &mut Context<'_>,
        read: impl FnOnce(&mut Context<'_>) -> Poll<T>,
    ) -> Result<Poll<T>, Impossible> {
        if matches!(self, Self::New) {
            *self = Self::Asked(Leg::new(task.waker()));
        }
        let Self::Asked(Leg { promise, waker }) = self else {
            return Ok(read(task));
        };
        // Not `will_wake`: it also compares vtables, and the compiler may emit several copies of one.
        if promise.task.data() != task.waker().data() {
            return Err(Impossible::OtherTask);
        }
        if promise.holds.load(Ordering::Acquire) {
            return Ok(Poll::Pending);
        }
        promise.holds.store(true, Ordering::Relaxed);
        let poll = read(&mut Context::from_waker(waker));
        if poll.is_ready() {
            promise.holds.store(false, Ordering::Relaxed);
        }
        Ok(poll)
    }

    /// From now on reads do not wait, and no task is woken.
    pub(super) fn read_at_once(&mut self) {
        *self = Self::AtOnce;
    }

    pub(super) fn is_at_once(&self) -> bool {
        matches!(self, Self::AtOnce)
    }

    /// The task that is woken; `None` before the first read, and when reads do not wait.
    pub(super) fn task(&self) -> Option<&Waker> {
        match self {
            Self::Asked(leg) => Some(&leg.promise.task),
            Self::New | Self::AtOnce => None,
        }
    }
}

#[cfg(test)]
impl Waking {
    /// Wakes the leg as the reactor does.
    pub(super) fn wake(&self) {
        if let Self::Asked(leg) = self {
            leg.waker.wake_by_ref();
        }
    }

    pub(super) fn is_promised(&self) -> bool {
        matches!(self, Self::Asked(leg) if leg.promise.holds.load(Ordering::Acquire))
    }
}
