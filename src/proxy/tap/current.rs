//! The tap as it is now: what a reload replaces while connections and sessions go on.

use std::sync::Arc;

use arc_swap::ArcSwap;

use crate::proxy::tap::{Tap, background};

/// The tap that new sessions begin under. A session keeps the one that it began with.
#[derive(Debug)]
pub struct Current(ArcSwap<Tap>);

impl Current {
    /// Begins with this one.
    #[must_use]
    pub fn new(tap: Arc<Tap>) -> Self {
        Self(ArcSwap::new(tap))
    }

    /// The tap as it is now.
    #[must_use]
    pub fn tap(&self) -> Arc<Tap> {
        self.0.load_full()
    }

    /// Puts a tap that was made by [`Tap::renewed`] from the present one in its place.
    pub fn replace(&self, renewed: &Arc<Tap>) {
        let before = self.0.swap(Arc::clone(renewed));
        background::supersede(renewed, &before);
    }
}
