//! A small, bounded memory of recent sessions, and what it adds to the one that ends now.
//!
//! Sessions that die together explain each other: one lost session is a riddle, three in the same
//! second are a crash, and three that died after the same silence are somebody's timer. Pure: the
//! times are those of the records.

use std::collections::VecDeque;
use std::net::IpAddr;

use super::moment::Moment;
use super::party::Leg;
use super::record::context::{Boot, Cadence, ContextFacts, Measure, OtherCredential};
use super::record::dialect::ConnectResult;
use super::record::{Kind, SessionRecord};
use super::text::PeerText;

/// Most sessions that are remembered.
const MAX: usize = 1024;

/// How long they are, in milliseconds: three times the longest cadence that is known.
const REACH_MS: i64 = 3 * 3600 * 1000;

/// Deaths within this time of each other are one event.
const TOGETHER_MS: i64 = 1000;

/// Windows of the counters.
const MISMATCH_MS: i64 = 5 * 60 * 1000;
const ATTEMPT_MS: i64 = 60 * 1000;

/// Defaults of well-known proxies and load balancers, in seconds.
const KNOWN_S: [u32; 8] = [30, 58, 60, 100, 180, 300, 350, 3600];

/// Shorter lives say nothing about timers.
const LEAST_PERIOD_MS: u64 = 1500;

/// Other credentials and boots that are told at most.
const MAX_TOLD: usize = 4;

/// Recent sessions.
#[derive(Debug, Default)]
pub struct Memory(VecDeque<Remembered>);

#[derive(Clone, Debug)]
struct Remembered {
    id: uuid::Uuid,
    client: Option<IpAddr>,
    gateway: String,
    opened_at: Moment,
    closed_at: Moment,
    /// The leg that ended first, without a Close from anybody; and when.
    lost: Option<(Leg, Moment)>,
    age_ms: u64,
    silence_ms: Option<u64>,
    credential: Option<(String, String)>,
    accepted: bool,
    mismatch: bool,
    boot: Option<PeerText>,
}

/// The leg whose transport ended first, where neither side said a word and no timer of ours fired.
#[must_use]
pub fn lost(record: &SessionRecord) -> Option<(Leg, Moment)> {
    let close = &record.close;
    let silent = close.client.is_none() && close.gateway.is_none() && close.tap.is_none();
    if !record.had_tunnel() || !silent || close.timer.is_some() || close.drained {
        return None;
    }
    let ends = &close.transport;
    let by_peer = |leg, end: super::record::TransportEnd, at: Option<Moment>| {
        at.filter(|_| end.is_by_peer()).map(|at| (leg, at))
    };
    let gateway = by_peer(Leg::Gateway, ends.gateway, ends.gateway_at);
    let client = by_peer(Leg::Client, ends.client, ends.client_at);
    [gateway, client]
        .into_iter()
        .flatten()
        .min_by_key(|(_, at)| *at)
}

impl Remembered {
    fn of(record: &SessionRecord) -> Self {
        let lost = lost(record);
        let end = lost.map_or(record.closed_at, |(_, at)| at);
        let span = |from: Moment| u64::try_from(end.millis_since(from)).unwrap_or(0);
        let last_byte = record
            .frames
            .as_ref()
            .and_then(|frames| frames.to_gateway.last_at.max(frames.to_client.last_at));
        let dialect = record.dialect.as_ref();
        let result = dialect.map(|dialect| dialect.result);
        Self {
            id: record.id,
            client: client_ip(record),
            gateway: record
                .gateway
                .as_ref()
                .map(|gateway| gateway.url.clone())
                .unwrap_or_default(),
            opened_at: record.opened_at,
            closed_at: end,
            lost,
            age_ms: span(record.opened_at),
            silence_ms: last_byte.map(span),
            credential: credential(record),
            accepted: result == Some(ConnectResult::Accepted),
            mismatch: dialect
                .and_then(|dialect| dialect.error.as_ref()?.details_code.as_ref())
                .is_some_and(|code| code.as_str() == "AUTH_TOKEN_MISMATCH"),
            boot: dialect.and_then(|dialect| dialect.server.as_ref()?.boot_id.clone()),
        }
    }
}

/// The address without the port: each attempt has another one.
fn client_ip(record: &SessionRecord) -> Option<IpAddr> {
    let addr = record.client.addr.as_str();
    let socket = addr.parse().map(|socket: std::net::SocketAddr| socket.ip());
    socket.or_else(|_| addr.parse()).ok()
}

