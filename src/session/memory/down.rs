//! When the gateway was last known to be down: it announced that, or all its sessions were lost at
//! once.

use super::event::{CRASH, within_a_second};
use super::living::LetIn;
use super::remembered::Remembered;
use super::together::Together;
use crate::session::moment::Moment;
use crate::session::party::Leg;
use crate::session::record::context::GoingDown;
use crate::session::text::PeerText;

/// A gateway that went down longer ago explains nothing: a restart takes about 7 s, a boot of the
/// machine a minute.
pub(crate) const DOWN_MS: i64 = 60 * 1000;

/// A single loss means that a process ended only if nothing listens right after it.
const LONE_MS: i64 = 15 * 1000;

/// Losses within a second count as one event if the usual rate gives as many in fewer than one case
/// in this many.
pub(crate) const ONE_EVENT: u64 = 100_000;

/// Ranks an announcement by how much it says. Sessions that were not accepted yet receive only the
/// Close, a little later than the others receive the event, which says more.
fn says(down: &GoingDown) -> (bool, Moment, Option<u64>) {
    let by_event = down.stops || down.restart_expected_ms.is_some();
    (by_event, down.at, down.restart_expected_ms)
}

/// What other sessions show about the gateway at a moment.
pub(super) struct Around<'a> {
    /// The session to explain.
    pub(super) this: &'a Remembered,
    /// Sessions that show an end.
    pub(super) ends: &'a [&'a Remembered],
    /// Announcements that open sessions received.
    pub(super) announced: Vec<&'a Announcement>,
    /// Start of the first of these sessions.
    pub(super) since: Moment,
    /// Sessions that were let in within the last minute.
    pub(super) let_in: Vec<LetIn>,
    /// Number of sessions that were open before and still are.
    pub(super) survivors: u32,
}

impl Around<'_> {
    /// Whether the gateway let somebody in who came after that moment. A client that came while it
    /// was away may have waited for it, so what counts is that it was back when this session began.
    fn was_back(&self, down_at: Moment) -> bool {
        let began = self.this.opened_at;
        let by = if began > down_at {
            began
        } else {
            self.this.closed_at
        };
        let mut since = self.let_in.iter().filter(|one| one.began > down_at);
        since.any(|one| one.at <= by)
    }

    /// An announcement explains the sessions of its own process, and, until the gateway is back,
    /// the sessions whose process is not known.
    fn is_explained_by(&self, boot: Option<&PeerText>, down: &GoingDown) -> bool {
        match (boot, &self.this.rest.boot) {
            (Some(boot), Some(own)) if boot != own => false,
            (Some(_), Some(_)) if self.this.opened_at <= down.at => true,
            _ => !self.was_back(down.at),
        }
    }
}

/// The last time before a session's end at which its gateway was known to go down, unless it was
/// back by then.
pub(super) fn going_down(around: &Around<'_>) -> Option<GoingDown> {
    let now = around.this.closed_at;
    let recent = |at: Moment| (0..=DOWN_MS).contains(&now.millis_since(at));
    let counts = |at: Moment| recent(at) && !around.was_back(at);
    let of_ended = |other: &&'_ Remembered| -> Option<(Option<PeerText>, GoingDown)> {
        Some((other.rest.boot.clone(), other.shutdown.clone()?))
    };
    let said = around
        .ends
        .iter()
        .filter_map(of_ended)
        .chain(
            around
                .announced
                .iter()
                .map(|said| (said.boot.clone(), said.down.clone())),
        )
        .filter(|(boot, down)| recent(down.at) && around.is_explained_by(boot.as_ref(), down));
    if let Some((_, down)) = said.max_by_key(|(_, down)| says(down)) {
        return Some(down);
    }
    // A process that ends takes all its sessions with it.
    if around.survivors > 0 {
        return None;
    }
    let is_loss = |other: &&Remembered| {
        let lost = other.lost.filter(|(leg, _)| *leg == Leg::Gateway);
        lost.is_some_and(|(_, at)| counts(at))
    };
    let losses = around.ends.iter().copied().filter(is_loss);
    let last = losses.max_by_key(|other| other.closed_at)?;
    let at = last.closed_at;
    let others: Vec<&Remembered> = around
        .ends
        .iter()
        .copied()
        .filter(|other| other.id != last.id)
        .collect();
    let together = Together::about((Leg::Gateway, at), &others, around.since);
    let one_event = together.one_in.is_none_or(|one_in| one_in >= ONE_EVENT);
    let count = 1 + if one_event { together.others.len() } else { 0 };
    let lone = now.millis_since(at) > LONE_MS;
    (count >= CRASH || !lone).then(|| GoingDown {
        at,
        announced: false,
        restart_expected_ms: None,
        stops: false,
        lost: u32::try_from(count).unwrap_or(u32::MAX),
    })
}

/// Announcements in open sessions, whose records are written later: they explain clients that are
/// refused in the meantime.
#[derive(Debug, Default)]
pub(super) struct Announced(std::collections::VecDeque<Announcement>);

/// One announcement.
#[derive(Debug)]
pub(super) struct Announcement {
    gateway: String,
    /// The process that announced it, where known: two may share an address.
    boot: Option<PeerText>,
    pub(super) down: GoingDown,
}

impl Announced {
    /// Maximum number of announcements that are kept: more gateways than one tap sees go down
    /// within a minute.
    const MOST: usize = 16;

    /// Records an announcement. A process sends it to all of its sessions at the same time: that is
    /// one announcement.
    pub(super) fn note(&mut self, gateway: &str, boot: Option<PeerText>, down: GoingDown) {
        let is_same = |known: &&mut Announcement| {
            let process = known.boot.as_ref().zip(boot.as_ref());
            known.gateway == gateway
                && process.is_none_or(|(its, this)| its == this)
                && within_a_second(known.down.at, down.at)
        };
        if let Some(known) = self.0.iter_mut().rev().find(is_same) {
            if says(&down).0 && !says(&known.down).0 {
                known.down = down;
            }
            known.boot = known.boot.take().or(boot);
            return;
        }
        if self.0.len() >= Self::MOST {
            self.0.pop_front();
        }
        self.0.push_back(Announcement {
            gateway: gateway.to_owned(),
            boot,
            down,
        });
    }

    pub(super) fn of(&self, gateway: &str) -> Vec<&Announcement> {
        let all = self.0.iter();
        all.filter(|said| said.gateway == gateway).collect()
    }
}
