//! Watches connections that other processes opened while ours was open: those that outlive it are
//! not for ours.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::{Duration, Instant};

use tokio::time::sleep;

use super::onward::is_outgoing;
use super::scan::{Netns, Scan, open_connections, sockets_of};
use crate::transport::holder::TcpState;

/// How long sockets that belong to our connection may outlive it.
const GONE: Duration = Duration::from_secs(1);

/// Interval between checks whether they are gone.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Maximum number of sockets that are watched.
const MOST: usize = 1000;

/// Sockets by their processes, so that the descriptors of a process are read once a round.
pub(super) struct Suspects(BTreeMap<u32, BTreeSet<u64>>);

impl Suspects {
    /// Connections that are new since `before`, of processes that have accepted one since then, as
    /// every process on the path has. `pids` have accepted a connection to a unix socket.
    pub(super) fn find(before: &Scan, during: &Scan, pids: &[u32]) -> Self {
        let own = std::process::id();
        let mut accepting: BTreeSet<u32> = pids.iter().copied().collect();
        let mut made = Vec::new();
        let new = during.tcp().filter(|(_, socket)| {
            let is_connection = socket.inode != 0 && socket.state != TcpState::Listen;
            is_connection && before.holders(socket.inode).is_empty()
        });
        for (netns, socket) in new {
            let holders = during.holders(socket.inode).into_iter();
            let holders = holders.map(|it| it.pid).filter(|pid| *pid != own);
            if is_outgoing(during, netns, socket) {
                made.extend(holders.map(|pid| (pid, socket.inode)));
            } else {
                accepting.extend(holders);
            }
        }
        let mut suspects: BTreeMap<u32, BTreeSet<u64>> = BTreeMap::new();
        let made = made.into_iter().filter(|(pid, _)| accepting.contains(pid));
        for (pid, inode) in made.take(MOST) {
            suspects.entry(pid).or_default().insert(inode);
        }
        Self(suspects)
    }

    /// The sockets that persist after our connection has ended, and whether `end` came before that
    /// was known.
    pub(super) async fn persisting(self, during: &Scan, end: Instant) -> (BTreeSet<u64>, bool) {
        let Self(mut suspects) = self;
        let limit = end.min(Instant::now() + GONE);
        loop {
            for (pid, inodes) in &mut suspects {
                if Instant::now() >= limit {
                    break;
                }
                let open = sockets_of(*pid).unwrap_or_default();
                inodes.retain(|it| open.contains(it));
            }
            suspects.retain(|_, inodes| !inodes.is_empty());
            if suspects.is_empty() || Instant::now() >= limit {
                break;
            }
            sleep(LOOK_EVERY).await;
        }
        let cut = !suspects.is_empty() && Instant::now() >= end;
        // A peer may not have ended its side yet: the connection is half closed then, and it is ours.
        let mut open: HashMap<Option<Netns>, BTreeSet<u64>> = HashMap::new();
        let mut persisting = BTreeSet::new();
        for (pid, inodes) in suspects {
            let netns = during.processes.get(&pid).and_then(|it| it.netns);
            let open = open.entry(netns).or_insert_with(|| open_connections(pid));
            persisting.extend(inodes.intersection(open));
        }
        (persisting, cut)
    }
}
