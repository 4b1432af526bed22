//! Exit codes: documented and stable, scripts rely on them.

/// Fine.
pub(crate) const OK: u8 = 0;
/// A check or a session failed.
pub(crate) const FAILED: u8 = 1;
/// Usage or configuration error.
pub(crate) const USAGE: u8 = 2;
/// Internal error.
pub(crate) const INTERNAL: u8 = 70;
