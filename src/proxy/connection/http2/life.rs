//! Decides whether an HTTP/2 connection is idle or its client is gone. Pure: the caller passes in
//! the time and the bytes read.

use std::time::{Duration, Instant};

/// A connection with open streams gets a ping after this time without received bytes.
const PING_AFTER: Duration = Duration::from_secs(30);

/// Time limit for the answer to that ping.
const PONG_WITHIN: Duration = Duration::from_secs(20);

/// The result of one check of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Look {
    /// Nothing to do.
    Well,
    /// A ping is due.
    Ask,
    /// No stream has been open for this long.
    Idle(Duration),
    /// The client does not answer.
    Dead,
}

/// The state from earlier checks.
#[derive(Debug)]
pub(super) struct Life {
    /// How long the connection may be without streams.
    limit: Duration,
    idle_since: Option<Instant>,
    read: u64,
    read_at: Instant,
    asked: Option<Instant>,
}

impl Life {
    pub(super) fn new(limit: Duration, now: Instant) -> Self {
        Self {
            limit,
            idle_since: None,
            read: 0,
            read_at: now,
            asked: None,
        }
    }

    /// Checks the connection. `read` is the number of bytes that came so far, including answers to
    /// pings.
    pub(super) fn look(&mut self, now: Instant, read: u64, streams: bool) -> Look {
        let since = |then: Instant| now.saturating_duration_since(then);
        if std::mem::replace(&mut self.read, read) != read {
            self.read_at = now;
            self.asked = None;
        }
        if !streams {
            // The limit is the time that a head may take, as for the next head on a kept HTTP/1
            // connection.
            let waited = since(*self.idle_since.get_or_insert(now));
            return if waited >= self.limit {
                Look::Idle(waited)
            } else {
                Look::Well
            };
        }
        self.idle_since = None;
        match self.asked {
            Some(asked) if since(asked) >= PONG_WITHIN => Look::Dead,
            None if since(self.read_at) >= PING_AFTER => {
                self.asked = Some(now);
                Look::Ask
            }
            Some(_) | None => Look::Well,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_secs(10);

    #[test]
    fn a_client_that_does_not_answer_is_dead() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut life = Life::new(LIMIT, start);
        assert_eq!(life.look(at(29), 0, true), Look::Well);
        assert_eq!(life.look(at(30), 0, true), Look::Ask);
        assert_eq!(life.look(at(49), 0, true), Look::Well);
        assert_eq!(life.look(at(50), 0, true), Look::Dead);
    }

    #[test]
    fn an_answer_starts_anew() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut life = Life::new(LIMIT, start);
        assert_eq!(life.look(at(30), 0, true), Look::Ask);
        assert_eq!(life.look(at(40), 17, true), Look::Well);
        assert_eq!(life.look(at(69), 17, true), Look::Well);
        assert_eq!(life.look(at(70), 17, true), Look::Ask);
    }

    #[test]
    fn without_streams_it_may_wait_as_long_as_for_a_head() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut life = Life::new(LIMIT, start);
        assert_eq!(life.look(at(1), 0, false), Look::Well);
        assert_eq!(life.look(at(10), 90, false), Look::Well);
        assert_eq!(life.look(at(11), 99, false), Look::Idle(LIMIT));
        assert_eq!(life.look(at(11), 99, true), Look::Well);
        assert_eq!(life.look(at(12), 99, false), Look::Well);
    }
}
