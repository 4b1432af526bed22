//! Counts of one HTTP/2 connection.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::session::record::client::Http2Facts;

/// The counts of a connection.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    pub(super) requests: AtomicU64,
    pub(super) cancelled: AtomicU64,
    pub(super) refused: AtomicU64,
}

impl Counts {
    pub(crate) fn facts(&self, stream: Option<u32>) -> Http2Facts {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        Http2Facts {
            stream,
            requests: read(&self.requests),
            cancelled: read(&self.cancelled),
            refused: read(&self.refused),
            unread: false,
        }
    }

    pub(super) fn cancelled(&self) {
        self.cancelled.fetch_add(1, Ordering::Relaxed);
    }
}
