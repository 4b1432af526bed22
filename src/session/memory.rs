//! A small, bounded memory of recent sessions, and what it adds to the one that ends now.
//!
//! Sessions that die together explain each other: one lost session is a riddle, three in the same
//! second are a crash, and three that died after the same silence are somebody's timer. Pure: the
//! times are those of the records.

mod around;
mod cadence;
mod cancels;
mod credentials;
mod down;
mod living;
mod numbers;
mod together;

use std::collections::VecDeque;
use std::net::IpAddr;
use std::ops::Deref;

use self::around::Around;
use self::cadence::cadence;
pub use self::cadence::{FAR_FROM_CHANCE, WAVES_ALIKE};
use self::cancels::Attempt;
pub use self::cancels::answered_after_ms;
use self::down::{Announced, going_down, shutdown};
pub use self::down::{DOWN_MS, ONE_EVENT, announcement};
pub use self::living::{Answer, Asks, LetIn, Living, asks};
use self::numbers::{Number, Numbers};
use self::together::Together;
use super::credential::{Credential, compared, sends};
use super::moment::Moment;
use super::party::{Leg, Phase};
use super::record::context::{ContextFacts, GatewayRelease, GoingDown, SAME_PROCESS_MS};
use super::record::dialect::{ConnectResult, DialectError};
use super::record::gateway::ForwardedMode;
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

/// Processes that end one after the other within this time end in a loop.
const LOOP_MS: i64 = 10 * 60 * 1000;

/// Sessions lost within a second that stand for a process that ended.
const CRASH: usize = 3;

/// Defaults of well-known proxies and load balancers, in seconds.
pub const PERIODS_S: [u32; 8] = [30, 58, 60, 100, 180, 300, 350, 3600];

/// Shorter lives say nothing about timers.
const LEAST_PERIOD_MS: u64 = 1500;

/// Other credentials and boots that are told at most.
const MAX_TOLD: usize = 4;

/// Recent sessions. Each one that ends is compared with all of them, so what is compared stands in
/// short rows, as numbers.
#[derive(Debug, Default)]
pub struct Memory {
    sessions: VecDeque<Remembered>,
    texts: Numbers<String>,
    clients: Numbers<IpAddr>,
    announced: Announced,
}

/// What is compared of a session.
#[derive(Debug)]
struct Remembered {
    id: uuid::Uuid,
    opened_at: Moment,
    closed_at: Moment,
    /// When the gateway accepted it, or else when it began.
    heard_at: Moment,
    client: Option<Number>,
    gateway: Number,
    /// Place and fingerprint.
    credential: Option<(Number, Number)>,
    boot: Option<Number>,
    device: Option<Number>,
    /// Fingerprint of the device token that the gateway issued.
    issued: Option<Number>,
    accepted: bool,
    /// Past the handshake of its application.
    open: bool,
    mismatch: bool,
    /// It was lost, or the gateway said that it goes down.
    tells_of_an_end: bool,
    rest: Box<Rest>,
}

/// What is asked of a few.
#[derive(Debug)]
struct Rest {
    /// The leg that ended first, without a Close from anybody; and when.
    lost: Option<(Leg, Moment)>,
    age_ms: u64,
    silence_ms: Option<u64>,
    attempt: Attempt,
    /// Our kernel gave up on a leg: after what silence is decided by our own keepalive.
    given_up: bool,
    boot: Option<PeerText>,
    /// When its process began, where the gateway has no boot ids.
    began_at: Option<Moment>,
    version: Option<PeerText>,
    protocol: Option<u64>,
    max_payload: Option<u64>,
    device: Option<PeerText>,
    /// The gateway closed it because the device was removed.
    removed: bool,
    /// The gateway said that it goes down.
    shutdown: Option<GoingDown>,
}

impl Deref for Remembered {
    type Target = Rest;

    fn deref(&self) -> &Rest {
        &self.rest
    }
}

