//! Dialects: the application protocol inside the tunnel, read in passing, and facts about the
//! application itself.
//!
//! A dialect is pure and bounded: it gets the first bytes of the data messages that it asks for,
//! and reports facts. Broken input is a fact, never a failure, and a dialect cannot affect the
//! bytes, which have been relayed before it sees them.

#[cfg(test)]
pub(crate) mod lantern;
pub mod observer;
pub(crate) mod openclaw;
pub(crate) mod plain;
pub(crate) mod profile;
mod protocol;

use crate::session::credential::Fingerprinter;
use crate::session::record::BodyKind;

pub use observer::Observer;
pub use profile::Profile;
pub use protocol::{Dialect, Ending, Message};

/// The dialect to read, as configured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Choice {
    /// The `OpenClaw` gateway protocol.
    OpenClaw,
    /// No application protocol is read.
    Plain,
    /// A dialect that only tests have.
    #[cfg(test)]
    Lantern,
}

/// Every dialect.
const ALL: &[Choice] = &[
    Choice::OpenClaw,
    Choice::Plain,
    #[cfg(test)]
    Choice::Lantern,
];

impl Choice {
    /// The dialect's profile.
    #[must_use]
    pub fn profile(self) -> &'static Profile {
        match self {
            Self::OpenClaw => &openclaw::PROFILE,
            Self::Plain => &plain::PROFILE,
            #[cfg(test)]
            Self::Lantern => &lantern::PROFILE,
        }
    }
}

/// Every dialect's profile.
pub fn profiles() -> impl Iterator<Item = &'static Profile> {
    ALL.iter().map(|choice| choice.profile())
}

/// The profile of the dialect with this name. A dialect that this version does not know gets the
/// profile of `plain`.
#[must_use]
pub fn named(name: &str) -> &'static Profile {
    profiles()
        .find(|profile| profile.name == name)
        .unwrap_or(&plain::PROFILE)
}

/// A reader for a new session with this request target.
#[must_use]
pub fn reader(choice: Choice, fingerprinter: &Fingerprinter, target: &str) -> Box<dyn Dialect> {
    (choice.profile().reader)(fingerprinter, target)
}

/// The kind of an answer, judged by the beginning of its body, if a gateway of any dialect
/// certainly made it: an answer identifies its gateway even if the configuration names another
/// dialect.
#[must_use]
pub fn body(front: &[u8], content_type: &str) -> Option<BodyKind> {
    profiles().find_map(|profile| (profile.body)(front, content_type))
}
