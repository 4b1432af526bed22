//! wstap: a WebSocket-aware diagnostic reverse proxy.

pub mod admission;
pub mod config;
pub mod transport;
pub mod ws;
