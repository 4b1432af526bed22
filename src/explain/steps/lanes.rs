//! `client`, `tap` and `gateway` as lines on the terminal.

use super::step::{Event, Step, StepEnd};

/// The heading above the lanes.
pub(in crate::explain) const LANES: &str = "client tap    gateway";

/// `client`, `tap` and `gateway` as lines, and the step as an arrow between them.
pub(in crate::explain) fn lane(step: &Step) -> &'static str {
    use StepEnd::{Client, Gateway, Tap};
    let ended = step.event == Event::LegEnded;
    match (step.from, step.to, step.delivered) {
        (Client, Tap, _) if ended => "✕─────▶│      │",
        (Tap, Client, _) if ended => "│◀─────✕      │",
        (Gateway, Tap, _) if ended => "│      │◀─────✕",
        (Tap, Gateway, _) if ended => "│      ✕─────▶│",
        (Client, Tap, _) => "│─────▶│      │",
        (Client, Gateway, true) => "│─────▶│─────▶│",
        (Client, Gateway, false) => "│─────▶│──✕   │",
        (Tap, Gateway, true) => "│      │─────▶│",
        (Tap, Gateway, false) => "│      │──✕   │",
        (Gateway, Tap, _) => "│      │◀─────│",
        (Gateway, Client, true) => "│◀─────│◀─────│",
        (Gateway, Client, false) => "│   ✕──│◀─────│",
        (Tap, Client, true) => "│◀─────│      │",
        (Tap, Client, false) => "│   ✕──│      │",
        (Client, Client, _) => "●      │      │",
        (Tap, Tap, _) => "│      ●      │",
        (Gateway, Gateway, _) => "│      │      ●",
    }
}
