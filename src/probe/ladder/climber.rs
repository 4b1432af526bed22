//! One climb: its target, its deadline, and the rungs that are done.

use std::time::{Duration, Instant};

use super::super::proxy;
use super::super::report::{Rung, Status, Versions};
use super::super::target::{Given, Target};
use super::super::whereabouts::Whereabouts;

/// The rungs, from the ground up.
const RUNGS: [&str; 12] = [
    "where",
    "L1.name",
    "L1.tcp",
    "L1.proxy",
    "L1.tls",
    "L1.health",
    "L1.upgrade",
    "L1.size",
    "L1.challenge",
    "L2.auth",
    "L2.scopes",
    "L3.channels",
];

/// Pause before the upgrade is tried again.
const PAUSE: Duration = Duration::from_millis(1200);

/// One climb: its target, and the rungs so far.
pub(super) struct Climber<'a> {
    pub(super) target: &'a Target,
    pub(super) whereabouts: Whereabouts,
    pub(super) deadline: Instant,
    pub(super) started: Instant,
    pub(super) rungs: Vec<Rung>,
    pub(super) show: &'a mut dyn FnMut(&Rung),
    /// Why no connect request may be sent.
    pub(super) withheld: Option<&'static str>,
    /// Number of the name's addresses that accept connections.
    pub(super) addresses: usize,
    /// The answer of the environment's proxy.
    pub(super) proxied: Option<proxy::Tried>,
    pub(super) skew_ms: Option<f64>,
    pub(super) versions: Versions,
}

impl Climber<'_> {
    pub(super) async fn pause(&self) {
        let left = self.deadline.saturating_duration_since(Instant::now());
        tokio::time::sleep(PAUSE.min(left)).await;
    }

    /// The budget is spent: a missing answer now says nothing about the gateway.
    pub(super) fn is_late(&self) -> bool {
        Instant::now() >= self.deadline
    }

    pub(super) fn add(&mut self, rung: Rung) {
        let secret = self.target.secret.as_ref().map(Given::expose);
        let rung = match secret.filter(|secret| !secret.is_empty()) {
            Some(secret) => rung.masked(secret),
            None => rung,
        };
        (self.show)(&rung);
        self.rungs.push(rung);
    }

    /// The budget is spent: adds this rung as the one that was not reached.
    pub(super) fn late(&mut self, id: &'static str) {
        let because = "the time ran out here (--budget): this says nothing about the gateway";
        self.add(Rung::new(id, Status::Fail, because));
    }

    pub(super) fn skip_the_rest(&mut self) {
        let broken = self.rungs.iter().rfind(|rung| rung.status == Status::Fail);
        let broken = broken.map(|rung| rung.id);
        for id in RUNGS.iter().skip(self.rungs.len()) {
            self.add(match broken {
                Some(broken) => Rung::beyond(id, broken),
                None => Rung::new(id, Status::Skip, "not tested through a proxy"),
            });
        }
    }
}
