//! The way to the gateway: resolve, connect, TLS; and the pool for plain requests.
//!
//! A WebSocket gets a connection of its own. Each dial resolves the name anew, because a
//! container that restarts may come back under another address. Of several addresses the first
//! that answers counts, see `race`.

pub(crate) mod dial;
pub(crate) mod dial_health;
pub(crate) mod errno;
pub(crate) mod pinned;
pub(crate) mod pool;
mod race;
mod resolver;
pub(crate) mod tls;

pub(crate) use dial::{DialFailed, Dialler};
pub(crate) use dial_health::Reached;
pub(crate) use pool::Pool;
