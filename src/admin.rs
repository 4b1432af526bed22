//! Status of a running tap for its operator: read-only HTTP, on a separate listener.
//!
//! It is separate from the data path and never blocks it: it has its own tasks, few connections
//! with one request each, and no session waits for it. It shows only what records contain, so no
//! secrets; `guard` decides which requests are answered. `docs/admin.md` is the reference.

pub(crate) mod client;
mod exposition;
mod guard;
pub(crate) mod open;
pub(crate) mod ready;
mod reloads;
mod server;
mod service;

use std::net::SocketAddr;

pub(crate) use self::reloads::Reloads;
pub(crate) use self::server::serve;
pub(crate) use self::service::{AdminService, Now, NowReader, Parts};

/// A bound socket of the admin listener.
#[derive(Debug)]
pub struct Socket {
    /// Where it listens.
    pub addr: SocketAddr,
    /// The socket.
    pub listener: tokio::net::TcpListener,
}
