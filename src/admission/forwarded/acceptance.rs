//! When to ask the gateway whether it believes what we write.
//!
//! A request with the address of a documentation network (RFC 5737) goes to a path that is not
//! exempt from attribution. The plan of when to send it is here, without clock and sockets: from
//! the start until the first answer with growing pauses, once a minute while the gateway refuses,
//! and again when something contradicts what we know or the gateway was gone for a while.

use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, Instant};

use crate::session::record::gateway::Acceptance;

/// The client that a check names: TEST-NET-3, which nobody has.
pub const CHECK_CLIENT: IpAddr = IpAddr::V4(Ipv4Addr::new(203, 0, 113, 1));

/// The first pause after a check without an answer.
const SHORTEST: Duration = Duration::from_millis(250);
/// The longest one.
const LONGEST: Duration = Duration::from_secs(5);
/// Between two checks for the same reason.
const MINUTE: Duration = Duration::from_mins(1);

/// What a check showed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The gateway took the request for that of the client that it names.
    Accepted,
    /// 403 `proxy_attribution_required`.
    Refused,
    /// Neither: it is starting, unreachable, or something else answers.
    NoAnswer,
}

impl Outcome {
    /// What an answer to a check means; `body` may be only its front. What is not surely the
    /// gateway's own is no answer: the gateway may be starting behind another proxy.
    #[must_use]
    pub fn of(status: u16, body: &[u8]) -> Self {
        let has = |needle: &str| {
            body.windows(needle.len())
                .any(|window| window == needle.as_bytes())
        };
        match status {
            403 if has("\"proxy_attribution_required\"") => Self::Refused,
            // A gateway without this path answers with the page of its Control UI.
            200 if has("\"ready\":true") || has("data-openclaw-control-ui") => Self::Accepted,
            _ => Self::NoAnswer,
        }
    }
}

/// Whether an answer to a request without attribution headers shows that the gateway takes us for
/// local: only then it tells details (seen with 2026.9.6). Something between us, such as a port
/// forwarding, may end at its loopback address, whatever our own address is.
#[must_use]
pub fn takes_us_for_local(status: u16, body: &[u8]) -> bool {
    let needle = b"\"failing\"";
    status == 200 && body.windows(needle.len()).any(|window| window == needle)
}

/// What is known, and when to ask next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plan {
    acceptance: Acceptance,
    due: Option<Instant>,
    pause: Duration,
    contradicted: Option<Instant>,
    lost: bool,
}

impl Plan {
    /// Asks at once.
    #[must_use]
    pub fn starting(now: Instant) -> Self {
        Self {
            acceptance: Acceptance::Unknown,
            due: Some(now),
            pause: SHORTEST,
            contradicted: None,
            lost: false,
        }
    }

    /// Never asks.
    #[must_use]
    pub fn never() -> Self {
        Self {
            acceptance: Acceptance::NotChecked,
            due: None,
            pause: SHORTEST,
            contradicted: None,
            lost: false,
        }
    }

    /// What is known. The last answer stands until there is another one.
    #[must_use]
    pub fn acceptance(&self) -> Acceptance {
        self.acceptance
    }

    /// When to ask next; `None` as long as nothing happens.
    #[must_use]
    pub fn due(&self) -> Option<Instant> {
        self.due
    }

    /// A check is over. `true` when that changes what is known.
    pub fn checked(&mut self, outcome: Outcome, now: Instant) -> bool {
        let before = self.acceptance;
        match outcome {
            Outcome::NoAnswer => {
                self.due = Some(now + self.pause);
                self.pause = (self.pause * 2).min(LONGEST);
                return false;
            }
            Outcome::Accepted => {
                self.acceptance = Acceptance::Accepted;
                self.due = None;
            }
            Outcome::Refused => {
                self.acceptance = Acceptance::Refused;
                self.due = Some(now + MINUTE);
            }
        }
        self.pause = SHORTEST;
        before != self.acceptance
    }

    /// The gateway answered 403 to a request. Asks again, at most once a minute for this reason,
    /// when that is not what we expect.
    pub fn contradicted(&mut self, now: Instant) {
        if self.acceptance != Acceptance::Accepted || self.due.is_some() {
            return;
        }
        let free = self.contradicted.map_or(now, |last| last + MINUTE);
        self.contradicted = Some(free.max(now));
        self.due = self.contradicted;
    }

    /// The gateway could not be reached.
    pub fn lost(&mut self) {
        self.lost = true;
    }

    /// The gateway was reached. Asks at once when it had been gone: it may be another one now.
    pub fn reached(&mut self, now: Instant) {
        let was_lost = std::mem::take(&mut self.lost);
        if was_lost && self.acceptance != Acceptance::NotChecked {
            self.due = Some(self.due.map_or(now, |due| due.min(now)));
            self.pause = SHORTEST;
        }
    }
}
