//! wstap: a WebSocket-aware diagnostic reverse proxy.

pub mod admission;
pub mod config;
pub mod fingerprint;
pub mod session;
pub mod transport;
