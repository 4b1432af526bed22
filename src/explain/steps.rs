//! A record, step by step: what happened on which leg, and when.
//!
//! Pure. A step whose time is not in the record comes after the step that caused it.

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

/// All steps, in order of time.
#[must_use]
pub(crate) fn steps(record: &SessionRecord) -> Vec<Step> {
    let mut steps = Steps {
        record,
        found: Vec::new(),
    };
    opening::add_steps(&mut steps);
    passthrough::add_steps(&mut steps);
    tunnel::add_steps(&mut steps);
    ending::add_steps(&mut steps);
    steps.in_order()
}
