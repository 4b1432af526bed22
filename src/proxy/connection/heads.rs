//! The gate's facts about a connection's requests, for the code that serves them.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::Waker;
use std::time::{Duration, Instant};

use crate::admission::head::{Checked, Refusal};

/// A checked head. hyper got it, or a substitute if it was refused.
#[derive(Debug)]
pub(crate) struct CheckedHead {
    pub(crate) checked: Checked,
    /// How long we waited for it.
    pub(crate) waited: Duration,
}

/// The heads of one connection, in order.
#[derive(Debug, Default)]
pub(crate) struct Heads(Mutex<Inner>);

#[derive(Debug, Default)]
struct Inner {
    /// Not yet taken by the service; hyper asks for one at a time.
    waiting: VecDeque<CheckedHead>,
    /// Heads that were handed on, in total.
    begun: u64,
    /// Requests that are under way.
    busy: u64,
    /// The reader that waits for these requests to end.
    reader: Option<Waker>,
    /// Number of bytes of a head that is incomplete or waits for its turn.
    partial: usize,
    /// Why the body of the request under way cannot be read.
    broken: Option<Refusal>,
    /// The time for a head ran out before one byte of it came.
    nothing_came: Option<Duration>,
    /// The head of the answer to the request under way is there.
    answered: bool,
    /// The client ended its sending side after a request, whose answer is still awaited.
    half_closed: bool,
    /// The wait for that answer was given up: the limit, the time waited, and when.
    gave_up: Option<GaveUp>,
}

/// The answer to a client that had ended its sending side did not come in time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct GaveUp {
    pub(crate) limit: Duration,
    pub(crate) waited: Duration,
    pub(crate) at: Instant,
}

impl Heads {
    pub(crate) fn push(&self, seen: CheckedHead) {
        let mut inner = self.inner();
        inner.begun += 1;
        inner.busy += 1;
        inner.partial = 0;
        inner.answered = false;
        inner.waiting.push_back(seen);
    }

    /// The head of the request that hyper dispatches now.
    pub(crate) fn take(&self) -> Option<CheckedHead> {
        self.inner().waiting.pop_front()
    }

    /// Records the end of a request: the next one may begin.
    pub(crate) fn request_ended(&self) {
        let mut inner = self.inner();
        inner.busy = inner.busy.saturating_sub(1);
        let reader = inner.reader.take();
        drop(inner);
        if let Some(reader) = reader {
            reader.wake();
        }
    }

    /// Returns whether a request is under way; if so, `reader` is woken when it ends.
    pub(crate) fn wait_if_busy(&self, reader: &Waker) -> bool {
        let mut inner = self.inner();
        if inner.busy == 0 {
            return false;
        }
        inner.reader = Some(reader.clone());
        true
    }

    /// Requests that are under way.
    pub(crate) fn in_flight(&self) -> u64 {
        self.inner().busy
    }

    /// Heads that were handed on.
    pub(crate) fn begun(&self) -> u64 {
        self.inner().begun
    }

    /// Whether no head was handed on yet.
    pub(crate) fn is_first(&self) -> bool {
        self.begun() == 0
    }

    /// Whether the request under way is the first of its connection.
    pub(crate) fn is_on_first(&self) -> bool {
        self.begun() == 1
    }

    /// Sets the number of bytes of a head that is not handed on yet.
    pub(crate) fn set_partial(&self, bytes: usize) {
        self.inner().partial = bytes;
    }

    pub(crate) fn has_partial(&self) -> bool {
        self.inner().partial > 0
    }

    pub(crate) fn break_body(&self, refusal: Refusal) {
        self.inner().broken.get_or_insert(refusal);
    }

    pub(crate) fn broken_body(&self) -> Option<Refusal> {
        self.inner().broken.clone()
    }

    /// The head of the answer to the request under way is there.
    pub(crate) fn answer_began(&self) {
        self.inner().answered = true;
    }

    pub(crate) fn has_answer(&self) -> bool {
        self.inner().answered
    }

    pub(crate) fn half_closed(&self) {
        self.inner().half_closed = true;
    }

    pub(crate) fn is_half_closed(&self) -> bool {
        self.inner().half_closed
    }

    pub(crate) fn gives_up(&self, gave_up: GaveUp) {
        self.inner().gave_up.get_or_insert(gave_up);
    }

    pub(crate) fn gave_up(&self) -> Option<GaveUp> {
        self.inner().gave_up
    }

    pub(crate) fn nothing_came(&self, waited: Duration) {
        self.inner().nothing_came = Some(waited);
    }

    /// How long we waited for the first byte of a head that never came.
    pub(crate) fn waited_in_vain(&self) -> Option<Duration> {
        self.inner().nothing_came
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
