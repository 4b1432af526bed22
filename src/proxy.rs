//! Drives a session through its phases: accept, TLS, request, admission, dial, upgrade, tunnel.
//!
//! Four modules: a client's connection, a request, a tunnel, and the running tap that all of them
//! share. All of them report facts to the session's record; nothing here judges.

pub(crate) mod connection;
pub(crate) mod request;
pub(crate) mod tap;
mod tunnel;

pub use tap::Tap;
pub use tap::current::Current;
