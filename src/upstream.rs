//! The connection to the gateway: resolve, connect, TLS; and the pool for plain requests.
//!
//! Each WebSocket gets its own connection. Each dial resolves the name again, because a container
//! that restarts may come back with another address. If there are several addresses, the first that
//! answers is used; see `race`.

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
