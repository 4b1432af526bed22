//! What the benches share: WebSocket frames, clients, the stand-in gateway, programs as processes, and
//! the arithmetic of figures. A bench takes it in with `#[path = "../support/mod.rs"] mod support;`
//! and calls [`play::play_if_asked`] first of all, because the gateway and the launcher of other
//! programs are this same executable, started again.
//!
//! A bench that fails ends with an error that says what and where; what it started ends with it.
#![allow(
    dead_code,
    unreachable_pub,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "no bench uses all of it; a mistake in here ends a bench, not a proxy"
)]

use std::error::Error;

pub mod certs;
pub mod client;
pub mod clock;
pub mod crowd;
pub mod frames;
pub mod gateway;
pub mod head;
pub mod limits;
pub mod numbers;
pub mod order;
pub mod play;
pub mod process;
pub mod role;
pub mod slow;
pub mod talk;
pub mod tap;

/// What went wrong, in words for whoever reads the table.
pub type Failure = Box<dyn Error + Send + Sync>;
/// What every step of a bench gives.
pub type Fallible<T> = Result<T, Failure>;
