//! The open sessions, with the facts of their records so far.
//!
//! A record is written at the end, and a session that hangs has no end. So each session has an
//! entry here from its beginning. The relay updates its entry with relaxed stores into memory of
//! its own: no lock, no allocation, no cache line that other sessions write to. Only opening,
//! ending and looking take the lock.

mod added;

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use uuid::Uuid;

use self::added::Counting;
use crate::session::Facts;
use crate::session::added::Added;
use crate::session::address::host;
use crate::session::memory::{self, Answer, LetIn};
use crate::session::moment::{Anchor, Moment, millis};
use crate::session::party::{Direction, Phase};
use crate::session::record::Kind;
use crate::session::text::PeerText;

/// Every phase, in order.
pub(crate) const PHASES: [Phase; 9] = [
    Phase::Accept,
    Phase::Tls,
    Phase::Request,
    Phase::Admission,
    Phase::Dial,
    Phase::Upgrade,
    Phase::Handshake,
    Phase::Open,
    Phase::Closing,
];

/// Maximum number of open sessions that one query looks at: thousands may end at once, and each of
/// them queries.
const LOOKED_AT: usize = 1024;

/// All open sessions of a tap.
#[derive(Debug, Default)]
pub struct Registry(Mutex<Sessions>);

#[derive(Debug, Default)]
struct Sessions {
    /// Keyed by `UUIDv7`, so sorted by age.
    open: BTreeMap<Uuid, Arc<Live>>,
    /// Total traffic of the sessions that have ended.
    ended: Traffic,
    /// Latency that the tap added to those sessions.
    added: Added,
}

/// One open session.
#[derive(Debug)]
pub struct Live {
    id: Uuid,
    opened: Anchor,
    peer: Box<str>,
    phase: AtomicU8,
    /// An event that ends the session has happened.
    ending: AtomicBool,
    /// Hash of the gateway's URL; 0 if not known yet.
    gateway: AtomicU32,
    answered: Since,
    /// Milliseconds that the session had waited for that answer.
    waited_ms: AtomicU32,
    let_in: Since,
    about: OnceLock<About>,
    to_gateway: DirectionCounters,
    to_client: DirectionCounters,
    /// Set for tunnels only.
    added: OnceLock<Box<Counting>>,
}

/// Facts from the session's request.
#[derive(Debug)]
struct About {
    kind: Kind,
    client: Box<str>,
    host: Option<PeerText>,
    path: Option<PeerText>,
}

/// Milliseconds from the session's beginning to an event, plus one; 0 if it has not happened.
#[derive(Debug, Default)]
struct Since(AtomicU32);

/// Counters of one direction.
#[derive(Debug, Default)]
struct DirectionCounters {
    messages: AtomicU64,
    bytes: AtomicU64,
    /// Microseconds from the session's beginning to the last byte, plus one; 0 if no byte came.
    last: AtomicU64,
    waiting: AtomicU64,
}

/// Keeps a session in the registry until it is dropped.
#[derive(Debug)]
pub struct Entry {
    /// `None` if another entry keeps the session now.
    registry: Option<Arc<Registry>>,
    live: Arc<Live>,
}

/// Traffic through tunnels, by direction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// From clients.
    pub to_gateway: Flow,
    /// From the gateway.
    pub to_client: Flow,
}

/// Traffic in one direction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flow {
    /// Finished messages.
    pub messages: u64,
    /// Every byte after the 101; all bytes for a connection that passes unread.
    pub bytes: u64,
    /// Bytes that are waiting because their receiver does not read.
    pub waiting: u64,
}

/// One open session as it is now.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// The id that its record will have.
    pub id: Uuid,
    /// See [`Kind`]; `connection` until a request was read.
    pub kind: Kind,
    /// When it began.
    pub opened_at: Moment,
    /// How long it has been open.
    pub age_ms: f64,
    /// How far it got.
    pub phase: Phase,
    /// `address:port` of the client.
    pub client: String,
    /// The `Host` header.
    pub host: Option<PeerText>,
    /// Path and query, masked as in records.
    pub path: Option<PeerText>,
    /// Traffic that it relayed.
    pub traffic: Traffic,
    /// Time since the last byte from the client; `None` if no byte came after the 101.
    pub client_quiet_ms: Option<f64>,
    /// Time since the last byte from the gateway.
    pub gateway_quiet_ms: Option<f64>,
}

