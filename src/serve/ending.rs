//! The end of the process: first every task, whose sessions are recorded by that, and then the sinks.
//! In another order the last records find closed sinks.

use std::panic::{self, AssertUnwindSafe};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::runtime::Runtime;

use crate::sink::Outlet;

// Together with what the drain itself may take beyond its time, less than two seconds.

/// How long it may take to drop the tasks that are left. Usually none are.
const TASKS: Duration = Duration::from_millis(700);

/// How long the last records may take to be written. A stuck disk must not keep us from ending.
const FLUSH: Duration = Duration::from_secs(1);

/// The sinks of a process.
#[derive(Debug, Default)]
pub(crate) struct Outlets(Mutex<Vec<Arc<Outlet>>>);

impl Outlets {
    pub(crate) fn add(&self, outlet: &Arc<Outlet>) {
        self.all().push(Arc::clone(outlet));
    }

    fn all(&self) -> std::sync::MutexGuard<'_, Vec<Arc<Outlet>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn close(&self) {
        for outlet in self.all().drain(..) {
            outlet.close(FLUSH);
            report_losses(&outlet);
        }
    }
}

/// Runs `main` and ends everything in order, however it comes back.
pub(crate) fn run_to_the_end<T>(
    runtime: Runtime,
    outlets: &Outlets,
    main: impl Future<Output = T>,
) -> T {
    let done = panic::catch_unwind(AssertUnwindSafe(|| runtime.block_on(main)));
    runtime.shutdown_timeout(TASKS);
    outlets.close();
    done.unwrap_or_else(|panic| panic::resume_unwind(panic))
}

/// Logs which records were lost, if any: the log cannot keep us from ending.
fn report_losses(outlet: &Outlet) {
    let running = outlet.live().count();
    if running > 0 {
        tracing::warn!(
            lost = running,
            "sessions could not be ended: they have no record"
        );
    }
    for (kind, sessions) in outlet.metrics().counts().left_out {
        tracing::info!(%kind, sessions, "sessions have no record, as the configuration wants it");
    }
    for (sink, lost) in outlet.dropped() {
        tracing::warn!(%sink, lost, "records were lost: the sink was too slow, full or broken");
    }
}