/// The leg whose transport ended first, where neither side said a word and no timer of ours fired.
#[must_use]
pub fn lost(record: &SessionRecord) -> Option<(Leg, Moment)> {
    let close = &record.close;
    let silent = close.client.is_none() && close.gateway.is_none() && close.tap.is_none();
    let ours = close.timer.is_some() || close.cap.is_some() || close.drained;
    if !record.had_tunnel() || !silent || ours {
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

/// Time of the event that ended a session; its record may be finished later.
fn ended_at(record: &SessionRecord, lost: Option<(Leg, Moment)>) -> Moment {
    let ends = &record.close.transport;
    let unanswered = ends
        .gateway_at
        .filter(|_| ends.gateway.is_by_peer() && !record.had_tunnel());
    lost.map(|(_, at)| at)
        .or(unanswered)
        .unwrap_or(record.closed_at)
}

fn within_a_second(one: Moment, other: Moment) -> bool {
    one.millis_since(other).abs() <= TOGETHER_MS
}

/// Whether two uptimes are those of one process, by the times at which it began.
fn is_one_process(one: Moment, other: Moment) -> bool {
    one.millis_since(other).abs() <= SAME_PROCESS_MS
}

impl Remembered {
    /// `text` and `client` give the numbers of values.
    fn of(
        record: &SessionRecord,
        mut text: impl FnMut(&str) -> Number,
        client: impl FnOnce(&IpAddr) -> Number,
    ) -> Self {
        let rest = Rest::of(record);
        let dialect = record.dialect.as_ref();
        let gateway = record.gateway.as_ref();
        let issued = dialect.and_then(|dialect| dialect.issued_token.as_deref());
        Self {
            id: record.id,
            opened_at: record.opened_at,
            closed_at: ended_at(record, rest.lost),
            heard_at: dialect
                .and_then(|dialect| dialect.answered_at)
                .unwrap_or(record.opened_at),
            client: client_ip(record).as_ref().map(client),
            gateway: text(gateway.map_or("", |gateway| &gateway.url)),
            credential: credential(record).map(|(place, print)| (text(place), text(print))),
            boot: rest.boot.as_ref().map(|boot| text(boot.as_str())),
            device: rest.device.as_ref().map(|device| text(device.as_str())),
            issued: issued.map(text),
            accepted: dialect.map(|dialect| dialect.result) == Some(ConnectResult::Accepted),
            open: record.had_tunnel() && record.phase >= Phase::Open,
            mismatch: dialect
                .and_then(|dialect| dialect.error.as_ref())
                .is_some_and(|error| is_mismatch(error, &record.auth)),
            tells_of_an_end: rest.lost.is_some() || rest.shutdown.is_some(),
            rest: Box::new(rest),
        }
    }

    /// Both are known to have been let in by one process.
    fn shares_process_with(&self, other: &Self) -> bool {
        match (self.boot, other.boot) {
            (None, None) => {
                let began = self.began_at.zip(other.began_at);
                began.is_some_and(|(one, other)| is_one_process(one, other))
            }
            (one, other) => one == other,
        }
    }

    /// What its hello-ok showed of the gateway.
    fn release(&self) -> GatewayRelease {
        GatewayRelease {
            version: self.version.clone(),
            protocol: self.protocol,
            max_payload: self.max_payload,
            has_boot_id: self.boot.is_some(),
            at: Some(self.heard_at),
        }
    }

    /// The texts that it holds.
    fn texts(&self) -> impl Iterator<Item = Number> {
        let (place, print) = self.credential.unzip();
        let some = [place, print, self.boot, self.device, self.issued];
        some.into_iter().flatten().chain([self.gateway])
    }
}

impl Rest {
    fn of(record: &SessionRecord) -> Self {
        let lost = lost(record);
        let end = lost.map_or(record.closed_at, |(_, at)| at);
        let span = |from: Moment| u64::try_from(end.millis_since(from)).unwrap_or(0);
        let last_byte = record
            .frames
            .as_ref()
            .and_then(|frames| frames.to_gateway.last_at.max(frames.to_client.last_at));
        let dialect = record.dialect.as_ref();
        let server = dialect.and_then(|dialect| dialect.server.as_ref());
        let ends = &record.close.transport;
        Self {
            lost,
            age_ms: span(record.opened_at),
            silence_ms: last_byte.map(span),
            attempt: Attempt::of(record),
            given_up: [ends.client, ends.gateway].contains(&super::record::TransportEnd::Timeout),
            boot: server.and_then(|server| server.boot_id.clone()),
            began_at: dialect.and_then(|dialect| {
                let has_id = server.is_some_and(|server| server.boot_id.is_some());
                dialect.process_began_at().filter(|_| !has_id)
            }),
            version: server.and_then(|server| server.version.clone()),
            protocol: dialect.and_then(|dialect| dialect.protocol.agreed),
            max_payload: dialect.and_then(|dialect| dialect.max_payload),
            device: dialect.and_then(|dialect| dialect.device.id.clone()),
            removed: record.close.gateway.as_ref().is_some_and(|close| {
                close.code.is_some_and(|code| code.0 == 4001)
                    && close.reason.as_str().starts_with("device removed")
            }),
            shutdown: shutdown(record),
        }
    }
}

/// The gateway compared the shared token and found another one. Before 2026.3 it gives no code, and 2026.2
/// speaks of a device token although none was sent.
fn is_mismatch(error: &DialectError, auth: &[Credential]) -> bool {
    if let Some(code) = &error.details_code {
        return code.as_str() == "AUTH_TOKEN_MISMATCH";
    }
    let says = |words: &str| {
        let message = error.message.as_ref();
        message.is_some_and(|message| message.as_str().starts_with(words))
    };
    let sent = |key| sends(auth, key);
    says("unauthorized: gateway token mismatch")
        || says("unauthorized: device token mismatch") && sent("token") && !sent("deviceToken")
}

/// The address without the port: each attempt has another one. `None` where it is that of a proxy
/// whose word on its clients was passed on and not read: they are not one client.
fn client_ip(record: &SessionRecord) -> Option<IpAddr> {
    let forwarded = record
        .gateway
        .as_ref()
        .and_then(|gateway| gateway.forwarded.as_ref());
    let passed_on = forwarded.is_some_and(|forwarded| {
        forwarded.mode == ForwardedMode::Pass && !forwarded.brought.is_empty()
    });
    if passed_on && record.client.via.is_none() {
        return None;
    }
    let addr = record.client.addr.as_str();
    let socket = addr.parse().map(|socket: std::net::SocketAddr| socket.ip());
    socket.or_else(|_| addr.parse()).ok()
}

/// The credential that the gateway refused or accepted: place and fingerprint. Of several it cannot
/// be known which one let a client in.
fn credential(record: &SessionRecord) -> Option<(&str, &str)> {
    let dialect = record.dialect.as_ref();
    let looked_at = |one: &&Credential| one.effective == Some(true);
    let accepted = dialect.is_some_and(|dialect| dialect.result == ConnectResult::Accepted);
    if accepted && record.auth.iter().filter(looked_at).count() > 1 {
        return None;
    }
    let code = dialect.and_then(|dialect| dialect.error.as_ref()?.details_code.as_ref());
    let keys: &[&str] = match code.map(PeerText::as_str) {
        Some("AUTH_DEVICE_TOKEN_MISMATCH" | "AUTH_SCOPE_MISMATCH") => &["deviceToken"],
        Some("AUTH_PASSWORD_MISMATCH") => &["password", "token"],
        _ => &["token", "password"],
    };
    let found = compared(&record.auth, keys);
    found.map(|one| (one.place.as_str(), one.fingerprint.as_str()))
}

impl Memory {
    /// Remembers an upgrade attempt; other records say nothing here.
    pub fn note(&mut self, record: &SessionRecord) {
        if record.kind != Kind::Websocket {
            return;
        }
        let Self {
            sessions,
            texts,
            clients,
            ..
        } = self;
        let hold = |text: &str| texts.hold(text);
        sessions.push_back(Remembered::of(record, hold, |ip| clients.hold(ip)));
        let now = record.closed_at;
        while let Some(oldest) = sessions.front()
            && (sessions.len() > MAX || now.millis_since(oldest.closed_at) > REACH_MS)
        {
            oldest.texts().for_each(|text| texts.release(text));
            oldest.client.into_iter().for_each(|ip| clients.release(ip));
            sessions.pop_front();
        }
    }

    /// An open session was told that its gateway goes down; `boot` is the process that said so, where
    /// it is known.
    pub fn announce(&mut self, gateway: &str, boot: Option<PeerText>, down: GoingDown) {
        self.announced.note(gateway, boot, down);
    }

    /// What the remembered sessions say about this one, which is among them or not, and what the open
    /// ones do.
    #[must_use]
    pub fn context(&self, record: &SessionRecord, living: &Living) -> Option<ContextFacts> {
        // A plain request is explained by nothing but a gateway that goes down.
        let only_down = record.kind == Kind::Http && is_unanswered(record);
        if record.kind != Kind::Websocket && !only_down {
            return None;
        }
        let unknown;
        let mut latest = self.sessions.iter().rev();
        let this = if let Some(this) = latest.find(|one| one.id == record.id) {
            this
        } else {
            let text = |text: &str| self.texts.of(text);
            unknown = Remembered::of(record, text, |ip| self.clients.of(ip));
            &unknown
        };
        let Around {
            remembered,
            mismatches,
            attempts,
            ends,
            boots,
            mut credentials,
            device,
            since,
            mut let_in,
            newest,
        } = Around::of(this, &self.sessions);
        let url = record.gateway.as_ref().map_or("", |gateway| &gateway.url);
        let survivors = living.survivors;
        let_in.extend(&living.let_in);
        let going_down = going_down(&down::Around {
            this,
            ends: &ends,
            announced: self.announced.of(url),
            since,
            let_in,
            survivors,
        });
        if only_down {
            return going_down.map(|down| ContextFacts {
                going_down: Some(down),
                ..ContextFacts::default()
            });
        }
        let together = this.lost.map(|lost| Together::about(lost, &ends, since));
        let silence = this.silence_ms.filter(|own| *own >= LEAST_PERIOD_MS);
        let as_silent = |other: &&Remembered| {
            let its = other.silence_ms.zip(silence);
            its.is_some_and(|(its, own)| alike(its, own))
        };
        let count = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
        let beside = || {
            together
                .iter()
                .flat_map(|together| together.others.iter().copied())
        };
        let (lost_together, lost_alike) = (beside().count(), beside().filter(as_silent).count());
        let processes_lost = boots.lost_in_turn(this);
        let process_heard_at = this.lost.and_then(|(_, at)| boots.heard_after(this, at));
        let (boots, boots_alternate) = boots.told();
        Some(ContextFacts {
            remembered,
            lost_together: count(lost_together),
            lost_alike: count(lost_alike),
            lost_beside: together.as_ref().map_or(0, |together| together.beside),
            lost_together_one_in: together.as_ref().and_then(|together| together.one_in),
            survivors,
            process_heard_at,
            cadence: together
                .as_ref()
                .and_then(|together| cadence(&ends, this, together)),
            other_credentials: credentials.other(&self.texts),
            same_credential: credentials.same(&self.texts),
            working: credentials.working(&self.texts),
            issued: credentials.issued(),
            // A device that was removed was taken away on purpose, and is not lost.
            device_accepted_at: device
                .filter(|last| !last.removed)
                .map(|last| last.closed_at),
            going_down,
            processes_lost: if boots_alternate { 0 } else { processes_lost },
            boots,
            boots_alternate,
            release: newest.map(Remembered::release),
            mismatches,
            attempts: attempts + 1,
            cancels: cancels::around(this, &self.sessions, &living.answers),
            visits: None,
        })
    }
}

/// No answer from the gateway, or an answer that only a proxy in front of it gives.
fn is_unanswered(record: &SessionRecord) -> bool {
    record
        .gateway
        .as_ref()
        .is_some_and(|gateway| gateway.error.is_some() || matches!(gateway.status, Some(502..=504)))
}

/// Within 5 % of each other.
fn alike(value: u64, own: u64) -> bool {
    value.abs_diff(own).saturating_mul(20) <= own
}

#[cfg(test)]
mod tests;
