//! How many connections each client address has open, and a place for one more.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::admission::peer::Peer;

/// Counts by client address. Holds no more entries than there are open connections.
#[derive(Debug, Default)]
pub(crate) struct Clients(Mutex<HashMap<Counted, usize>>);

/// What counts as one client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Counted {
    /// An address.
    Ip(IpAddr),
    /// All clients that connect to unix sockets.
    Unix,
}

impl Counted {
    pub(crate) fn of(peer: &Peer) -> Self {
        match peer {
            Peer::Unix(_) => Self::Unix,
            Peer::Inet(_) | Peer::Relayed { .. } => Self::Ip(peer.ip()),
        }
    }
}

impl From<IpAddr> for Counted {
    fn from(ip: IpAddr) -> Self {
        Self::Ip(ip)
    }
}

impl fmt::Display for Counted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(ip) => ip.fmt(f),
            Self::Unix => f.write_str("unix sockets"),
        }
    }
}

/// A client's slot for one connection, or for one session through a trusted proxy; released when
/// dropped.
#[derive(Debug)]
pub(crate) struct ClientSlot {
    clients: Arc<Clients>,
    key: Counted,
}

impl Clients {
    /// Takes a slot for `client`, or returns `None` when all `limit` are taken.
    pub(crate) fn enter(self: &Arc<Self>, client: Counted, limit: usize) -> Option<ClientSlot> {
        let key = bucket(client);
        let mut counts = self.counts();
        let count = counts.entry(key).or_default();
        if *count >= limit {
            return None;
        }
        *count += 1;
        Some(ClientSlot {
            clients: Arc::clone(self),
            key,
        })
    }

    fn counts(&self) -> MutexGuard<'_, HashMap<Counted, usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for ClientSlot {
    fn drop(&mut self) {
        if let Entry::Occupied(mut entry) = self.clients.counts().entry(self.key) {
            *entry.get_mut() -= 1;
            if *entry.get() == 0 {
                entry.remove();
            }
        }
    }
}

/// IPv6 hosts choose addresses freely within a /64 (RFC 4291 section 2.5.4), so a /64 counts as one
/// client.
fn bucket(client: Counted) -> Counted {
    let Counted::Ip(ip) = client else {
        return client;
    };
    Counted::Ip(match ip.to_canonical() {
        IpAddr::V6(ip) => {
            let network = u128::from(ip) & (u128::MAX << 64);
            IpAddr::V6(Ipv6Addr::from(network))
        }
        v4 @ IpAddr::V4(_) => v4,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> Counted {
        Counted::Ip(text.parse().unwrap())
    }

    #[test]
    fn each_client_has_its_own_count_and_leaves_nothing_behind() {
        let clients = Arc::new(Clients::default());
        let places: Vec<_> = (0..2)
            .map(|_| clients.enter(ip("203.0.113.9"), 2).unwrap())
            .collect();
        assert!(clients.enter(ip("203.0.113.9"), 2).is_none());
        assert!(clients.enter(ip("::ffff:203.0.113.9"), 2).is_none());
        assert!(clients.enter(ip("203.0.113.10"), 2).is_some());
        drop(places);
        assert!(clients.counts().is_empty());
        assert!(clients.enter(ip("203.0.113.9"), 2).is_some());
    }

    #[test]
    fn an_ipv6_network_is_one_client() {
        let clients = Arc::new(Clients::default());
        let place = clients.enter(ip("2001:db8::1"), 1);
        assert!(place.is_some() && clients.enter(ip("2001:db8::2"), 1).is_none());
        assert!(clients.enter(ip("2001:db8:0:1::1"), 1).is_some());
    }
}
