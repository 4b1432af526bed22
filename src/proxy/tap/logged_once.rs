//! Remembers which log messages were already written, so that each is written once.

use std::collections::HashSet;
use std::hash::Hash;
use std::sync::{Mutex, PoisonError};

/// Maximum number of messages that are remembered. Beyond it nothing new is logged, so that many clients cannot flood
/// the log.
const MAX: usize = 1024;

/// A bounded set of messages that have been logged.
#[derive(Debug)]
pub(crate) struct LoggedOnce<T>(Mutex<HashSet<T>>);

impl<T> Default for LoggedOnce<T> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<T: Eq + Hash> LoggedOnce<T> {
    /// Marks `what` as logged; returns whether to log it now.
    pub(crate) fn insert(&self, what: T) -> bool {
        let mut logged = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        logged.len() < MAX && logged.insert(what)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_thing_once_and_not_without_end() {
        let logged = LoggedOnce::default();
        assert!(logged.insert(0) && !logged.insert(0));
        assert_eq!((1..5000).filter(|n| logged.insert(*n)).count(), MAX - 1);
    }
}
