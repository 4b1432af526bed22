//! The current tap, which a reload replaces while connections and sessions go on.

use std::sync::Arc;

use arc_swap::ArcSwap;

use crate::proxy::tap::{Tap, background};

/// The tap under which new sessions begin. A session keeps the tap that it began with.
#[derive(Debug)]
pub struct Current(ArcSwap<Tap>);

impl Current {
    /// Starts with this tap.
    #[must_use]
    pub fn new(tap: Arc<Tap>) -> Self {
        Self(ArcSwap::new(tap))
    }

    /// The current tap.
    #[must_use]
    pub fn tap(&self) -> Arc<Tap> {
        self.0.load_full()
    }

    /// Replaces the current tap by one that [`Tap::renewed`] made from it.
    pub fn replace(&self, renewed: &Arc<Tap>) {
        let before = self.0.swap(Arc::clone(renewed));
        background::supersede(renewed, &before);
    }
}
