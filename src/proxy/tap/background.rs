//! What runs beside the connections: the check whether the gateway believes what we say of clients,
//! and the look at files. They end with the drain, or when they are of no use any more.

use std::sync::Arc;

use super::attribution::check;
use crate::proxy::tap::Tap;

/// Begins all of it for a tap that has no predecessor.
pub(crate) fn begin(tap: &Arc<Tap>) {
    check::begin(tap);
    follow_origins(tap);
}

/// Begins for a tap that takes the place of `before` what the two do not share, and ends it there.
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
