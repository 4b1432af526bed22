//! A small, bounded memory of which client addresses send requests, and which ones connect, send
//! nothing and leave.
//!
//! A client that does not trust our certificate and a health check look alike: both complete TLS and
//! leave. Other connections from the same address tell them apart: a request through the same
//! certificate, or connections at regular intervals. Pure: all times come from the records.

mod steady;

use std::collections::HashMap;
use std::collections::VecDeque;
use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hash};
use std::net::{IpAddr, SocketAddr};

use super::moment::Moment;
use super::record::{ClientFacts, ClientTls, ContextFacts, SessionRecord, SniMatch, VisitFacts};

/// Maximum number of addresses, for those that send requests and for those that do not.
const MAX: usize = 2048;

/// Maximum number of addresses per IPv6 /64, in which one host can use any address.
const MAX_OF_NETWORK: usize = 16;

/// Maximum number of certificates per address.
const MAX_CERTIFICATES: usize = 8;

/// Maximum number of visits per address.
const MAX_VISITS: usize = 12;

/// Older visits explain nothing: the address may belong to another host by now.
const REACH_MS: i64 = 24 * 3600 * 1000;

/// A client that retries does so within this time.
const RETRY_MS: i64 = 10 * 60 * 1000;

/// A client by its address; `None` for clients of unix sockets, which have none.
type Address = Option<IpAddr>;

/// The certificate that a client was shown, as a number.
type Shown = u64;

/// Recent clients.
#[derive(Debug, Default)]
pub(crate) struct Visits {
    /// Addresses that sent a request.
    asked: Bounded<Address, Asked>,
    /// Addresses that completed TLS and left, with the certificate that they were shown.
    left: Bounded<(Address, Shown), Left>,
    numbers: RandomState,
}

/// An address that sent requests.
#[derive(Debug)]
struct Asked {
    at: Moment,
    through: VecDeque<(Shown, Moment)>,
}

/// Connections of an address that completed TLS and ended without a byte.
#[derive(Debug, Default)]
struct Left {
    at: VecDeque<Moment>,
    /// The intervals grew first, as those of a client that backs off, before they became regular.
    backs_off: bool,
}

impl Visits {
    /// Records the first request of a connection.
    pub(crate) fn asked(&mut self, client: &ClientFacts, at: Moment) {
        let shown = client.tls.as_ref().and_then(|tls| self.shown(tls));
        let address = address(client);
        let Self { asked, left, .. } = self;
        let asked = asked.entry(address, at, || Asked {
            at,
            through: VecDeque::new(),
        });
        asked.at = at;
        if let Some(shown) = shown {
            asked.through.retain(|(other, _)| *other != shown);
            asked.through.truncate(MAX_CERTIFICATES - 1);
            asked.through.push_front((shown, at));
            // By now it trusts the certificate.
            left.remove(&(address, shown));
        }
    }

    /// What other connections from the same address show about a connection without a request,
    /// which is counted itself from now on. `None` for every other record.
    pub(crate) fn context(&mut self, record: &SessionRecord) -> Option<ContextFacts> {
        let visits = self.facts(record)?;
        Some(ContextFacts {
            visits: Some(Box::new(visits)),
            ..ContextFacts::default()
        })
    }

    fn facts(&mut self, record: &SessionRecord) -> Option<VisitFacts> {
        let left = record.left_at_certificate();
        if !left && !record.waited_in_silence() {
            return None;
        }
        let now = record.opened_at;
        let address = address(&record.client);
        let shown = record.client.tls.as_ref().and_then(|tls| self.shown(tls));
        let recent = |at: &Moment| now.millis_since(*at) < REACH_MS;
        let asked = self.asked.of(&address);
        let through = asked.zip(shown).and_then(|(asked, shown)| {
            let mut all = asked.through.iter();
            all.find(|(other, _)| *other == shown).map(|(_, at)| *at)
        });
        let mut facts = VisitFacts {
            asked_at: asked.map(|asked| asked.at).filter(recent),
            accepted_at: through.filter(recent),
            ..VisitFacts::default()
        };
        if let Some(shown) = shown.filter(|_| left) {
            let visits = self.left.entry((address, shown), now, Left::default);
            visits.add(now);
            facts.left_at_certificate = visits.recent(now);
            facts.steady = visits.steady();
        }
        Some(facts)
    }

