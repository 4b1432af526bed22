//! One pass over the other sessions of a gateway: who else was connected, which processes of the
//! gateway were seen, and how credentials fared.

use std::collections::{HashMap, VecDeque};

use super::credentials::{Credentials, MAX_REPORTED};
use super::down::DOWN_MS;
use super::event::TOGETHER_MS;
use super::living::LetIn;
use super::numbers::Number;
use super::remembered::Remembered;
use crate::session::moment::Moment;
use crate::session::party::Leg;
use crate::session::record::context::Boot;
use crate::session::text::PeerText;

/// Windows of the counters.
const MISMATCH_MS: i64 = 5 * 60 * 1000;
const ATTEMPT_MS: i64 = 60 * 1000;

/// Processes that end one after the other within this time are taken for a restart loop.
const LOOP_MS: i64 = 10 * 60 * 1000;

/// Facts from the other sessions of a session's gateway.
pub(super) struct Around<'a> {
    pub(super) remembered: usize,
    pub(super) mismatches: u32,
    /// Attempts of this client.
    pub(super) attempts: u32,
    /// Sessions that show an end.
    pub(super) ends: Vec<&'a Remembered>,
    pub(super) boots: Boots<'a>,
    pub(super) credentials: Credentials<'a>,
    /// The last session in which the gateway accepted this device.
    pub(super) device: Option<&'a Remembered>,
    /// Start of the first of these sessions, or of this session.
    pub(super) since: Moment,
    /// Sessions that got open and began in the last minute, this one not counted.
    pub(super) let_in: Vec<LetIn>,
    /// The last session that was let in and showed the gateway's release.
    pub(super) newest: Option<&'a Remembered>,
}

impl<'a> Around<'a> {
    /// Looks at each session once.
    pub(super) fn of(this: &'a Remembered, all: &'a VecDeque<Remembered>) -> Self {
        let mut around = Self {
            remembered: 0,
            mismatches: 0,
            attempts: 0,
            ends: Vec::new(),
            boots: Boots::default(),
            credentials: Credentials::of(this),
            device: None,
            since: this.opened_at,
            let_in: Vec::new(),
            newest: None,
        };
        for other in all {
            if other.gateway == this.gateway && other.id != this.id {
                around.add(this, other);
            }
        }
        around.boots.add(this);
        around
    }

    fn add(&mut self, this: &'a Remembered, other: &'a Remembered) {
        let within = |window: i64, ago: i64| (0..=window).contains(&ago);
        self.remembered += 1;
        self.since = self.since.min(other.opened_at);
        if within(DOWN_MS, this.closed_at.millis_since(other.opened_at)) {
            self.let_in.extend(LetIn::of(other));
        }
        if other.client.is_some()
            && other.client == this.client
            && within(ATTEMPT_MS, this.opened_at.millis_since(other.opened_at))
        {
            self.attempts += 1;
        }
        if other.mismatch && within(MISMATCH_MS, this.closed_at.millis_since(other.closed_at)) {
            self.mismatches += 1;
        }
        if other.shows_an_end {
            self.ends.push(other);
        }
        let is_later = |last: &Remembered| last.closed_at <= other.closed_at;
        if other.accepted
            && other.device.is_some()
            && other.device == this.device
            && self.device.is_none_or(is_later)
        {
            self.device = Some(other);
        }
        let is_newer = |newest: &Remembered| newest.heard_at <= other.heard_at;
        if other.accepted && other.protocol.is_some() && self.newest.is_none_or(is_newer) {
            self.newest = Some(other);
        }
        self.boots.add(other);
        self.credentials.add(other);
    }
}

/// The processes of the gateway.
#[derive(Default)]
pub(super) struct Boots<'a> {
    found: Vec<Process<'a>>,
    /// Index by boot id. A gateway that restarts in a loop has a new one in each session.
    known: HashMap<Number, usize>,
    /// The process of the last session: most sessions share it.
    last: Option<usize>,
}

struct Process<'a> {
    first: &'a Remembered,
    version: Option<&'a PeerText>,
    sessions: u32,
    last_at: Moment,
    /// When the process first and last accepted a session.
    heard: (Moment, Moment),
    /// Time at which its latest session ended, for whatever reason.
    ended_at: Moment,
    /// Time at which it last lost a session on the gateway's leg.
    lost_at: Option<Moment>,
    /// The process had announced its shutdown.
    announced: bool,
}

