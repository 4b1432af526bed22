//! What a dialect is shown of a session, and what it answers.

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
    /// How many bytes of the next data message in this direction it wants to see; 0 for none.
    fn wants(&self, direction: Direction, opcode: Opcode) -> usize;

    /// A data message, as much of it as was wanted.
    fn message(&mut self, direction: Direction, message: &Message<'_>, now: Instant);

    /// The application has accepted: the session is open.
    fn is_open(&self) -> bool;

    /// The same at the session's end, which may show more: that nothing had to be accepted.
    fn was_open(&self) -> bool {
        self.is_open()
    }

    /// The secrets that stood in messages; they must not get into the record by another way.
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

    /// Which process of the gateway let the client in, where it said so.
    fn process(&self) -> Option<PeerText> {
        None
    }

    /// What was learned, and the credentials that stood in messages.
    fn facts(&self, ending: &Ending<'_>) -> (DialectFacts, Vec<Credential>);
}

/// A data message, unmasked, put together from its fragments and inflated where it was compressed.
#[derive(Clone, Copy, Debug)]
pub struct Message<'a> {
    /// Text or binary.
    pub opcode: Opcode,
    /// It was compressed (RFC 7692) and could not be read: `bytes` say nothing.
    pub compressed: bool,
    /// The whole payload, or its front.
    pub bytes: &'a [u8],
    /// Whether `bytes` is all of it.
    pub whole: bool,
    /// It ends at or before this offset in its direction's bytes.
    pub end: u64,
}

/// A session's end, as a dialect needs to know it.
#[derive(Clone, Copy, Debug)]
pub struct Ending<'a> {
    /// The session's clock.
    pub anchor: &'a Anchor,
    /// When it ended.
    pub now: Instant,
    /// Every byte for the gateway before this offset was written to its connection.
    pub written_to_gateway: u64,
}
