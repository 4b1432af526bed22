//! When to check whether the gateway believes the attribution headers that we write.
//!
//! A request with the address of a documentation network (RFC 5737) goes to a path that is not
//! exempt from attribution. If the gateway answers it, a second request follows that names no
//! client: a gateway that checks attribution refuses that one, whichever proxies it trusts.
//! Gateways before 2026.8 check nothing and answer both, which does not show what they believe.
//!
//! The schedule of these checks is here, without clock and sockets: with growing pauses from the
//! start until the first answer, once a minute while the gateway refuses, every ten minutes while
//! its answers show nothing, and again when something contradicts what we know or the gateway was
//! gone for a while.

use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, Instant};

use crate::dialect::profile::Attribution;
use crate::session::record::gateway::Acceptance;

/// The client that a check names: an address of TEST-NET-3, which nobody has.
pub(crate) const CHECK_CLIENT: IpAddr = IpAddr::V4(Ipv4Addr::new(203, 0, 113, 1));

/// The second request's value in place of a client's address (RFC 7239 section 6.2): no gateway
/// finds a client in it (seen with 2026.9.6, which answers 403 even to a proxy that it trusts).
pub(crate) const NOBODY: &str = "unknown";

/// The first pause after a check without an answer.
const SHORTEST: Duration = Duration::from_millis(250);
/// The longest pause after a check without an answer.
const LONGEST: Duration = Duration::from_secs(5);
/// Pause between two checks for the same reason.
const MINUTE: Duration = Duration::from_mins(1);
/// Pause while the answers show nothing: only another version of the gateway changes that, which
/// takes a restart, and any request that comes meanwhile notices the restart anyway.
const UNPROVEN: Duration = Duration::from_mins(10);

/// How the gateway answered one request of a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// It answered the request.
    Taken,
    /// 403 `proxy_attribution_required`.
    Refused,
    /// Neither: it is starting, or something else answers.
    None,
}

/// The result of a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// The gateway attributed the first request to the client that it names, and refused the one
    /// that names nobody.
    Accepted,
    /// It does not believe us.
    Refused,
    /// It answered both alike: it does not check attribution, or our headers never reached it.
    Unproven,
    /// It is starting, unreachable, or something else answers.
    NoAnswer,
}

impl Outcome {
    /// The outcome, from the answer to the request that names a client and the answer to the one
    /// that names nobody, if that was sent.
    #[must_use]
    pub(crate) fn of(named: Answer, nobody: Option<Answer>) -> Self {
        match (named, nobody) {
            (Answer::Refused, _) => Self::Refused,
            (Answer::Taken, Some(Answer::Refused)) => Self::Accepted,
            (Answer::Taken, Some(Answer::Taken)) => Self::Unproven,
            (Answer::Taken, Some(Answer::None) | None) | (Answer::None, _) => Self::NoAnswer,
        }
    }
}

impl Answer {
    /// Reads an answer; `body` may be only its beginning.
    #[must_use]
    pub(crate) fn of(dialect: &Attribution, status: u16, body: &[u8]) -> Self {
        match (dialect.takes)(status, body) {
            Some(true) => Self::Taken,
            Some(false) => Self::Refused,
            None => Self::None,
        }
    }
}

/// What is known, and when to check next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Plan {
    acceptance: Acceptance,
    due: Option<Instant>,
    pause: Duration,
    contradicted: Option<Instant>,
    lost: bool,
    /// The gateway answers, but its answers do not show what it believes.
    unproven: bool,
}

impl Plan {
    /// Checks at once.
    #[must_use]
    pub(crate) fn starting(now: Instant) -> Self {
        Self {
            acceptance: Acceptance::Unknown,
            due: Some(now),
            pause: SHORTEST,
            contradicted: None,
            lost: false,
            unproven: false,
        }
    }

    /// Never checks.
    #[must_use]
    pub(crate) fn never() -> Self {
        Self {
            acceptance: Acceptance::NotChecked,
            due: None,
            pause: SHORTEST,
            contradicted: None,
            lost: false,
            unproven: false,
        }
    }

    /// What is known. The last answer is valid until there is another one.
    #[must_use]
    pub(crate) fn acceptance(&self) -> Acceptance {
        self.acceptance
    }

    /// The gateway answers in a way that does not show what it believes.
    #[must_use]
    pub(crate) fn is_unproven(&self) -> bool {
        self.unproven
    }

    /// When to check next; `None` as long as nothing happens.
    #[must_use]
    pub(crate) fn due(&self) -> Option<Instant> {
        self.due
    }

    /// Records the outcome of a check. Returns `true` when that changes what is known.
    pub(crate) fn checked(&mut self, outcome: Outcome, now: Instant) -> bool {
        let before = (self.acceptance, self.unproven);
        let (acceptance, due) = match outcome {
            Outcome::NoAnswer => {
                self.due = Some(now + self.pause);
                self.pause = (self.pause * 2).min(LONGEST);
                return false;
            }
            Outcome::Accepted => (Acceptance::Accepted, None),
            Outcome::Refused => (Acceptance::Refused, Some(now + MINUTE)),
            Outcome::Unproven => (Acceptance::Unknown, Some(now + UNPROVEN)),
        };
        self.acceptance = acceptance;
        self.unproven = outcome == Outcome::Unproven;
        self.due = due;
        self.pause = SHORTEST;
        before != (self.acceptance, self.unproven)
    }

    /// The gateway answered 403 to a request. If that is unexpected, checks again, at most once a
    /// minute for this reason.
    pub(crate) fn contradicted(&mut self, now: Instant) {
        let believed = self.acceptance == Acceptance::Accepted && self.due.is_none();
        // A gateway that checks nothing answers no 403, so this one checks now.
        if !believed && !self.unproven {
            return;
        }
        let free = self.contradicted.map_or(now, |last| last + MINUTE);
        let next = free.max(now);
        if self.due.is_none_or(|due| next < due) {
            self.contradicted = Some(next);
            self.due = self.contradicted;
        }
    }

    /// The gateway could not be reached.
    pub(crate) fn lost(&mut self) {
        self.lost = true;
    }

    /// The gateway was reached. Checks at once when it had been gone: it may be another one now.
    pub(crate) fn reached(&mut self, now: Instant) {
        let was_lost = std::mem::take(&mut self.lost);
        if was_lost && self.acceptance != Acceptance::NotChecked {
            self.due = Some(self.due.map_or(now, |due| due.min(now)));
            self.pause = SHORTEST;
        }
    }
}
