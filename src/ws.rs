//! The WebSocket vocabulary: opcodes, frame headers, close codes, extensions and the scanner.
//!
//! Everything here is pure: bytes in, facts out. Nothing awaits, logs, fails, or allocates by a
//! length that a peer claims: a breach of the protocol is a [`Violation`], which is reported while
//! scanning goes on. It serves RFC 6455 section 5 (framing), section 7.4 (status codes) and section
//! 9 (extensions), and RFC 7692 (the RSV1 bit, bounded inflating).
//!
//! It does not reassemble or unmask messages; [`crate::dialect`] does, for the parts that are read.

pub(crate) mod close;
pub mod extensions;
pub mod frame;
pub mod handshake;
pub mod inflate;
pub mod masking;
pub(crate) mod opcode;
pub(crate) mod scanner;
mod utf8;
pub(crate) mod violation;

pub use close::{CloseCode, CloseFrame};
pub use frame::FrameHeader;
pub use masking::Masking;
pub use opcode::Opcode;
pub use scanner::{FrameSink, Scanner};
pub use violation::Violation;
