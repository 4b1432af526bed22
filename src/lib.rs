//! wstap: a WebSocket-aware diagnostic reverse proxy.
//!
//! `ARCHITECTURE.md` has the picture. Imports point downward only, in this order: `app`, commands,
//! `proxy` / `admin`, `transport` / `upstream` / `sink`, `config`, `admission`, `verdict`, `dialect`,
//! `session`, `ws`. Everything from `admission` down is pure.

pub mod admin;
pub mod admission;
pub mod app;
#[cfg_attr(not(target_os = "linux"), path = "attach/elsewhere.rs")]
pub mod attach;
pub mod check;
pub mod cli;
pub mod config;
pub mod crypto;
pub mod demo;
pub mod dialect;
pub mod exit;
pub mod explain;
pub mod fingerprint;
pub mod health;
#[cfg(target_os = "linux")]
pub mod map;
pub mod place;
#[cfg(target_os = "linux")]
pub mod probe;
pub mod proxy;
pub mod serve;
pub mod session;
pub mod sessions;
pub mod sink;
pub mod terminal;
pub mod transport;
pub mod upstream;
pub mod verdict;
pub mod version;
pub mod ws;
