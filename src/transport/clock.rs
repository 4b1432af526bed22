//! The only place that reads both clocks together.

use std::time::Instant;

use jiff::Timestamp;

use crate::session::moment::Anchor;

/// An anchor for the current time.
#[must_use]
pub(crate) fn anchor() -> Anchor {
    Anchor::new(Timestamp::now(), Instant::now())
}
