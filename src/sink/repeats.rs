//! Joins repeated endings, so that a flood cannot rotate the evidence out of the records file.
//!
//! Records are kept for as long as the file's rotation has room for them. A client that causes a thousand refused
//! upgrades a second would fill it with copies of one ending. So each client has a budget of records per rule, which
//! refills slowly, and all clients together have one per rule. A client's first ending is not charged to the shared
//! budget: otherwise a few addresses could use it up and hide the failures of other clients. An ending beyond the
//! budgets is joined with those that follow within [`WINDOW`]: the last of them is recorded, in full and with their
//! number. The first ones have already been recorded.
//!
//! Endings of different rules or kinds are never joined. Sessions that the gateway's application
//! has accepted have a far larger budget per client and no common one: a stranger cannot create
//! such sessions.

use std::collections::{HashMap, VecDeque};
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::session::SessionRecord;
use crate::session::moment::Moment;
use crate::session::party::Phase;
use crate::session::record::dialect::ConnectResult;
use crate::session::record::{Kind, Repeats};

/// How long endings are joined before the last of them is recorded: the longest time before an
/// operator sees that they continue.
const WINDOW: Duration = Duration::from_mins(1);

/// Maximum number of pairs of client and rule with a budget of their own. Each may hold a record of
/// some KiB.
const MAX_CLIENTS: usize = 1024;

/// Time after which an ending of the same client and rule counts as its first again.
const NEWS: Duration = Duration::from_hours(1);

/// Budget of first endings per rule, for all clients: as many as there are separate clients. Only a flood of addresses
/// exceeds it.
const FIRSTS: Allowance = Allowance {
    most: 1024,
    per_minute: 10,
};

/// Minimum interval between sweeps of a full table, which drop pairs with a full budget. A sweep takes time, and a
/// flood of addresses would cause one at every ending.
const SWEEP: Duration = Duration::from_secs(1);

/// Joins repeated endings.
#[derive(Debug, Default)]
pub(super) struct Joiner {
    rules: HashMap<Kind, HashMap<Box<str>, OfRule>>,
    /// Number of pairs of client and rule over all rules.
    clients: usize,
    swept: Option<Instant>,
    /// When held records are due, in this order.
    due: VecDeque<(Instant, HeldKey)>,
}

/// The endings of one rule.
#[derive(Debug, Default)]
struct OfRule {
    all: Of,
    firsts: Budget,
    clients: HashMap<(Client, Standing), Of>,
}

/// The endings of one rule, of one client or of all clients.
#[derive(Debug, Default)]
struct Of {
    budget: Budget,
    /// When the first ending of a client was recorded.
    first: Option<Instant>,
    held: Option<Held>,
}

/// Key of a held record.
#[derive(Debug)]
struct HeldKey {
    kind: Kind,
    rule: Box<str>,
    /// `None`: for many clients.
    client: Option<(Client, Standing)>,
}

/// Endings that were joined.
#[derive(Debug)]
struct Held {
    last: Arc<SessionRecord>,
    count: u64,
    first_at: Moment,
    last_at: Moment,
}

/// The unit that counts as one client, as for `limits.per_client`: an IPv6 /64 is one client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Client {
    Address(IpAddr),
    /// A client of a unix socket, or unknown.
    Local,
}

impl Client {
    fn of(record: &SessionRecord) -> Self {
        let text = record.client.addr.as_str();
        let address = text.parse::<SocketAddr>().map(|addr| addr.ip());
        let Ok(address) = address.or_else(|_| text.parse::<IpAddr>()) else {
            return Self::Local;
        };
        Self::Address(match address.to_canonical() {
            IpAddr::V6(address) => {
                let network = address.to_bits() >> 64 << 64;
                IpAddr::V6(Ipv6Addr::from_bits(network))
            }
            address @ IpAddr::V4(_) => address,
        })
    }
}

