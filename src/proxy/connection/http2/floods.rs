//! Decides when a client's stream resets are an attack (CVE-2023-44487, "rapid reset").

use crate::session::record::client::Http2Facts;

/// Number of resets that is always allowed: a browser that leaves a page cancels everything that
/// the page was loading.
const ALWAYS: u64 = 100;

/// The number of requests on a connection, and how many of them were reset.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pressure {
    requests: u64,
    cancelled: u64,
}

impl Pressure {
    pub(super) fn of(facts: &Http2Facts) -> Self {
        Self {
            requests: facts.requests,
            cancelled: facts.cancelled,
        }
    }

    /// Whether more than a hundred requests, and more than half of all, were reset.
    pub(super) fn is_flood(self) -> bool {
        self.cancelled > ALWAYS && self.cancelled > self.requests / 2
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_that_is_left_is_no_flood() {
        let flood = |cancelled, requests| {
            Pressure {
                requests,
                cancelled,
            }
            .is_flood()
        };
        assert!(!flood(100, 100));
        assert!(flood(101, 101));
        assert!(!flood(101, 400));
        assert!(flood(201, 400));
    }
}
