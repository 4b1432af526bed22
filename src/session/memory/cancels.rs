//! Attempts that their client cancelled before the gateway answered, and how long other clients
//! waited.
//!
//! One cancelled attempt proves nothing. A client that cancels again and again has a timeout that
//! is shorter than the gateway needs to answer, or a gateway that does not answer.

use std::collections::VecDeque;

use super::{Answer, Remembered};
use crate::session::moment::Moment;
use crate::session::party::Phase;
use crate::session::record::context::{Cancels, Span};
use crate::session::record::{GatewayFacts, SessionRecord, TimerKey};

/// How long attempts are remembered, in milliseconds.
const WINDOW_MS: i64 = 5 * 60 * 1000;

/// Outcome of an attempt, as far as it matters here; times in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Attempt {
    /// The client cancelled it after this long, and nothing else had ended it.
    Cancelled(u32),
    /// An answer came then, of whatever status, after so long.
    Answered(Moment, u32),
    Other,
}

impl Attempt {
    pub(super) fn of(record: &SessionRecord) -> Self {
        let Some(gateway) = &record.gateway else {
            return Self::Other;
        };
        let close = &record.close;
        // Before an answer, `half_close` runs only after the client has ended its sending side: the client left.
        let timer = close.timer.map(|timer| timer.key);
        let by_client = close.transport.client.is_by_peer()
            && matches!(timer, None | Some(TimerKey::HalfClose));
        match gateway.status {
            Some(_) => {
                // What is no tunnel is over with its answer.
                let at = record.began(Phase::Handshake).unwrap_or(record.closed_at);
                Self::Answered(at, answered_after_ms(gateway))
            }
            None if by_client && record.answer.is_none() && gateway.error.is_none() => {
                // Measured as answers are: from the dial.
                let asked = record.began(Phase::Dial).unwrap_or(record.opened_at);
                let left = (close.transport.client_at.filter(|_| timer.is_some()))
                    .unwrap_or(record.closed_at);
                Self::Cancelled(u32::try_from(left.millis_since(asked)).unwrap_or_default())
            }
            _ => Self::Other,
        }
    }
}

/// How long an attempt waited for its answer.
#[must_use]
pub fn answered_after_ms(gateway: &GatewayFacts) -> u32 {
    let dns = gateway.dns.as_ref().map_or(0.0, |dns| dns.ms);
    let [connect, upgrade] =
        [gateway.connect_ms, gateway.upgrade_ms].map(Option::unwrap_or_default);
    whole(dns + connect + upgrade)
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "rounded, and saturating"
)]
fn whole(ms: f64) -> u32 {
    ms.round() as u32
}

/// What the attempts of the last minutes say about one that was cancelled.
pub(super) fn around(
    this: &Remembered,
    all: &VecDeque<Remembered>,
    living: &[Answer],
) -> Option<Cancels> {
    let Attempt::Cancelled(own) = this.attempt else {
        return None;
    };
    let client = this.client?;
    let mut cancels = Cancels {
        count: 1,
        waited_ms: Span { min: own, max: own },
        ..Cancels::default()
    };
    let near = |at: Moment| (0..=WINDOW_MS).contains(&this.closed_at.millis_since(at));
    for other in all {
        if other.id == this.id || other.gateway != this.gateway {
            continue;
        }
        let same = other.client == Some(client);
        match other.attempt {
            Attempt::Cancelled(ms) if same && near(other.closed_at) => {
                cancels.count = cancels.count.saturating_add(1);
                cancels.waited_ms.add(ms);
            }
            Attempt::Answered(at, ms) if near(at) => answered(&mut cancels, same, ms),
            Attempt::Cancelled(_) | Attempt::Answered(..) | Attempt::Other => {}
        }
    }
    for other in living {
        let same = other.same_client;
        // An address that has a tunnel is answered, or that of several clients.
        if near(other.at) || same && other.is_tunnel {
            answered(&mut cancels, same, other.waited_ms);
        }
    }
    Some(cancels)
}

fn answered(cancels: &mut Cancels, same: bool, ms: u32) {
    if same {
        cancels.answered = cancels.answered.saturating_add(1);
        return;
    }
    cancels.others = cancels.others.saturating_add(1);
    let span = cancels.others_ms.get_or_insert(Span { min: ms, max: ms });
    span.add(ms);
}
