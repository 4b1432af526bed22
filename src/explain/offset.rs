//! Time since a session began.

use crate::session::SessionRecord;
use crate::session::moment::Moment;

/// Milliseconds from the session's start to a moment.
pub(super) fn offset_ms(record: &SessionRecord, at: Moment) -> f64 {
    between_ms(record.opened_at, at)
}

/// Milliseconds from one moment to another.
#[expect(
    clippy::cast_precision_loss,
    reason = "2^53 microseconds are 285 years"
)]
pub(super) fn between_ms(from: Moment, to: Moment) -> f64 {
    let micros = |moment: Moment| moment.0.as_microsecond();
    micros(to).saturating_sub(micros(from)) as f64 / 1000.0
}
