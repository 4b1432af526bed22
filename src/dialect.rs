//! What the application says inside the tunnel, read in passing.
//!
//! A dialect is pure and bounded: it is shown the first bytes of the data messages it asks for,
//! and tells facts. Broken input is a fact, never a failure, and nothing it does can touch the
//! bytes, which have been relayed before it sees them.

pub mod observer;
pub mod openclaw;
pub mod plain;
mod protocol;

use crate::session::credential::Fingerprinter;

pub use observer::Observer;
pub use protocol::{Dialect, Ending, Message};

/// Which dialect to read; the configuration's choice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Choice {
    /// The `OpenClaw` gateway protocol.
    OpenClaw,
    /// No application protocol is read.
    Plain,
}

/// A reader for a new session, which was asked for with this request target.
#[must_use]
pub fn reader(choice: Choice, fingerprinter: &Fingerprinter, target: &str) -> Box<dyn Dialect> {
    match choice {
        Choice::OpenClaw => Box::new(openclaw::OpenClaw::new(fingerprinter.clone(), target)),
        Choice::Plain => Box::new(plain::Plain),
    }
}