/// How far a session got, which limits who can have caused it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Standing {
    /// Any client that can connect can cause it.
    Stranger,
    /// Any client that gets a tunnel to a gateway whose application we do not know can cause it.
    Tunnel,
    /// The application has accepted the session.
    Admitted,
}

/// Number of records per rule for a client, or for all clients together.
#[derive(Clone, Copy, Debug)]
struct Allowance {
    /// Maximum at once.
    most: u32,
    /// Refill per minute.
    per_minute: u32,
}

impl Standing {
    fn of(record: &SessionRecord) -> Self {
        if record.application().result == ConnectResult::Accepted {
            Self::Admitted
        } else if record.phase >= Phase::Open {
            Self::Tunnel
        } else {
            Self::Stranger
        }
    }

    /// Allowance of one client.
    ///
    /// A record is 2 to 20 KiB. With these figures a stranger whose sessions end in twenty ways
    /// fills less than 1 MiB a minute in the long run, and the default retention is 576 MiB.
    fn of_client(self) -> Allowance {
        let (most, per_minute) = match self {
            Self::Stranger => (20, 1),
            Self::Tunnel => (100, 20),
            Self::Admitted => (500, 100),
        };
        Allowance { most, per_minute }
    }

    /// Allowance of all clients together; `None`: unlimited.
    fn of_all(self) -> Option<Allowance> {
        match self {
            // Strangers and tunnels share one pool, with the larger allowance for tunnels.
            Self::Stranger => Some(Allowance {
                most: 200,
                per_minute: 10,
            }),
            Self::Tunnel => Some(Allowance {
                most: 1000,
                per_minute: 100,
            }),
            Self::Admitted => None,
        }
    }
}

/// A budget that refills.
#[derive(Clone, Copy, Debug, Default)]
struct Budget {
    /// Amount used, in thousandths of a record.
    used: u64,
    at: Option<Instant>,
}

/// One record in the budget's unit.
const ONE: u64 = 1000;

impl Budget {
    /// Amount used at this time.
    fn used(&self, now: Instant, allowance: Allowance) -> u64 {
        let since = self.at.map(|at| now.saturating_duration_since(at));
        let ms = since.map_or(0, |since| since.as_millis());
        let ms = u64::try_from(ms).unwrap_or(u64::MAX);
        let back = ms.saturating_mul(u64::from(allowance.per_minute)) / 60 * ONE / 1000;
        self.used.saturating_sub(back)
    }

    fn has(&self, now: Instant, allowance: Allowance) -> bool {
        self.used(now, allowance) + ONE <= u64::from(allowance.most) * ONE
    }

    fn take(&mut self, now: Instant, allowance: Allowance) {
        self.used = self.used(now, allowance) + ONE;
        self.at = Some(now);
    }
}

impl Of {
    /// Whether this is the client's first ending, or the first after a long time, and has yet to be
    /// recorded.
    fn is_news(&self, now: Instant) -> bool {
        let old = |first| now.saturating_duration_since(first) >= NEWS;
        self.first.is_none_or(old)
    }

    /// Joins an ending with those that are held. Returns whether it is the first.
    fn join(&mut self, record: &Arc<SessionRecord>) -> bool {
        let (began, ended) = (record.opened_at, record.closed_at);
        let Some(held) = &mut self.held else {
            self.held = Some(Held {
                last: Arc::clone(record),
                count: 1,
                first_at: began,
                last_at: ended,
            });
            return true;
        };
        held.count += 1;
        held.first_at = held.first_at.min(began);
        held.last_at = held.last_at.max(ended);
        held.last = Arc::clone(record);
        false
    }
}

