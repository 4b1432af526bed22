//! Status of a running tap for its operator: read-only HTTP, on a listener of its own.
//!
//! It is separate from the data path and never blocks it: its own tasks, few connections, one
//! request each, and nothing here that a session waits for. It shows only what records contain, so
//! no secrets; `guard` decides who may ask. `docs/admin.md` is the reference.

pub mod client;
mod exposition;
mod guard;
pub mod open;
pub mod ready;
mod reloads;
mod server;
mod service;

use std::net::SocketAddr;

pub use self::reloads::Reloads;
pub use self::server::serve;
pub use self::service::{AdminService, Now, NowReader, Parts};

/// A bound socket of the admin listener.
#[derive(Debug)]
pub struct Socket {
    /// Where it listens.
    pub addr: SocketAddr,
    /// The socket.
    pub listener: tokio::net::TcpListener,
}
