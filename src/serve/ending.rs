//! Shutdown order: first drop every task, which records its sessions, and then close the sinks. In
//! any other order the sinks would be closed before the last records.

use std::panic::{self, AssertUnwindSafe};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::runtime::Runtime;

use crate::sink::RecordPipeline;

// Together with the grace that the drain itself may add, this is less than two seconds.

/// Time limit for dropping the remaining tasks. Usually there are none.
const TASKS: Duration = Duration::from_millis(700);

/// Time limit for writing the last records. A stuck disk must not keep the process from exiting.
const FLUSH: Duration = Duration::from_secs(1);

/// The sinks of a process.
#[derive(Debug, Default)]
pub(crate) struct RecordPipelines(Mutex<Vec<Arc<RecordPipeline>>>);

impl RecordPipelines {
    pub(crate) fn add(&self, pipeline: &Arc<RecordPipeline>) {
        self.all().push(Arc::clone(pipeline));
    }

    fn all(&self) -> std::sync::MutexGuard<'_, Vec<Arc<RecordPipeline>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn close(&self) {
        for pipeline in self.all().drain(..) {
            pipeline.close(FLUSH);
            report_losses(&pipeline);
        }
    }
}

/// Runs `main` and then shuts everything down in order, whether it returns or panics.
pub(crate) fn run_to_the_end<T>(
    runtime: Runtime,
    pipelines: &RecordPipelines,
    main: impl Future<Output = T>,
) -> T {
    let done = panic::catch_unwind(AssertUnwindSafe(|| runtime.block_on(main)));
    runtime.shutdown_timeout(TASKS);
    pipelines.close();
    done.unwrap_or_else(|panic| panic::resume_unwind(panic))
}

/// Logs lost records, if any. A blocked log cannot keep the process from exiting.
fn report_losses(pipeline: &RecordPipeline) {
    let running = pipeline.live().count();
    if running > 0 {
        tracing::warn!(
            lost = running,
            "sessions could not be ended: they have no record"
        );
    }
    for (kind, sessions) in pipeline.metrics().counts().left_out {
        tracing::info!(%kind, sessions, "sessions have no record, as the configuration wants it");
    }
    for (sink, lost) in pipeline.dropped() {
        tracing::warn!(%sink, lost, "records were lost: the sink was too slow, full or broken");
    }
}
