//! Progress of a plain request, which its timers check before and after the answer's head.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::proxy::request::pace::TooSlow;

/// One request and its answer. Shared by the bodies of both.
#[derive(Debug)]
pub(crate) struct Progress {
    begun: Instant,
    /// When a byte of either body last moved, in microseconds since the start.
    moved: AtomicU64,
    request_bytes: AtomicU64,
    awaits_client: AtomicBool,
    client_failed: AtomicBool,
    too_slow: OnceLock<TooSlow>,
}

impl Default for Progress {
    fn default() -> Self {
        Self {
            begun: Instant::now(),
            moved: AtomicU64::new(0),
            request_bytes: AtomicU64::new(0),
            awaits_client: AtomicBool::new(false),
            client_failed: AtomicBool::new(false),
            too_slow: OnceLock::new(),
        }
    }
}

impl Progress {
    /// Records that something moved.
    pub(crate) fn moved(&self) {
        let since = self.begun.elapsed().as_micros();
        let since = u64::try_from(since).unwrap_or(u64::MAX);
        self.moved.fetch_max(since, Ordering::Relaxed);
    }

    /// Records that `bytes` of the request's body went on.
    pub(crate) fn sent_on(&self, bytes: usize) {
        self.request_bytes
            .fetch_add(bytes as u64, Ordering::Relaxed);
        self.moved();
    }

    /// Records whether we wait for the client to send the rest of the request's body.
    pub(crate) fn await_client(&self, awaits: bool) {
        self.awaits_client.store(awaits, Ordering::Relaxed);
    }

    /// See [`Self::await_client`].
    #[must_use]
    pub(crate) fn awaits_client(&self) -> bool {
        self.awaits_client.load(Ordering::Relaxed)
    }

    /// Records that the request's body could not be read to its end.
    pub(crate) fn client_failed(&self) {
        self.client_failed.store(true, Ordering::Relaxed);
    }

    /// Records that the request's body came too slowly and is therefore cut here.
    pub(crate) fn too_slow(&self, slow: TooSlow) {
        tracing::debug!(?slow, "a request's body comes too slowly");
        let _ = self.too_slow.set(slow);
        self.client_failed();
    }

    /// See [`Self::too_slow`].
    #[must_use]
    pub(crate) fn was_too_slow(&self) -> Option<TooSlow> {
        self.too_slow.get().copied()
    }

    /// See [`Self::client_failed`].
    #[must_use]
    pub(crate) fn has_client_failed(&self) -> bool {
        self.client_failed.load(Ordering::Relaxed)
    }

    /// Bytes of the request's body that went on.
    #[must_use]
    pub(crate) fn request_bytes(&self) -> u64 {
        self.request_bytes.load(Ordering::Relaxed)
    }

    /// When something last moved; until then, the start.
    #[must_use]
    pub(crate) fn last(&self) -> Instant {
        self.begun + Duration::from_micros(self.moved.load(Ordering::Relaxed))
    }
}
