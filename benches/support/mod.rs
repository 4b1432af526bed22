//! Code that the benches share: WebSocket frames, clients, the stand-in gateway, programs as
//! processes, and the arithmetic of figures. A bench includes it with `#[path =
//! "../support/mod.rs"] mod support;` and calls [`play::play_if_asked`] first of all, because the
//! gateway and the launcher of other programs are this same executable, started again.
//!
//! A bench that fails ends with an error that says what failed and where; the processes that it
//! started end with it.
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

/// An error as text for the reader of the table.
pub type Failure = Box<dyn Error + Send + Sync>;
/// The result of a step of a bench.
pub type Fallible<T> = Result<T, Failure>;
