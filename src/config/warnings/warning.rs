//! One warning.

use std::fmt;

/// A legal but odd setting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Warning {
    key_path: String,
    message: String,
}

impl Warning {
    pub(super) fn new(key_path: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            key_path: key_path.into(),
            message: message.into(),
        }
    }

    /// Path of the key that the warning is about.
    #[must_use]
    pub fn key_path(&self) -> &str {
        &self.key_path
    }

    /// The oddity and its consequence.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.message
    }
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.key_path, self.message)
    }
}