/// The credential that the gateway looked at: place and fingerprint.
fn credential(record: &SessionRecord) -> Option<(String, String)> {
    let found = record.auth.iter().find(|one| one.effective == Some(true));
    found.map(|one| (one.place.clone(), one.fingerprint.clone()))
}

impl Memory {
    /// Remembers an upgrade attempt; other records say nothing here.
    pub fn note(&mut self, record: &SessionRecord) {
        if record.kind != Kind::Websocket {
            return;
        }
        self.0.push_back(Remembered::of(record));
        let now = record.closed_at;
        while self.0.len() > MAX
            || self
                .0
                .front()
                .is_some_and(|old| now.millis_since(old.closed_at) > REACH_MS)
        {
            self.0.pop_front();
        }
    }

    /// What the remembered sessions say about this one, which is among them or not.
    #[must_use]
    pub fn context(&self, record: &SessionRecord) -> Option<ContextFacts> {
        if record.kind != Kind::Websocket {
            return None;
        }
        let this = Remembered::of(record);
        let others: Vec<&Remembered> = self
            .0
            .iter()
            .filter(|other| other.id != this.id && other.gateway == this.gateway)
            .collect();
        let count = |is_it: &dyn Fn(&Remembered) -> bool| {
            let count = others.iter().filter(|other| is_it(other)).count();
            u32::try_from(count).unwrap_or(u32::MAX)
        };
        let with_this = |other: &Remembered| {
            this.lost.is_some_and(|(leg, at)| {
                other.lost.is_some_and(|(its_leg, its)| {
                    its_leg == leg && its.millis_since(at).abs() <= TOGETHER_MS
                })
            })
        };
        let silence = this.silence_ms.filter(|own| *own >= LEAST_PERIOD_MS);
        let as_silent = |other: &Remembered| {
            let its = other.silence_ms.zip(silence);
            its.is_some_and(|(its, own)| alike(its, own))
        };
        let within = |other: &Remembered, window: i64| {
            let ago = this.closed_at.millis_since(other.closed_at);
            (0..=window).contains(&ago)
        };
        let attempts = count(&|other| {
            let ago = this.opened_at.millis_since(other.opened_at);
            other.client == this.client && (0..=ATTEMPT_MS).contains(&ago)
        });
        let (boots, boots_alternate) = boots(&others, &this);
        Some(ContextFacts {
            remembered: others.len(),
            lost_together: count(&with_this),
            lost_alike: count(&|other| with_this(other) && as_silent(other)),
            cadence: cadence(&others, &this),
            other_credentials: other_credentials(&others, &this),
            boots,
            boots_alternate,
            mismatches: count(&|other| other.mismatch && within(other, MISMATCH_MS)),
            attempts: attempts + 1,
        })
    }
}

/// Within 5 % of each other.
fn alike(value: u64, own: u64) -> bool {
    value.abs_diff(own).saturating_mul(20) <= own
}

/// The most numerous cluster that this death belongs to; silence before age, as it says more.
fn cadence(others: &[&Remembered], this: &Remembered) -> Option<Cadence> {
    let (leg, _) = this.lost?;
    let value = |measure: Measure, one: &Remembered| match measure {
        Measure::Silence => one.silence_ms,
        Measure::Age => Some(one.age_ms),
    };
    let cluster = |measure: Measure| {
        let own = value(measure, this).filter(|own| *own >= LEAST_PERIOD_MS)?;
        let mut deaths: Vec<(Moment, u64)> = others
            .iter()
            .filter(|other| other.lost.is_some_and(|(its, _)| its == leg))
            .filter_map(|other| Some((other.closed_at, value(measure, other)?)))
            .filter(|(_, value)| alike(*value, own))
            .collect();
        deaths.sort_unstable();
        // Sessions that died at one moment share a cause, which need not be a timer: they count as
        // one, and so does this one with those that died beside it.
        let mut last = None;
        deaths.retain(|(at, _)| {
            let apart = |than: Moment| at.millis_since(than).abs() > TOGETHER_MS;
            let counts = apart(this.closed_at) && last.is_none_or(apart);
            if counts {
                last = Some(*at);
            }
            counts
        });
        let mut values: Vec<u64> = deaths.into_iter().map(|(_, value)| value).collect();
        values.push(own);
        values.sort_unstable();
        let period_ms = values.get(values.len() / 2).copied()?;
        let known = |seconds: &u32| {
            let wanted = u64::from(*seconds) * 1000;
            period_ms.abs_diff(wanted) * 100 <= wanted * 3
        };
        Some(Cadence {
            measure,
            leg,
            period_ms,
            cases: u32::try_from(values.len()).unwrap_or(u32::MAX),
            known_s: KNOWN_S.iter().copied().find(known),
        })
    };
    let found = [Measure::Silence, Measure::Age].into_iter();
    let found = found.filter_map(cluster);
    found
        .filter(|cadence| cadence.cases >= 3)
        .reduce(|best, next| if next.cases > best.cases { next } else { best })
}

