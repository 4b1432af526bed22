//! What tests and peers are made of: wires, frames, heads, certificates, and the tap itself.

pub mod browser;
pub mod certs;
pub mod client;
pub mod conn;
pub mod containers;
pub mod deadline;
pub mod deflate;
pub mod device;
pub mod dice;
pub mod frame;
pub mod head;
pub mod http2;
pub mod log;
pub mod netns;
pub mod nginx;
pub mod packages;
pub mod program;
pub mod records;
pub mod reload;
pub mod secret;
pub mod skip;
pub mod tap;
pub mod verifier;
pub mod versions;
pub mod wire;
