//! wstap: a WebSocket-aware diagnostic reverse proxy.

pub mod admission;
pub mod check;
pub mod config;
pub mod dialect;
pub mod session;
pub mod transport;
pub mod ws;
