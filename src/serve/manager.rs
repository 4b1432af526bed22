//! Messages to the service manager while the tap runs.

use tokio::task::JoinHandle;

use crate::app::Bound;
use crate::transport::notify;

/// The status line that it shows.
pub(super) fn status(bound: &Bound) -> String {
    let places: Vec<String> = bound
        .listeners
        .iter()
        .map(|listener| listener.place.to_string())
        .collect();
    let tap = bound.tap();
    let gateway = tap.config().gateway().url();
    format!("serving on {}, forwarding to {gateway}", places.join(", "))
}

/// Until dropped, notifies its watchdog that the runtime still runs tasks.
pub(super) struct Watched(Option<JoinHandle<()>>);

impl Watched {
    pub(super) fn begin() -> Self {
        Self(notify::watchdog().map(|every| {
            // A separate task: it does not run if all workers are stuck.
            tokio::spawn(async move {
                let mut every = tokio::time::interval(every);
                loop {
                    every.tick().await;
                    notify::alive();
                }
            })
        }))
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        if let Some(task) = &self.0 {
            task.abort();
        }
    }
}
