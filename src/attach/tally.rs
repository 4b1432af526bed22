//! Counts verdicts for the summary at the end.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::explain::summary::Summary;
use crate::session::SessionRecord;
use crate::sink::Consumer;

/// The records so far, by verdict. Clones share them.
#[derive(Clone, Debug, Default)]
pub(super) struct Tally(Arc<Mutex<Summary>>);

impl Tally {
    /// The summary so far.
    pub(super) fn summary(&self) -> MutexGuard<'_, Summary> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Consumer for Tally {
    fn consume(&mut self, record: &SessionRecord) -> io::Result<()> {
        self.summary().add(record);
        Ok(())
    }
}