impl Joiner {
    /// Whether this record is to be written by itself. Otherwise it is joined with others, and
    /// [`Joiner::due`] returns them as one record.
    pub(super) fn admit(&mut self, record: &Arc<SessionRecord>, now: Instant) -> bool {
        let rule = record.verdict.as_ref().map_or("", |it| it.rule.as_str());
        let client = (Client::of(record), Standing::of(record));
        let of_kind = self.rules.entry(record.kind).or_default();
        if !of_kind.contains_key(rule) {
            of_kind.insert(rule.into(), OfRule::default());
        }
        let known = of_kind
            .get(rule)
            .is_some_and(|it| it.clients.contains_key(&client));
        if !known && self.clients >= MAX_CLIENTS {
            self.sweep(now);
        }
        let room = known || self.clients < MAX_CLIENTS;
        let Some(of_rule) = self
            .rules
            .get_mut(&record.kind)
            .and_then(|it| it.get_mut(rule))
        else {
            return true;
        };
        let standing = client.1;
        let mut of_client = None;
        if room {
            self.clients += usize::from(!known);
            of_client = Some(of_rule.clients.entry(client).or_default());
        }
        let shared = standing.of_all();
        if let Some(of_client) = of_client.as_deref_mut()
            && shared.is_some()
            && of_client.is_news(now)
            && of_rule.firsts.has(now, FIRSTS)
        {
            of_rule.firsts.take(now, FIRSTS);
            of_client.budget.take(now, standing.of_client());
            of_client.first = Some(now);
            return true;
        }
        let own = standing.of_client();
        let mine = of_client.as_ref().is_none_or(|it| it.budget.has(now, own));
        let ours = shared.is_none_or(|shared| of_rule.all.budget.has(now, shared));
        if mine && ours {
            if let Some(of_client) = of_client {
                of_client.budget.take(now, own);
            }
            if let Some(shared) = shared {
                of_rule.all.budget.take(now, shared);
            }
            return true;
        }
        let (place, is_first) = match of_client.filter(|_| !mine) {
            Some(of_client) => (Some(client), of_client.join(record)),
            None => (None, of_rule.all.join(record)),
        };
        if is_first {
            let place = HeldKey {
                kind: record.kind,
                rule: rule.into(),
                client: place,
            };
            self.due.push_back((now + WINDOW, place));
        }
        false
    }

    /// A joined record that is due.
    pub(super) fn due(&mut self, now: Instant) -> Option<Arc<SessionRecord>> {
        loop {
            if self.due.front().is_none_or(|(due, _)| *due > now) {
                return None;
            }
            let (_, place) = self.due.pop_front()?;
            if let Some(record) = self.release(&place) {
                return Some(record);
            }
        }
    }

    /// The next held record, due or not.
    pub(super) fn rest(&mut self) -> Option<Arc<SessionRecord>> {
        let (_, place) = self.due.pop_front()?;
        self.release(&place)
    }

    fn release(&mut self, place: &HeldKey) -> Option<Arc<SessionRecord>> {
        let of_rule = self.rules.get_mut(&place.kind)?.get_mut(&place.rule)?;
        let of = match place.client {
            Some(client) => of_rule.clients.get_mut(&client)?,
            None => &mut of_rule.all,
        };
        let Held {
            mut last,
            count,
            first_at,
            last_at,
        } = of.held.take()?;
        if count > 1 {
            Arc::make_mut(&mut last).repeats = Some(Repeats {
                count,
                first_at,
                last_at,
                many_clients: place.client.is_none(),
            });
        }
        Some(last)
    }

    /// Drops clients with a full budget.
    fn sweep(&mut self, now: Instant) {
        let recent = |swept| now.saturating_duration_since(swept) < SWEEP;
        if self.swept.is_some_and(recent) {
            return;
        }
        self.swept = Some(now);
        self.clients = 0;
        for of_rule in self.rules.values_mut().flat_map(HashMap::values_mut) {
            of_rule.clients.retain(|(_, standing), of| {
                of.held.is_some() || of.budget.used(now, standing.of_client()) > 0
            });
            self.clients += of_rule.clients.len();
        }
        tracing::debug!(
            clients = self.clients,
            "forgot clients whose endings do not repeat"
        );
    }
}

#[cfg(test)]
mod tests;