impl Registry {
    /// Adds a session that begins.
    #[must_use]
    pub fn open(self: &Arc<Self>, id: Uuid, opened: Anchor, peer: &str) -> Entry {
        let live = Arc::new(Live {
            id,
            opened,
            peer: peer.into(),
            phase: AtomicU8::new(Phase::Accept as u8),
            ending: AtomicBool::new(false),
            gateway: AtomicU32::new(0),
            answered: Since::default(),
            waited_ms: AtomicU32::new(0),
            let_in: Since::default(),
            about: OnceLock::new(),
            to_gateway: DirectionCounters::default(),
            to_client: DirectionCounters::default(),
            added: OnceLock::new(),
        });
        self.lock().open.insert(id, Arc::clone(&live));
        Entry {
            registry: Some(Arc::clone(self)),
            live,
        }
    }

    /// The oldest sessions, at most `most`, and how many there are.
    #[must_use]
    pub fn look(&self, most: usize, now: Instant) -> (Vec<Snapshot>, usize) {
        let sessions = self.lock();
        let count = sessions.open.len();
        let oldest: Vec<Arc<Live>> = sessions.open.values().take(most).cloned().collect();
        drop(sessions);
        (oldest.iter().map(|live| live.look(now)).collect(), count)
    }

    /// Number of open sessions.
    #[must_use]
    pub fn count(&self) -> usize {
        self.lock().open.len()
    }

    /// Traffic so far, including open sessions: it never goes back.
    #[must_use]
    pub fn traffic(&self) -> Traffic {
        let sessions = self.lock();
        let mut all = sessions.ended;
        for live in sessions.open.values() {
            all.add(live.traffic());
        }
        all
    }

    /// Latency that the tap added to slices so far, including open sessions.
    #[must_use]
    pub fn added(&self) -> Added {
        let sessions = self.lock();
        let mut all = sessions.added;
        for live in sessions.open.values() {
            all.add(&live.added());
        }
        all
    }

    /// Number of sessions in each phase.
    #[must_use]
    pub fn phases(&self) -> [(Phase, usize); PHASES.len()] {
        let mut counts = PHASES.map(|phase| (phase, 0));
        for live in self.lock().open.values() {
            let phase = live.phase.load(Relaxed);
            if let Some((_, count)) = counts.get_mut(usize::from(phase)) {
                *count += 1;
            }
        }
        counts
    }

    /// Number of tunnels to a gateway that began before this moment and that nothing has ended yet,
    /// at most 256.
    #[must_use]
    pub fn open_since(&self, gateway: &str, before: Moment) -> u32 {
        const MOST: usize = 256;
        let gateway = number(gateway);
        let sessions = self.lock();
        let oldest = sessions.open.values().take(LOOKED_AT);
        let count = oldest
            .filter(|live| live.is_of(gateway) && live.is_up_since(before))
            .take(MOST);
        u32::try_from(count.count()).unwrap_or(u32::MAX)
    }

    /// Sessions that a gateway let in and that began in the minute before this moment, the latest
    /// one first.
    #[must_use]
    pub fn let_in(&self, gateway: &str, before: Moment) -> Vec<LetIn> {
        let gateway = number(gateway);
        let sessions = self.lock();
        let recent = |live: &&Arc<Live>| before.millis_since(live.began()) <= memory::DOWN_MS;
        let newest = sessions.open.values().rev().take(LOOKED_AT);
        newest
            .take_while(recent)
            .filter(|live| live.is_of(gateway))
            .filter_map(|live| {
                let (began, at) = (live.began(), live.let_in.look(&live.opened)?);
                Some(LetIn { began, at })
            })
            .collect()
    }

    /// Upgrade attempts that a gateway has answered and whose sessions are open, the latest one
    /// first.
    #[must_use]
    pub fn answers(&self, gateway: &str, client: &str) -> Vec<Answer> {
        let (gateway, client) = (number(gateway), host(client));
        let sessions = self.lock();
        let newest = sessions.open.values().rev().take(LOOKED_AT);
        newest
            .filter(|live| live.is_of(gateway))
            .filter_map(|live| {
                let about = live.about.get()?;
                let at = live.answered.look(&live.opened)?;
                (about.kind == Kind::Websocket).then(|| Answer {
                    same_client: host(&about.client) == client,
                    at,
                    waited_ms: live.waited_ms.load(Relaxed),
                    is_tunnel: live.is_up(),
                })
            })
            .collect()
    }

    fn lock(&self) -> MutexGuard<'_, Sessions> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Live {
    /// Records an event that ends the session.
    pub fn ends(&self) {
        self.ending.store(true, Relaxed);
    }

    fn began(&self) -> Moment {
        self.opened.at(self.opened.opened())
    }

