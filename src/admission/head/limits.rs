//! The bounds of a request head.

/// Bounds of one request head.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Bytes, from the request line to the empty line.
    pub bytes: usize,
    /// Header lines.
    pub fields: usize,
}
