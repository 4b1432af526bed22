//! The last records, for `/sessions` of a running tap.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use crate::session::SessionRecord;

/// Maximum number of records; one more evicts the oldest.
pub(crate) const KEPT: usize = 256;

/// The last records that were handed on to consumers.
#[derive(Debug, Default)]
pub(crate) struct Recent(Mutex<VecDeque<Arc<SessionRecord>>>);

impl Recent {
    /// Keeps a record.
    pub(crate) fn keep(&self, record: Arc<SessionRecord>) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() >= KEPT {
            kept.pop_front();
        }
        kept.push_back(record);
    }

    /// All kept records, the last one first.
    #[must_use]
    pub(crate) fn look(&self) -> Vec<Arc<SessionRecord>> {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.iter().rev().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_last_ones_are_kept() {
        let recent = Recent::default();
        for number in 0..KEPT as u128 + 10 {
            recent.keep(Arc::new(SessionRecord {
                id: uuid::Uuid::from_u128(number),
                ..SessionRecord::default()
            }));
        }
        let kept = recent.look();
        assert_eq!(kept.len(), KEPT);
        assert_eq!(kept[0].id.as_u128(), KEPT as u128 + 9);
    }
}
