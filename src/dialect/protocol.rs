//! The interface between a session and its dialect.

use std::time::Instant;

use crate::session::credential::Credential;
use crate::session::moment::Anchor;
use crate::session::party::Direction;
use crate::session::record::DialectFacts;
use crate::session::secrets::SeenSecrets;
use crate::session::text::PeerText;
use crate::ws::{CloseCode, Opcode};

/// A reader of one application protocol, for one session.
pub trait Dialect: Send {
    /// Number of bytes of the next data message in this direction that the dialect wants to see; 0
    /// for none.
    fn wants(&self, direction: Direction, opcode: Opcode) -> usize;

    /// Takes a data message, or as much of it as was wanted.
    fn message(&mut self, direction: Direction, message: &Message<'_>, now: Instant);

    /// Whether the application has accepted, so that the session is open.
    fn is_open(&self) -> bool;

    /// The same at the session's end, which may show more: for example that nothing had to be
    /// accepted.
    fn was_open(&self) -> bool {
        self.is_open()
    }

    /// Secrets in messages; they must not get into the record in any other way.
    fn seen(&self) -> Option<&SeenSecrets> {
        None
    }

    /// When the application announced a shutdown, and the number of milliseconds after which it
    /// expects to be back, if it said so.
    fn going_down(&self) -> Option<(Instant, Option<u64>)> {
        None
    }

    /// Whether a Close of the gateway says that it restarts or stops.
    fn announces(&self, _code: Option<CloseCode>, _reason: &[u8]) -> bool {
        false
    }

    /// The process of the gateway that let the client in, if the gateway named it.
    fn process(&self) -> Option<PeerText> {
        None
    }

    /// The facts, and the credentials in messages.
    fn facts(&self, ending: &Ending<'_>) -> (DialectFacts, Vec<Credential>);
}

/// A data message, unmasked, assembled from its fragments and inflated if it was compressed.
#[derive(Clone, Copy, Debug)]
pub struct Message<'a> {
    /// Text or binary.
    pub opcode: Opcode,
    /// Whether it was compressed (RFC 7692) and could not be read: `bytes` then mean nothing.
    pub compressed: bool,
    /// The whole payload, or its beginning.
    pub bytes: &'a [u8],
    /// Whether `bytes` is the whole payload.
    pub whole: bool,
    /// It ends at or before this offset in its direction's bytes.
    pub end: u64,
}

/// The end of a session, as far as a dialect needs it.
#[derive(Clone, Copy, Debug)]
pub struct Ending<'a> {
    /// The session's clock.
    pub anchor: &'a Anchor,
    /// When the session ended.
    pub now: Instant,
    /// Every byte for the gateway before this offset was written to its connection.
    pub written_to_gateway: u64,
}
