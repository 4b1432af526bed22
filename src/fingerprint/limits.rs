//! Limits for the input, and for the text of errors.

/// Maximum size of the input. A secret or a configuration file is far smaller.
pub(crate) const MAX_INPUT: usize = 1024 * 1024;

/// Deeper nesting than this is refused before parsing: not every parser limits its own recursion.
pub(super) const MAX_DEPTH: usize = 128;

/// Maximum number of keys that an error lists.
pub(super) const MAX_KEYS: usize = 20;

/// Maximum number of bytes of a key that an error shows.
pub(super) const KEY_CAP: usize = 64;
