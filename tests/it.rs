//! The integration tests: the real binary between peers that behave and peers that do not.
//!
//! `support` drives the tap and plays clients, `peers` plays gateways (one fault a file), `live`
//! has the real gateway and its real command line tool. Everything has a deadline, listens on
//! port 0 and is stopped by the id of its own process.
#![allow(
    unreachable_pub,
    reason = "one binary: `pub` says what a module offers to its siblings"
)]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a step that fails is a test that fails"
)]
#![allow(
    clippy::print_stderr,
    reason = "seeds and skipped tests must be visible"
)]

mod peers;
mod support;

mod accounts;
mod addresses;
mod admin;
mod attach;
mod attacks;
mod backpressure;
mod canary;
mod caps;
mod comparison;
mod confusion;
mod credentials;
mod crowds;
mod decided;
mod deploy;
mod documents;
mod drain;
mod endings;
mod explain;
mod forwarded;
mod half_close;
mod heads;
mod hops;
mod http;
mod http2;
mod input;
mod interim;
mod kept;
mod kinds;
mod layers;
mod limits;
mod live;
mod loops;
mod losses;
mod map;
mod mutations;
mod origins;
mod our_limits;
mod probe;
mod program;
mod proxy_protocol;
mod quoted;
mod records_file;
mod relay;
mod reload;
mod repeats;
mod requests;
mod selftest;
mod smuggling;
mod sockets;
mod terminal;
mod timers;
mod tls;
mod together;
mod traced;
mod upgrade;
mod vanished;
mod workers;
