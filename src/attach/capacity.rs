//! How many sessions may be tapped at the same time. Pure.

use super::obstacle::Obstacle;

/// Cap where open files are unlimited; no system serves more.
const MOST: usize = 1_000_000;

/// Connections that may come between the last session and the removal of the redirect: the size of
/// the kernel's accept queue.
const BURST: usize = 1024;

/// How many sessions and connections may be open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Capacity {
    /// While this many sessions are open, new connections bypass the tap.
    pub(super) sessions: usize,
    /// Connections that the tap accepts. Those of a burst that were redirected before the removal are tapped as
    /// well, because it is too late to send them to the gateway.
    pub(super) connections: usize,
}

impl Capacity {
    /// The capacity for `wanted` sessions, if the limit of open files has room for `room`
    /// connections (`None`: no limit).
    pub(super) fn new(wanted: usize, room: Option<usize>) -> Self {
        let connections = room.unwrap_or(MOST).min(MOST);
        let burst = BURST.min(connections / 2);
        Self {
            sessions: wanted.min(connections - burst),
            connections,
        }
    }

    /// The obstacle if there is no room for a single session.
    pub(super) fn obstacle(&self) -> Option<Obstacle> {
        (self.connections == 0).then(|| Obstacle {
            what: "the limit of open files leaves no room for a session".to_owned(),
            to_do: "raise the hard limit: `ulimit -n 16384` in this shell, or `--ulimit nofile=16384` of `docker run`"
                .to_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn capacity(wanted: usize, room: Option<usize>) -> (usize, usize) {
        let capacity = Capacity::new(wanted, room);
        (capacity.sessions, capacity.connections)
    }

    #[test]
    fn a_burst_has_room_beyond_the_last_session() {
        assert_eq!(capacity(5000, None), (5000, MOST));
        assert_eq!(capacity(5000, Some(6024)), (5000, 6024));
        assert_eq!(capacity(5000, Some(6023)), (4999, 6023));
        assert_eq!(capacity(5000, Some(100)), (50, 100));
        assert_eq!(capacity(usize::MAX, None), (MOST - BURST, MOST));
        assert_eq!(capacity(1, Some(1)), (1, 1));
    }

    #[test]
    fn without_room_for_one_session_it_does_not_attach() {
        assert_eq!(Capacity::new(5000, Some(1)).obstacle(), None);
        assert!(Capacity::new(5000, Some(0)).obstacle().is_some());
    }
}
