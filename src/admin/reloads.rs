//! Outcomes of configuration reloads.

use jiff::Timestamp;

/// Outcomes of configuration reloads.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Reloads {
    /// Reloads that were applied, or found nothing different.
    pub applied: u64,
    /// Reloads that were refused because of an error.
    pub refused: u64,
    /// The last one was refused: the running configuration is not the one in the files.
    pub last_failed: bool,
    /// When the last one was applied.
    pub applied_at: Option<Timestamp>,
}