impl<'a> Boots<'a> {
    fn add(&mut self, one: &'a Remembered) {
        if one.boot.is_none() && one.began_at.is_none() {
            return;
        }
        let at = self.place(one).unwrap_or(self.found.len());
        if let Some(process) = self.found.get_mut(at) {
            process.sessions += 1;
            if process.version.is_none() {
                process.version = one.version.as_ref();
            }
            process.last_at = process.last_at.max(one.closed_at);
            let (first, last) = process.heard;
            process.heard = (first.min(one.heard_at), last.max(one.heard_at));
            if one.opened_at < process.first.opened_at {
                process.first = one;
            }
            process.ended_at = process.ended_at.max(one.closed_at);
            process.lost_at = process.lost_at.max(lost_at(one));
            process.announced |= one.shutdown.is_some();
        } else {
            if let Some(id) = one.boot {
                self.known.insert(id, at);
            }
            self.found.push(Process {
                first: one,
                version: one.version.as_ref(),
                sessions: 1,
                last_at: one.closed_at,
                heard: (one.heard_at, one.heard_at),
                ended_at: one.closed_at,
                lost_at: lost_at(one),
                announced: one.shutdown.is_some(),
            });
        }
        self.last = Some(at);
    }

    /// Index of a session's process.
    fn place(&self, one: &Remembered) -> Option<usize> {
        let shared = |process: &Process<'_>| process.first.shares_process_with(one);
        let last = self
            .last
            .filter(|at| self.found.get(*at).is_some_and(shared));
        last.or_else(|| match one.boot {
            Some(id) => self.known.get(&id).copied(),
            None => self.found.iter().position(shared),
        })
    }

    fn of(&self, one: &Remembered) -> Option<&Process<'a>> {
        self.found.get(self.place(one)?)
    }

    /// When the process of a session accepted another session, after this moment.
    pub(super) fn heard_after(&self, one: &Remembered, at: Moment) -> Option<Moment> {
        let (_, last) = self.of(one)?.heard;
        (last > at).then_some(last)
    }

    /// Number of processes that ended by losing a session, without an announcement, in the ten
    /// minutes before this session was lost; zero if this session's own process did not end so.
    pub(super) fn lost_in_turn(&self, this: &Remembered) -> u32 {
        let ended_so = |process: &&Process<'_>| {
            let lost_at = process.lost_at.filter(|lost_at| {
                let recent = (0..=LOOP_MS).contains(&this.closed_at.millis_since(*lost_at));
                let outlived = process.ended_at.millis_since(*lost_at) > TOGETHER_MS
                    || process.heard.1 > *lost_at;
                recent && !outlived && !process.announced
            });
            lost_at.is_some()
        };
        let own = self.of(this).filter(|_| lost_at(this).is_some());
        if !own.as_ref().is_some_and(ended_so) {
            return 0;
        }
        u32::try_from(self.found.iter().filter(ended_so).count()).unwrap_or(u32::MAX)
    }

    /// The last processes, oldest first, and whether they alternate: one accepted a session after
    /// another had, and then the other accepted one again.
    pub(super) fn into_report(mut self) -> (Vec<Boot>, bool) {
        self.found.sort_by_key(|process| process.heard);
        let mut heard_until = None;
        let mut alternate = false;
        for process in &self.found {
            let (first, last) = process.heard;
            alternate |= heard_until.is_some_and(|until| first < until);
            heard_until = heard_until.max(Some(last));
        }
        let surplus = self.found.len().saturating_sub(MAX_REPORTED);
        let boots = self.found.into_iter().skip(surplus).map(|process| Boot {
            id: process.first.rest.boot.clone().unwrap_or_default(),
            began_at: process.first.began_at,
            version: process.version.cloned(),
            sessions: process.sessions,
            first_at: process.first.opened_at,
            last_at: process.last_at,
        });
        (boots.collect(), alternate)
    }
}

/// When the session was lost on the gateway's leg.
fn lost_at(one: &Remembered) -> Option<Moment> {
    let lost = one.rest.lost.filter(|(leg, _)| *leg == Leg::Gateway);
    lost.map(|(_, at)| at)
}
