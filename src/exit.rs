//! Exit codes: documented and stable, scripts rely on them.

/// Fine.
pub const OK: u8 = 0;
/// A check or a session failed.
pub const FAILED: u8 = 1;
/// Usage or configuration error.
pub const USAGE: u8 = 2;
/// Internal error.
pub const INTERNAL: u8 = 70;