fn other_credentials(others: &[&Remembered], this: &Remembered) -> Vec<OtherCredential> {
    let Some((place, fingerprint)) = &this.credential else {
        return Vec::new();
    };
    let mut found: Vec<OtherCredential> = Vec::new();
    let same_client = others
        .iter()
        .filter(|other| other.client.is_some() && other.client == this.client);
    for other in same_client {
        let Some((its_place, its)) = &other.credential else {
            continue;
        };
        if its_place != place || its == fingerprint {
            continue;
        }
        match found.iter_mut().find(|known| known.fingerprint == *its) {
            Some(known) => {
                known.sessions += 1;
                known.accepted |= other.accepted;
                known.last_at = known.last_at.max(other.closed_at);
            }
            None => found.push(OtherCredential {
                fingerprint: its.clone(),
                sessions: 1,
                accepted: other.accepted,
                last_at: other.closed_at,
            }),
        }
    }
    // What works first, then the latest.
    found.sort_by_key(|one| (!one.accepted, std::cmp::Reverse(one.last_at)));
    found.truncate(MAX_TOLD);
    found
}

fn boots(others: &[&Remembered], this: &Remembered) -> (Vec<Boot>, bool) {
    let mut boots: Vec<Boot> = Vec::new();
    let (mut alternate, mut last) = (false, None::<&PeerText>);
    for one in others.iter().copied().chain([this]) {
        let Some(id) = &one.boot else { continue };
        match boots.iter_mut().find(|boot| boot.id == *id) {
            Some(boot) => {
                alternate |= last.is_some_and(|last| last != id);
                boot.sessions += 1;
                boot.last_at = boot.last_at.max(one.closed_at);
            }
            None => boots.push(Boot {
                id: id.clone(),
                sessions: 1,
                first_at: one.opened_at,
                last_at: one.closed_at,
            }),
        }
        last = Some(id);
    }
    let surplus = boots.len().saturating_sub(MAX_TOLD);
    boots.drain(..surplus);
    (boots, alternate)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::record::{DialectFacts, GatewayFacts, TransportEnd};

    fn at(ms: i64) -> Moment {
        Moment(jiff::Timestamp::from_millisecond(1_795_000_000_000 + ms).unwrap())
    }

    /// A session that opened and closed then (in milliseconds), lost by the gateway's leg.
    fn session(number: u128, opened: i64, closed: i64) -> SessionRecord {
        let mut record = SessionRecord {
            id: uuid::Uuid::from_u128(number + 1),
            kind: Kind::Websocket,
            opened_at: at(opened),
            closed_at: at(closed),
            phase: crate::session::Phase::Open,
            gateway: Some(GatewayFacts {
                url: "http://gw".to_owned(),
                ..GatewayFacts::default()
            }),
            frames: Some(crate::session::record::Frames::default()),
            ..SessionRecord::default()
        };
        record.client.addr = format!("203.0.113.9:{}", 1000 + number);
        record.close.transport.gateway = TransportEnd::Fin;
        record.close.transport.gateway_at = Some(at(closed));
        assert!(lost(&record).is_some(), "the test's session had a tunnel");
        record
    }

    fn last_context(records: &[SessionRecord]) -> ContextFacts {
        let mut memory = Memory::default();
        for record in records {
            memory.note(record);
        }
        memory.context(records.last().unwrap()).unwrap()
    }

    #[test]
    fn sessions_lost_within_a_second_are_lost_together() {
        let records = [
            session(0, 0, 10_000),
            session(1, 0, 50_000),
            session(2, 3_000, 50_400),
            session(3, 9_000, 50_900),
        ];
        assert_eq!(last_context(&records).lost_together, 2);
    }

    #[test]
    fn another_gateways_sessions_say_nothing() {
        let mut other = session(0, 0, 50_000);
        other.gateway.as_mut().unwrap().url = "http://other".to_owned();
        let context = last_context(&[other, session(1, 0, 50_100)]);
        assert_eq!((context.remembered, context.lost_together), (0, 0));
    }

    #[test]
    fn three_of_the_same_age_are_a_cadence_and_two_are_not() {
        let lives: [(i64, i64); 3] = [(0, 60_000), (70_000, 130_500), (140_000, 199_800)];
        let records: Vec<_> = (0..)
            .zip(lives)
            .map(|(n, (a, b))| session(n, a, b))
            .collect();
        assert_eq!(last_context(&records[..2]).cadence, None);
        let cadence = last_context(&records).cadence.unwrap();
        assert_eq!((cadence.cases, cadence.known_s), (3, Some(60)));
        assert_eq!(cadence.measure, Measure::Age);
        let odd = [
            session(0, 0, 60_000),
            session(1, 0, 71_000),
            session(2, 0, 90_000),
        ];
        assert_eq!(last_context(&odd).cadence, None);
    }

    #[test]
    fn deaths_of_one_moment_are_no_cadence() {
        let records: Vec<_> = (0..5).map(|n| session(n, 0, 60_000)).collect();
        let context = last_context(&records);
        assert_eq!((context.cadence, context.lost_together), (None, 4));
    }

    #[test]
    fn deaths_of_one_moment_count_once() {
        // Three that were opened together die together, again and again.
        let rounds = (0..3_i64).flat_map(|round| (0..3_i64).map(move |nth| (round, nth)));
        let records: Vec<_> = (0..)
            .zip(rounds)
            .map(|(number, (round, nth))| {
                let start = round * 70_000 + nth * 10;
                session(number, start, start + 60_000)
            })
            .collect();
        assert_eq!(last_context(&records[..3]).cadence, None);
        assert_eq!(last_context(&records[..6]).cadence, None);
        assert_eq!(last_context(&records).cadence.unwrap().cases, 3);
    }

    #[test]
    fn what_was_as_silent_is_counted_among_what_was_lost_together() {
        let silent_since = |number, last: i64| {
            let mut record = session(number, 0, 50_000);
            let frames = record.frames.as_mut().unwrap();
            frames.to_client.last_at = Some(at(last));
            record
        };
        let records = [
            silent_since(0, 20_000),
            silent_since(1, 20_300),
            silent_since(2, 49_000),
            silent_since(3, 20_100),
        ];
        let context = last_context(&records);
        assert_eq!((context.lost_together, context.lost_alike), (3, 2));
        // A second of silence is no sign of a timer.
        let busy = last_context(&records[..3]);
        assert_eq!((busy.lost_together, busy.lost_alike), (2, 0));
    }

    #[test]
    fn other_credentials_of_the_same_client_what_works_first() {
        use crate::session::credential::{Credential, Fingerprinter};
        let fingerprinter = Fingerprinter::with_key(b"a key for the tests");
        let with = |number, secret: &str, result| {
            let mut record = session(number, 0, 1000 + i64::try_from(number).unwrap());
            let place = "frame:connect.params.auth.token";
            let mut credential = Credential::observe(&fingerprinter, place, secret.as_bytes());
            credential.effective = Some(true);
            record.auth = vec![credential];
            record.dialect = Some(DialectFacts {
                result,
                ..DialectFacts::default()
            });
            record
        };
        let records = [
            with(0, "right", ConnectResult::Accepted),
            with(1, "older", ConnectResult::Refused),
            with(2, "wrong", ConnectResult::Refused),
            with(3, "wrong", ConnectResult::Refused),
        ];
        let others = last_context(&records).other_credentials;
        let works: Vec<bool> = others.iter().map(|other| other.accepted).collect();
        assert_eq!(works, [true, false]);
        let right = fingerprinter.fingerprint(b"right");
        assert_eq!(others[0].fingerprint, right.as_str());
    }

    #[test]
    fn two_gateways_behind_one_name_alternate() {
        let with = |number, boot: &str| {
            let mut record = session(number, 0, 1000);
            let server = crate::session::record::dialect::ServerIdentity {
                boot_id: Some(PeerText::new(boot, 64)),
                ..Default::default()
            };
            record.dialect = Some(DialectFacts {
                server: Some(server),
                ..DialectFacts::default()
            });
            record
        };
        let restart = last_context(&[with(0, "a"), with(1, "b"), with(2, "b")]);
        assert_eq!((restart.boots.len(), restart.boots_alternate), (2, false));
        let two = last_context(&[with(0, "a"), with(1, "b"), with(2, "a")]);
        assert!(two.boots_alternate);
    }

    #[test]
    fn the_memory_is_bounded() {
        let mut memory = Memory::default();
        for number in 0..3000 {
            memory.note(&session(number, 0, 1000));
        }
        assert_eq!(memory.0.len(), MAX);
        memory.note(&session(4000, 0, REACH_MS + 2000));
        assert_eq!(memory.0.len(), 1, "what is too old goes");
    }
}
