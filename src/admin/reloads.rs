//! What reloads of the configuration came to.

use jiff::Timestamp;

/// What reloads of the configuration came to.
#[derive(Clone, Copy, Debug, Default)]
pub struct Reloads {
    /// Those that are in force, or found nothing different.
    pub applied: u64,
    /// Those that changed nothing because something was wrong.
    pub refused: u64,
    /// The last one was refused: what runs is not what the files say.
    pub last_failed: bool,
    /// When the last one was applied.
    pub applied_at: Option<Timestamp>,
}