    fn is_of(&self, gateway: u32) -> bool {
        self.gateway.load(Relaxed) == gateway
    }

    fn is_up(&self) -> bool {
        let phase = self.phase.load(Relaxed);
        let tunnel = [Phase::Handshake as u8, Phase::Open as u8].contains(&phase);
        tunnel && !self.ending.load(Relaxed)
    }

    fn is_up_since(&self, before: Moment) -> bool {
        self.is_up() && self.began() < before
    }

    /// Records that the gateway answered the session's request, after this many milliseconds.
    pub fn answered(&self, waited_ms: u32, now: Instant) {
        self.waited_ms.store(waited_ms, Relaxed);
        self.answered.note(&self.opened, now);
    }

    /// Updates the phase and, once it is known, what the session is about.
    pub fn reached(&self, facts: &Facts, now: Instant) {
        self.phase.store(facts.phase as u8, Relaxed);
        match (facts.phase, &facts.gateway) {
            (Phase::Dial, Some(gateway)) => self.gateway.store(number(&gateway.url), Relaxed),
            (Phase::Open, _) => self.let_in.note(&self.opened, now),
            _ => {}
        }
        // By now the trusted proxy's headers have named the client.
        if facts.phase >= Phase::Admission {
            self.about.get_or_init(|| About {
                kind: facts.kind,
                client: facts.client.addr.as_str().into(),
                host: facts.request.as_ref().and_then(|it| it.host.clone()),
                path: facts.request.as_ref().map(|it| it.path.clone()),
            });
        }
    }

    /// Adds what a direction has relayed by `now`.
    pub fn relayed(&self, direction: Direction, messages: u64, bytes: u64, now: Instant) {
        let way = self.way(direction);
        way.messages.store(messages, Relaxed);
        way.bytes.store(bytes, Relaxed);
        let micros = u64::try_from(self.opened.since(now).as_micros()).unwrap_or(u64::MAX - 1);
        way.last.store(micros.saturating_add(1), Relaxed);
    }

    /// Sets how many bytes of a direction wait for their receiver.
    pub fn waits(&self, direction: Direction, bytes: usize) {
        let way = self.way(direction);
        way.waiting.store(bytes as u64, Relaxed);
    }

    /// Counts the time between reading a slice and writing it. Only the session's own task calls
    /// this.
    pub fn took(&self, time: Duration) {
        self.added.get_or_init(Box::default).count(time);
    }

    /// The counts from [`Live::took`].
    #[must_use]
    pub fn added(&self) -> Added {
        self.added
            .get()
            .map(|added| added.look())
            .unwrap_or_default()
    }

    fn way(&self, direction: Direction) -> &DirectionCounters {
        match direction {
            Direction::ToGateway => &self.to_gateway,
            Direction::ToClient => &self.to_client,
        }
    }

    fn traffic(&self) -> Traffic {
        let flow = |way: &DirectionCounters| Flow {
            messages: way.messages.load(Relaxed),
            bytes: way.bytes.load(Relaxed),
            waiting: way.waiting.load(Relaxed),
        };
        Traffic {
            to_gateway: flow(&self.to_gateway),
            to_client: flow(&self.to_client),
        }
    }

    fn look(&self, now: Instant) -> Snapshot {
        let age = self.opened.since(now);
        let quiet = |way: &DirectionCounters| {
            let last = way.last.load(Relaxed).checked_sub(1)?;
            let last = Duration::from_micros(last);
            Some(millis(age.saturating_sub(last)))
        };
        let about = self.about.get();
        let phase = usize::from(self.phase.load(Relaxed));
        Snapshot {
            id: self.id,
            kind: about.map_or(Kind::Connection, |about| about.kind),
            opened_at: self.began(),
            age_ms: millis(age),
            phase: PHASES.get(phase).copied().unwrap_or_default(),
            client: about.map_or(&*self.peer, |about| &about.client).to_owned(),
            host: about.and_then(|about| about.host.clone()),
            path: about.and_then(|about| about.path.clone()),
            traffic: self.traffic(),
            client_quiet_ms: quiet(&self.to_gateway),
            gateway_quiet_ms: quiet(&self.to_client),
        }
    }
}

impl Since {
    fn note(&self, opened: &Anchor, now: Instant) {
        let ms = u32::try_from(opened.since(now).as_millis()).unwrap_or(u32::MAX - 1);
        self.0.store(ms.saturating_add(1), Relaxed);
    }

    fn look(&self, opened: &Anchor) -> Option<Moment> {
        let ms = self.0.load(Relaxed).checked_sub(1)?;
        Some(opened.at(opened.opened() + Duration::from_millis(ms.into())))
    }
}

