//! Sockets and TLS: what stands between the network and the parts of the tap that read HTTP and
//! WebSocket. Nothing here looks at requests.

pub mod dev_ca;
