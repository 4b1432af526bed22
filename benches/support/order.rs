//! Messages that order the gateway to send something.

use std::time::Duration;

/// Keyword of an order for a number of events of a size: `push 4096 1024`.
pub const PUSH: &[u8] = b"push ";

/// Keyword of an order for one frame in pieces: `drip 4 1024 25000`, with the pause in
/// microseconds.
pub const DRIP: &[u8] = b"drip ";

/// The order for `count` events of `size` bytes.
pub fn order(count: usize, size: usize) -> Vec<u8> {
    [PUSH, format!("{count} {size}").as_bytes()].concat()
}

/// The order for one binary frame in `pieces` pieces, followed by the time when it began.
pub fn order_of_pieces(pieces: usize, size: usize, pause: Duration) -> Vec<u8> {
    let pause = pause.as_micros();
    [DRIP, format!("{pieces} {size} {pause}").as_bytes()].concat()
}