/// Hash of a URL; never 0.
fn number(url: &str) -> u32 {
    let mut hasher = DefaultHasher::new();
    url.hash(&mut hasher);
    let [a, b, c, d, ..] = hasher.finish().to_le_bytes();
    u32::from_le_bytes([a, b, c, d]).max(1)
}

impl Entry {
    /// The session's entry.
    #[must_use]
    pub fn live(&self) -> &Arc<Live> {
        &self.live
    }

    /// Returns another entry, which keeps the session open in place of this one.
    #[must_use]
    pub fn hand_over(&mut self) -> Self {
        Self {
            registry: self.registry.take(),
            live: Arc::clone(&self.live),
        }
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        let Some(registry) = &self.registry else {
            return;
        };
        let mut sessions = registry.lock();
        sessions.open.remove(&self.live.id);
        let mut last = self.live.traffic();
        // Nothing is waiting any more: it was delivered or dropped.
        last.to_gateway.waiting = 0;
        last.to_client.waiting = 0;
        sessions.ended.add(last);
        sessions.added.add(&self.live.added());
    }
}

impl Traffic {
    fn add(&mut self, other: Self) {
        for (flow, more) in [
            (&mut self.to_gateway, other.to_gateway),
            (&mut self.to_client, other.to_client),
        ] {
            flow.messages += more.messages;
            flow.bytes += more.bytes;
            flow.waiting += more.waiting;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(registry: &Arc<Registry>, number: u128, start: Instant) -> Entry {
        let anchor = Anchor::new("2026-11-21T00:00:00Z".parse().unwrap(), start);
        registry.open(Uuid::from_u128(number), anchor, "192.0.2.1:5")
    }

    #[test]
    #[cfg(target_pointer_width = "64")]
    fn an_entry_grows_by_nobodys_oversight() {
        let live = size_of::<Live>();
        assert!(live <= 232, "an open session's entry takes {live} bytes");
    }

    #[test]
    fn phases_are_stored_by_their_place() {
        for (at, phase) in PHASES.iter().enumerate() {
            assert_eq!(usize::from(*phase as u8), at, "{phase:?}");
        }
    }

    #[test]
    fn an_open_session_shows_what_it_did_and_for_how_long_it_is_quiet() {
        let (registry, start) = (Arc::<Registry>::default(), Instant::now());
        let at = |ms| start + Duration::from_millis(ms);
        let entry = open(&registry, 1, start);
        entry.live().reached(
            &Facts {
                kind: Kind::Websocket,
                phase: Phase::Handshake,
                ..Facts::default()
            },
            start,
        );
        entry.live().relayed(Direction::ToGateway, 2, 300, at(1000));
        entry.live().waits(Direction::ToClient, 7);
        let (all, count) = registry.look(10, at(3000));
        assert_eq!((all.len(), count), (1, 1));
        let seen = &all[0];
        assert_eq!((seen.kind, seen.phase), (Kind::Websocket, Phase::Handshake));
        assert!((seen.age_ms - 3000.0).abs() < 1e-9);
        assert_eq!(seen.client_quiet_ms, Some(2000.0));
        assert_eq!(seen.gateway_quiet_ms, None);
        assert_eq!(seen.traffic.to_gateway.bytes, 300);
        assert_eq!(registry.phases()[6], (Phase::Handshake, 1));
        assert_eq!(registry.traffic().to_client.waiting, 7);
    }

    #[test]
    fn totals_never_go_back_and_the_list_is_bounded() {
        let (registry, start) = (Arc::<Registry>::default(), Instant::now());
        let mut all: Vec<Entry> = (0..5).map(|n| open(&registry, n, start)).collect();
        for entry in &all {
            entry.live().relayed(Direction::ToClient, 1, 10, start);
            entry.live().waits(Direction::ToClient, 3);
            entry.live().took(Duration::from_micros(7));
        }
        let (shown, count) = registry.look(2, start);
        assert_eq!((shown.len(), count), (2, 5));
        assert_eq!(shown[0].id, Uuid::from_u128(0), "the oldest first");
        while let Some(entry) = all.pop() {
            drop(entry);
            let flow = registry.traffic().to_client;
            assert_eq!((flow.messages, flow.bytes), (5, 50));
            let added = registry.added();
            assert_eq!(
                (added.count(), added.sum_ns, added.max_ns),
                (5, 35_000, 7_000)
            );
            assert_eq!(flow.waiting, 3 * all.len() as u64);
        }
        assert_eq!(registry.look(9, start).1, 0);
    }
}
