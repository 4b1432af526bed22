//! Sockets and TLS: how bytes come in and go out, and how a connection really ended.
//!
//! Nothing here knows about requests or WebSocket. Errors are kept as evidence: a reset, an end
//! without `close_notify` and a timeout stay different things (see [`cause`]).

pub(crate) mod activation;
pub(crate) mod cause;
pub(crate) mod clock;
pub mod dev_ca;
pub(crate) mod holder;
pub(crate) mod http2_stream;
pub(crate) mod http2_watch;
pub(crate) mod impossible;
pub(crate) mod listener;
pub(crate) mod listening;
pub(crate) mod notify;
pub(crate) mod open_files;
pub(crate) mod options;
pub(crate) mod own_address;
pub mod redirected;
pub(crate) mod sensed;
pub(crate) mod sensor;
pub(crate) mod socket;
pub(crate) mod stream;
pub(crate) mod tcp_info;
pub(crate) mod tls;
pub(crate) mod unix;
pub(crate) mod wire;
