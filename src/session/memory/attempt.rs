//! Outcome of one attempt to open a session.

use crate::session::moment::Moment;
use crate::session::party::Phase;
use crate::session::record::{GatewayFacts, SessionRecord, TimerKey};

/// Outcome of an attempt, as far as needed here; times in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Attempt {
    /// The client cancelled it after this long, and nothing else had ended it.
    Cancelled(u32),
    /// When an answer came, with any status, and how long it took.
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
                // Without a tunnel, the session is over with its answer.
                let at = record.began(Phase::Handshake).unwrap_or(record.closed_at);
                Self::Answered(at, answered_after_ms(gateway))
            }
            None if by_client && record.answer.is_none() && gateway.error.is_none() => {
                // Measured from the dial, as answers are.
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
pub(crate) fn answered_after_ms(gateway: &GatewayFacts) -> u32 {
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
