//! No application protocol: the tunnel is open as soon as it exists, and no message is read.

use std::time::Instant;

use super::profile::{Profile, profile};
use super::protocol::{Dialect, Ending, Message};
use crate::session::credential::Credential;
use crate::session::party::Direction;
use crate::session::record::DialectFacts;
use crate::session::record::dialect::PlainFacts;
use crate::session::record::dialect::openclaw::announces;
use crate::ws::{CloseCode, Opcode};

/// See [`Profile`].
pub(crate) static PROFILE: Profile = profile("plain", |_, _| Box::new(Plain));

/// Reads nothing.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plain;

impl Dialect for Plain {
    fn wants(&self, _: Direction, _: Opcode) -> usize {
        0
    }

    fn message(&mut self, _: Direction, _: &Message<'_>, _: Instant) {}

    fn is_open(&self) -> bool {
        true
    }

    /// Gateways whose messages are not read are often `OpenClaw` gateways.
    fn announces(&self, code: Option<CloseCode>, reason: &[u8]) -> bool {
        announces(code, reason)
    }

    fn facts(&self, _: &Ending<'_>) -> (DialectFacts, Vec<Credential>) {
        (DialectFacts::Plain(PlainFacts), Vec::new())
    }
}
