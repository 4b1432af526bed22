//! What a running tap tells whoever runs it: HTTP, read-only, on a listener of its own.
//!
//! It stands beside the data path and never in its way: tasks of its own, few connections, one
//! request each, and nothing here that a session waits for. What it may tell is what stands in
//! records, so no secrets; who may ask is decided in `guard`. `docs/admin.md` is the reference.

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

/// Something bound for the admin listener.
#[derive(Debug)]
pub struct Socket {
    /// Where it listens.
    pub addr: SocketAddr,
    /// The socket.
    pub listener: tokio::net::TcpListener,
}
