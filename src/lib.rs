//! wstap: a WebSocket-aware diagnostic reverse proxy.
//!
//! `ARCHITECTURE.md` has the picture. Imports point downward only, in this order: `app`, commands,
//! `proxy` / `admin`, `transport` / `upstream` / `sink`, `config`, `admission`, `verdict`, `dialect`,
//! `session`, `ws`. Everything from `admission` down is pure.
//!
//! Only items that the tests and benches use are public, so that the compiler finds unused ones.

mod admin;
pub mod admission;
pub mod app;
#[cfg_attr(not(target_os = "linux"), path = "attach/elsewhere.rs")]
mod attach;
mod check;
pub mod cli;
pub mod config;
mod crypto;
mod demo;
pub mod dialect;
mod exit;
mod explain;
mod fingerprint;
mod health;
#[cfg(target_os = "linux")]
mod map;
mod place;
#[cfg(target_os = "linux")]
mod probe;
pub mod proxy;
pub mod serve;
pub mod session;
mod sessions;
pub mod sink;
mod terminal;
pub mod transport;
mod upstream;
pub mod verdict;
mod version;
pub mod ws;
