//! Background tasks: the check whether the gateway accepts our attribution headers, and the watch
//! on files. They end with the drain, or when they are no longer needed.

use std::sync::Arc;

use super::attribution::check;
use crate::proxy::tap::Tap;

/// Starts all background tasks for a tap that has no predecessor.
pub(crate) fn begin(tap: &Arc<Tap>) {
    check::begin(tap);
    follow_origins(tap);
}

/// Starts, for a tap that replaces `before`, the tasks that the two do not share, and stops those
/// of `before`.
pub(super) fn supersede(tap: &Arc<Tap>, before: &Tap) {
    if !Arc::ptr_eq(&tap.attribution, &before.attribution) {
        before.attribution.retire();
        check::begin(tap);
    }
    if !Arc::ptr_eq(&tap.origins, &before.origins) {
        before.origins.retire();
        follow_origins(tap);
    }
}

fn follow_origins(tap: &Tap) {
    let (origins, drain) = (Arc::clone(&tap.origins), Arc::clone(&tap.drain));
    tap.tasks
        .spawn(async move { origins.watch(drain.token()).await });
}
