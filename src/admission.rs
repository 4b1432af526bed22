//! Admission: what a request shows about its sender, and whether it may pass.
//!
//! Everything here is pure: bytes of a request head go in, facts come out. Nothing here forwards,
//! refuses or logs. Secrets are turned into fingerprints ([`credentials`]) or masked ([`mask`])
//! before they can reach a record; both share the test of what counts as a secret (`suspects`), so
//! that a value which one calls a credential is never shown by the other.

pub(crate) mod credentials;
pub(crate) mod forwarded;
pub mod head;
pub(crate) mod hop;
pub mod mask;
pub(crate) mod origin;
pub(crate) mod peer;
pub(crate) mod proxy_header;
mod suspects;
