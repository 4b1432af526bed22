//! Sockets and TLS: how bytes come in and go out, and how a connection really ended.
//!
//! Nothing here knows of requests or WebSocket. Errors are kept as evidence: a reset, an end without
//! `close_notify` and a timeout stay different things (see [`cause`]).

pub mod activation;
pub mod cause;
pub mod clock;
pub mod dev_ca;
pub mod holder;
pub mod http2_stream;
pub mod http2_watch;
pub mod impossible;
pub mod listener;
pub mod listening;
pub mod notify;
pub mod open_files;
pub mod options;
pub mod own_address;
pub mod redirected;
pub mod sensed;
pub mod sensor;
pub mod socket;
pub mod stream;
pub mod tcp_info;
pub mod tls;
pub mod unix;
pub mod wire;