    /// The certificate, plus the name where no certificate matches it: a client that accepts a
    /// certificate under its own name need not accept it under another. `None` where none was shown
    /// because the session was resumed.
    fn shown(&self, tls: &ClientTls) -> Option<Shown> {
        let certificate = tls.certificate.as_deref()?;
        let other_name = tls.sni_match == Some(SniMatch::Default);
        let name = tls.sni.as_ref().filter(|_| other_name);
        Some(self.number(&(certificate, name.map(super::text::PeerText::as_str))))
    }

    fn number(&self, value: &impl Hash) -> Shown {
        self.numbers.hash_one(value)
    }
}

impl Left {
    fn add(&mut self, at: Moment) {
        let is_new_series = |last: &Moment| at.millis_since(*last) >= REACH_MS;
        if self.at.back().is_some_and(is_new_series) {
            *self = Self::default();
        }
        if self.at.len() >= MAX_VISITS {
            self.at.pop_front();
        }
        self.at.push_back(at);
        self.backs_off |= steady::grows(&self.intervals());
    }

    /// Number of visits within the time in which a client retries.
    fn recent(&self, now: Moment) -> u32 {
        let near = |at: &&Moment| now.millis_since(**at).abs() <= RETRY_MS;
        u32::try_from(self.at.iter().filter(near).count()).unwrap_or(u32::MAX)
    }

    fn steady(&self) -> Option<super::record::Steady> {
        (!self.backs_off)
            .then(|| steady::of(&self.intervals()))
            .flatten()
    }

    /// The intervals in milliseconds, the last one first.
    fn intervals(&self) -> Vec<u64> {
        let later = self.at.iter().skip(1);
        let mut all: Vec<u64> = (self.at.iter().zip(later))
            .map(|(earlier, later)| u64::try_from(later.millis_since(*earlier)).unwrap_or(0))
            .collect();
        all.reverse();
        all
    }
}

/// The address without the port, which differs for each connection.
fn address(client: &ClientFacts) -> Address {
    let socket = client.addr.parse().map(|socket: SocketAddr| socket.ip());
    socket.or_else(|_| client.addr.parse()).ok()
}

/// Entries by the time of their last use. When there are too many, the least recently used entry is
/// dropped. For an IPv6 network with too many, one of its own entries is dropped: a host that changes
/// its address does not evict others.
#[derive(Debug)]
struct Bounded<K, V> {
    entries: HashMap<K, (Moment, V)>,
}

impl<K, V> Default for Bounded<K, V> {
    fn default() -> Self {
        Self {
            entries: HashMap::new(),
        }
    }
}

impl<K: Networked, V> Bounded<K, V> {
    fn of(&self, key: &K) -> Option<&V> {
        self.entries.get(key).map(|(_, value)| value)
    }

    fn remove(&mut self, key: &K) {
        self.entries.remove(key);
    }

    fn entry(&mut self, key: K, now: Moment, new: impl FnOnce() -> V) -> &mut V {
        if !self.entries.contains_key(&key) {
            self.make_room(key);
        }
        let (used, value) = self.entries.entry(key).or_insert_with(|| (now, new()));
        *used = now;
        value
    }

    fn make_room(&mut self, key: K) {
        if let Some(network) = key.network() {
            let is_in_it = |other: &K| other.network() == Some(network);
            let size = self.entries.keys().filter(|other| is_in_it(other)).count();
            if size >= MAX_OF_NETWORK {
                self.remove_oldest(is_in_it);
            }
        }
        if self.entries.len() >= MAX {
            self.remove_oldest(|_| true);
        }
    }

    fn remove_oldest(&mut self, is_one: impl Fn(&K) -> bool) {
        let some = self.entries.iter().filter(|(key, _)| is_one(key));
        let oldest = some.min_by_key(|(_, (used, _))| *used).map(|(key, _)| *key);
        if let Some(oldest) = oldest {
            self.entries.remove(&oldest);
        }
    }
}

trait Networked: Copy + Eq + Hash {
    /// The IPv6 /64 of the address.
    fn network(&self) -> Option<u64>;
}

impl Networked for Address {
    fn network(&self) -> Option<u64> {
        match self {
            Some(IpAddr::V6(ip)) if !ip.is_loopback() => u64::try_from(u128::from(*ip) >> 64).ok(),
            _ => None,
        }
    }
}

impl Networked for (Address, Shown) {
    fn network(&self) -> Option<u64> {
        self.0.network()
    }
}

#[cfg(test)]
mod tests;
