//! Attempts that their client cancelled before the gateway answered, and how long other clients
//! waited.
//!
//! One cancelled attempt proves nothing. A client that cancels again and again has a timeout that
//! is shorter than the gateway needs to answer, or a gateway that does not answer.

use std::collections::VecDeque;

use super::Remembered;
use crate::session::record::SessionRecord;
use crate::session::record::context::{Cancels, Span};

/// How long attempts are remembered, in milliseconds.
const WINDOW_MS: i64 = 5 * 60 * 1000;

/// Outcome of an attempt, as far as it matters here; times in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Attempt {
    /// The client cancelled it after this long, and nothing else had ended it.
    Cancelled(u32),
    /// A 101 came after this long.
    Answered(u32),
    Other,
}

impl Attempt {
    pub(super) fn of(record: &SessionRecord) -> Self {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "rounded, and saturating"
        )]
        let whole = |ms: f64| ms.round() as u32;
        let Some(gateway) = &record.gateway else {
            return Self::Other;
        };
        let took = || {
            let dns = gateway.dns.as_ref().map_or(0.0, |dns| dns.ms);
            dns + gateway.connect_ms.unwrap_or_default() + gateway.upgrade_ms.unwrap_or_default()
        };
        let close = &record.close;
        let by_client = close.transport.client.is_by_peer() && close.timer.is_none();
        match gateway.status {
            Some(101) => Self::Answered(whole(took())),
            None if by_client && record.answer.is_none() && gateway.error.is_none() => {
                Self::Cancelled(whole(record.duration_ms))
            }
            _ => Self::Other,
        }
    }
}

/// Summary of recent attempts, for one that was cancelled.
pub(super) fn around(this: &Remembered, all: &VecDeque<Remembered>) -> Option<Cancels> {
    let Attempt::Cancelled(own) = this.attempt else {
        return None;
    };
    let client = this.client?;
    let mut cancels = Cancels {
        count: 1,
        waited_ms: Span { min: own, max: own },
        ..Cancels::default()
    };
    for other in all {
        let ago = this.closed_at.millis_since(other.closed_at);
        let near = (0..=WINDOW_MS).contains(&ago);
        if other.id == this.id || other.gateway != this.gateway || !near {
            continue;
        }
        let same = other.client == Some(client);
        match other.attempt {
            Attempt::Cancelled(ms) if same => {
                cancels.count = cancels.count.saturating_add(1);
                cancels.waited_ms.add(ms);
            }
            Attempt::Answered(_) if same => cancels.answered = cancels.answered.saturating_add(1),
            Attempt::Answered(ms) => {
                cancels.others = cancels.others.saturating_add(1);
                let span = cancels.others_ms.get_or_insert(Span { min: ms, max: ms });
                span.add(ms);
            }
            Attempt::Cancelled(_) | Attempt::Other => {}
        }
    }
    Some(cancels)
}
