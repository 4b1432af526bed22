//! Remembers which log messages were already written, so that each is written once.

use std::collections::HashSet;
use std::hash::Hash;
use std::sync::{Mutex, PoisonError};

/// Most things that are remembered; beyond them nothing new is told, so that nobody can flood a
/// log by being many.
const MAX: usize = 1024;

/// A bounded memory of what was told.
#[derive(Debug)]
pub(crate) struct LoggedOnce<T>(Mutex<HashSet<T>>);

impl<T> Default for LoggedOnce<T> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<T: Eq + Hash> LoggedOnce<T> {
    /// Whether this is to be told now.
    pub(crate) fn is_news(&self, what: T) -> bool {
        let mut told = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        told.len() < MAX && told.insert(what)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_thing_once_and_not_without_end() {
        let told = LoggedOnce::default();
        assert!(told.is_news(0) && !told.is_news(0));
        assert_eq!((1..5000).filter(|n| told.is_news(*n)).count(), MAX - 1);
    }
}
