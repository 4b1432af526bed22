//! The way to the gateway: resolve, connect, TLS; and the pool for plain requests.
//!
//! A WebSocket gets a connection of its own. Each dial resolves the name anew, because a
//! container that restarts may come back under another address. Of several addresses the first
//! that answers counts, see `race`.

pub mod dial;
pub mod dial_health;
pub mod errno;
pub mod pinned;
pub mod pool;
mod race;
mod resolver;
pub mod tls;

pub use dial::{DialFailed, Dialler};
pub use dial_health::{DialHealth, Reached};
pub use pool::Pool;
