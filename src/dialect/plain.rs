//! No application protocol: the tunnel is open as soon as it exists, and no message is read.

use std::time::Instant;

use super::{Dialect, Message};
use crate::session::credential::Credential;
use crate::session::moment::Anchor;
use crate::session::party::Direction;
use crate::session::record::DialectFacts;

/// Reads nothing.
#[derive(Clone, Copy, Debug)]
pub struct Plain;

impl Dialect for Plain {
    fn wants(&self, _: Direction) -> usize {
        0
    }

    fn message(&mut self, _: Direction, _: &Message<'_>, _: Instant) {}

    fn is_open(&self) -> bool {
        true
    }

    fn facts(&self, _: &Anchor) -> (DialectFacts, Vec<Credential>) {
        (
            DialectFacts {
                name: "plain".to_owned(),
                ..DialectFacts::default()
            },
            Vec::new(),
        )
    }
}
