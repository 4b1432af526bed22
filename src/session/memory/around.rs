//! One look at the sessions around one: who else was there, which processes of the gateway, and what
//! became of credentials.

use std::collections::{HashMap, VecDeque};

use super::credentials::Credentials;
use super::numbers::Number;
use super::{ATTEMPT_MS, MAX_TOLD, MISMATCH_MS, Remembered};
use crate::session::moment::Moment;
use crate::session::record::context::Boot;
use crate::session::text::PeerText;

/// What stands in the other sessions of a session's gateway.
pub(super) struct Around<'a> {
    pub(super) remembered: usize,
    pub(super) mismatches: u32,
    /// Of this client.
    pub(super) attempts: u32,
    /// Those that tell of an end.
    pub(super) ends: Vec<&'a Remembered>,
    pub(super) boots: Boots<'a>,
    pub(super) credentials: Credentials<'a>,
    /// The last one that let this device in.
    pub(super) device: Option<&'a Remembered>,
}

impl<'a> Around<'a> {
    /// Looks at each of them once.
    pub(super) fn of(this: &'a Remembered, all: &'a VecDeque<Remembered>) -> Self {
        let mut around = Self {
            remembered: 0,
            mismatches: 0,
            attempts: 0,
            ends: Vec::new(),
            boots: Boots::default(),
            credentials: Credentials::of(this),
            device: None,
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
        if other.client.is_some()
            && other.client == this.client
            && within(ATTEMPT_MS, this.opened_at.millis_since(other.opened_at))
        {
            self.attempts += 1;
        }
        if other.mismatch && within(MISMATCH_MS, this.closed_at.millis_since(other.closed_at)) {
            self.mismatches += 1;
        }
        if other.tells_of_an_end {
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
        self.boots.add(other);
        self.credentials.add(other);
    }
}

/// The gateway's processes, in the order in which they were seen.
#[derive(Default)]
pub(super) struct Boots<'a> {
    found: Vec<Process<'a>>,
    /// A gateway that restarts in a loop has a new one in each session.
    known: HashMap<Number, usize>,
    /// The last session's.
    last: Option<(Number, usize)>,
    alternate: bool,
}

struct Process<'a> {
    first: &'a Remembered,
    version: Option<&'a PeerText>,
    sessions: u32,
    last_at: Moment,
}

impl<'a> Boots<'a> {
    fn add(&mut self, one: &'a Remembered) {
        let Some(id) = one.boot else { return };
        let last = self.last.filter(|(last, _)| *last == id);
        let known = last.map_or_else(|| self.known.get(&id).copied(), |(_, at)| Some(at));
        let at = known.unwrap_or(self.found.len());
        if let Some(process) = self.found.get_mut(at) {
            self.alternate |= last.is_none();
            process.sessions += 1;
            if process.version.is_none() {
                process.version = one.version.as_ref();
            }
            process.last_at = process.last_at.max(one.closed_at);
        } else {
            self.known.insert(id, at);
            self.found.push(Process {
                first: one,
                version: one.version.as_ref(),
                sessions: 1,
                last_at: one.closed_at,
            });
        }
        self.last = Some((id, at));
    }

    /// The last ones, and whether they alternate.
    pub(super) fn told(self) -> (Vec<Boot>, bool) {
        let surplus = self.found.len().saturating_sub(MAX_TOLD);
        let boots = self.found.into_iter().skip(surplus).map(|process| Boot {
            id: process.first.rest.boot.clone().unwrap_or_default(),
            version: process.version.cloned(),
            sessions: process.sessions,
            first_at: process.first.opened_at,
            last_at: process.last_at,
        });
        (boots.collect(), self.alternate)
    }
}
