//! The limit of open files (`RLIMIT_NOFILE`): how many connections the system lets us have.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Descriptors reserved for everything but sessions: listeners, the admin listener's 64
/// connections, kept connections to the gateway, files, name lookups.
const RESERVE: u64 = 256;

/// Sockets per session: one per leg.
const PER_CONNECTION: u64 = 2;

/// Raises the soft limit to the hard one. The soft limit is low for the sake of programs that use
/// `select(2)`, which nothing here does. If raising it is not allowed, it stays as it is:
/// [`shortage`] reports whether it is enough.
pub(crate) fn raise() {
    let now = getrlimit(Resource::Nofile);
    if now.current == now.maximum {
        return;
    }
    let wanted = Rlimit {
        current: now.maximum,
        maximum: now.maximum,
    };
    if let Err(error) = setrlimit(Resource::Nofile, wanted) {
        tracing::warn!(%error, "failed to raise the soft limit of open files to the hard one");
    }
}

/// How many client connections can be served; `None` if there is no limit.
#[must_use]
pub(crate) fn room() -> Option<usize> {
    let files = getrlimit(Resource::Nofile).current?;
    usize::try_from(enough_for(files)).ok()
}

/// Describes the shortage if not all of the allowed client connections can be served.
#[must_use]
pub(crate) fn shortage(connections: usize) -> Option<String> {
    getrlimit(Resource::Nofile)
        .current
        .and_then(|files| short_of(files, connections))
}

fn short_of(files: u64, connections: usize) -> Option<String> {
    let connections = u64::try_from(connections).unwrap_or(u64::MAX);
    let needed = connections
        .saturating_mul(PER_CONNECTION)
        .saturating_add(RESERVE);
    if needed <= files {
        return None;
    }
    let enough_for = enough_for(files);
    Some(format!(
        "{connections} connections need {needed} open files (two each, and {RESERVE} besides), this \
         process may have {files}: enough for {enough_for}, further clients will wait or fail. Raise the \
         hard limit (LimitNOFILE={needed} in a systemd unit, ulimits.nofile of a container, ulimit -Hn \
         in a shell) or set limits.connections to {}",
        enough_for.max(1)
    ))
}

fn enough_for(files: u64) -> u64 {
    files.saturating_sub(RESERVE) / PER_CONNECTION
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_files_a_connection_and_a_reserve() {
        assert_eq!(short_of(40_256, 20_000), None);
        let text = short_of(40_255, 20_000).unwrap();
        assert!(text.contains("need 40256 open files"), "{text}");
        assert!(text.contains("may have 40255: enough for 19999"), "{text}");
        assert!(text.contains("LimitNOFILE=40256"), "{text}");
        assert!(text.ends_with("set limits.connections to 19999"), "{text}");
        // Fewer than the reserve itself, and numbers beyond all limits.
        let text = short_of(64, 1).unwrap();
        assert!(text.contains("enough for 0"), "{text}");
        assert!(short_of(u64::MAX - 1, usize::MAX).is_some());
    }
}
