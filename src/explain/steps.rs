//! A record, step by step: what happened on which leg, and when.
//!
//! Pure. Steps whose time a record does not hold stand behind the step that they follow from.

mod ending;
mod lanes;
mod openclaw;
mod opening;
mod passthrough;
mod step;
mod tunnel;

pub(crate) use step::Step;

pub(super) use lanes::{LANES, lane};
pub(super) use opening::credential_words;

use self::step::Steps;
use crate::session::SessionRecord;

/// Everything that happened, in order of time.
#[must_use]
pub(crate) fn steps(record: &SessionRecord) -> Vec<Step> {
    let mut steps = Steps {
        record,
        found: Vec::new(),
    };
    opening::tell(&mut steps);
    passthrough::tell(&mut steps);
    tunnel::tell(&mut steps);
    ending::tell(&mut steps);
    steps.in_order()
}
