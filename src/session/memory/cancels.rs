//! Attempts that their client cancelled before the gateway answered, and how long other clients
//! waited.
//!
//! One cancelled attempt proves nothing. A client that cancels again and again has a timeout that
//! is shorter than the gateway needs to answer, or a gateway that does not answer.

use std::collections::VecDeque;

use super::attempt::Attempt;
use super::living::Answer;
use super::remembered::Remembered;
use crate::session::moment::Moment;
use crate::session::record::context::{Cancels, Span};

/// How long attempts are remembered, in milliseconds.
const WINDOW_MS: i64 = 5 * 60 * 1000;

/// What the attempts of the last minutes show about a cancelled one.
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
        // An address that has a tunnel gets answers, or several clients share it.
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
