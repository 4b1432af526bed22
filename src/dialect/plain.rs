//! No application protocol: the tunnel is open as soon as it exists, and no message is read.

use std::time::Instant;

use super::protocol::{Dialect, Ending, Message};
use crate::session::credential::Credential;
use crate::session::party::Direction;
use crate::session::record::DialectFacts;
use crate::ws::Opcode;

/// Reads nothing.
#[derive(Clone, Copy, Debug)]
pub struct Plain;

impl Dialect for Plain {
    fn wants(&self, _: Direction, _: Opcode) -> usize {
        0
    }

    fn message(&mut self, _: Direction, _: &Message<'_>, _: Instant) {}

    fn is_open(&self) -> bool {
        true
    }

    fn facts(&self, _: &Ending<'_>) -> (DialectFacts, Vec<Credential>) {
        (
            DialectFacts {
                name: "plain".to_owned(),
                ..DialectFacts::default()
            },
            Vec::new(),
        )
    }
}
