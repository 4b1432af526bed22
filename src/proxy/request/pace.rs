//! Limits how long a client may take to send a request's body, so that a body that only trickles in
//! ends.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep_until};

/// Bytes of a body that earn the client another second: an upload that makes progress is never cut.
pub(crate) const BYTES_PER_SECOND: u64 = 1024;

/// A wait that ended a request.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TooSlow {
    /// `timeouts.request_body`.
    pub limit: Duration,
    /// How long we waited for the client, in total.
    pub waited: Duration,
}

/// The time that one body has taken. Only time spent waiting for the client counts: a gateway that
/// does not read costs the client nothing.
#[derive(Debug)]
pub(crate) struct Pace {
    limit: Duration,
    waited: Duration,
    /// Start of the current wait for the client.
    since: Option<Instant>,
    sleep: Option<Pin<Box<Sleep>>>,
}

impl Pace {
    pub(crate) fn new(limit: Duration) -> Self {
        Self {
            limit,
            waited: Duration::ZERO,
            since: None,
            sleep: None,
        }
    }

    /// Ends the wait: something came.
    pub(crate) fn came(&mut self) {
        if let Some(since) = self.since.take() {
            self.waited += since.elapsed();
        }
    }

    /// Waits for more after `bytes`. Ready when the client has taken too long.
    pub(crate) fn poll_wait(&mut self, bytes: u64, cx: &mut Context<'_>) -> Poll<TooSlow> {
        let earned = Duration::from_secs(bytes / BYTES_PER_SECOND);
        let left = self
            .limit
            .saturating_add(earned)
            .saturating_sub(self.waited);
        let since = *self.since.get_or_insert_with(Instant::now);
        let Some(deadline) = since.checked_add(left) else {
            return Poll::Pending;
        };
        let sleep = self
            .sleep
            .get_or_insert_with(|| Box::pin(sleep_until(deadline)));
        // Deadlines only move away, so that the timer is set again when it fires, not for each byte.
        loop {
            ready!(sleep.as_mut().poll(cx));
            if sleep.deadline() >= deadline {
                return Poll::Ready(TooSlow {
                    limit: self.limit,
                    waited: self.waited + since.elapsed(),
                });
            }
            sleep.as_mut().reset(deadline);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use tokio::time::{sleep, timeout};

    use super::*;

    const LIMIT: Duration = Duration::from_mins(1);

    /// Runs a client that sends `bytes` at once, then pauses. Returns how long it was allowed to go
    /// on.
    async fn ends_after(bytes: u64, pause: Duration) -> Option<Duration> {
        let (mut pace, mut all) = (Pace::new(LIMIT), 0);
        let began = Instant::now();
        while began.elapsed() < LIMIT * 100 {
            let waiting = poll_fn(|cx| pace.poll_wait(all, cx));
            if let Ok(slow) = timeout(pause, waiting).await {
                assert_eq!(slow.waited, began.elapsed());
                return Some(began.elapsed());
            }
            pace.came();
            all += bytes;
        }
        None
    }

    #[tokio::test(start_paused = true)]
    async fn what_trickles_ends() {
        let second = Duration::from_secs(1);
        assert_eq!(ends_after(1, second * 7).await, Some(LIMIT));
        assert_eq!(ends_after(0, LIMIT * 2).await, Some(LIMIT));
        // Half the required rate: twice the time.
        let half = ends_after(BYTES_PER_SECOND / 2, second).await.unwrap();
        assert!(half.abs_diff(LIMIT * 2) < second * 3, "{half:?}");
        assert_eq!(ends_after(BYTES_PER_SECOND, second).await, None);
    }

    /// While the gateway does not read, the body is not polled.
    #[tokio::test(start_paused = true)]
    async fn a_gateway_that_does_not_read_costs_nothing() {
        let mut pace = Pace::new(LIMIT);
        for _ in 0..50 {
            let waiting = poll_fn(|cx| pace.poll_wait(0, cx));
            timeout(Duration::from_secs(1), waiting).await.unwrap_err();
            pace.came();
            sleep(LIMIT).await;
        }
    }
}
