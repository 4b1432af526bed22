//! Who may pass: what a request shows about its sender.
//!
//! Everything here is pure: bytes of a request head go in, facts come out. Nothing here forwards,
//! refuses or logs. What must not be stored is turned into fingerprints ([`credentials`]) or masked
//! ([`mask`]) before it can reach a record; the test of what counts as a secret is shared by both
//! (`suspects`), so that what one calls a credential the other never shows.

pub(crate) mod credentials;
pub(crate) mod forwarded;
pub mod head;
pub(crate) mod hop;
pub mod mask;
pub(crate) mod origin;
pub(crate) mod peer;
pub(crate) mod proxy_header;
mod suspects;
