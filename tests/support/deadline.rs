//! Deadlines: nothing waits forever.

use std::future::Future;
use std::time::Duration;

use tokio::time::Instant;

/// How long one step of a test may take. Minutes, because a busy machine is no fault of the program:
/// it is only reached when something is wrong.
pub const STEP: Duration = Duration::from_mins(2);

/// A time that the program promises, such as how soon it exits. `make busy` sets `WSTAP_BUSY`, because
/// on a machine with other work nobody can keep a promise in seconds: it then counts ten times.
pub fn promised(limit: Duration) -> Duration {
    let factor = if is_busy() { 10 } else { 1 };
    limit * factor
}

/// Whether this is `make busy`.
fn is_busy() -> bool {
    std::env::var_os("WSTAP_BUSY").is_some()
}

/// How often a condition that nothing announces is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// The future's output, or a panic that says what was waited for.
pub async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    let outcome = tokio::time::timeout(STEP, future).await;
    outcome.unwrap_or_else(|_| panic!("waited {STEP:?} for {what}"))
}

/// Looks again and again until `look` finds something; `None` when the time is over.
pub async fn poll<T>(limit: Duration, mut look: impl FnMut() -> Option<T>) -> Option<T> {
    let deadline = Instant::now() + limit;
    loop {
        if let Some(found) = look() {
            return Some(found);
        }
        if Instant::now() >= deadline {
            return None;
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// Waits until a number that can only grow has not changed for `still`, and returns it.
pub async fn settled(still: Duration, mut read: impl FnMut() -> u64) -> u64 {
    let deadline = Instant::now() + 2 * STEP;
    let mut last = read();
    let mut since = Instant::now();
    while since.elapsed() < still {
        assert!(Instant::now() < deadline, "still growing at {last}");
        tokio::time::sleep(LOOK_EVERY).await;
        let now = read();
        if now != last {
            last = now;
            since = Instant::now();
        }
    }
    last
}
