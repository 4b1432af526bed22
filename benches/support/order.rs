//! Messages that tell the gateway what to send.

use std::time::Duration;

/// What tells it to send so many events of a size: `push 4096 1024`.
pub const PUSH: &[u8] = b"push ";

/// What tells it to send one frame in pieces: `drip 4 1024 25000`, the pause in microseconds.
pub const DRIP: &[u8] = b"drip ";

/// The message that tells it to send so many events of this size.
pub fn order(count: usize, size: usize) -> Vec<u8> {
    [PUSH, format!("{count} {size}").as_bytes()].concat()
}

/// The message that tells it to send one binary frame in so many pieces, and then the time when it began.
pub fn order_of_pieces(pieces: usize, size: usize, pause: Duration) -> Vec<u8> {
    let pause = pause.as_micros();
    [DRIP, format!("{pieces} {size} {pause}").as_bytes()].concat()
}
