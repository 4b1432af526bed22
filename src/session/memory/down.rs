//! When the gateway was last known to be down: it announced it, or all its sessions were lost at
//! once.

use super::together::Together;
use super::{CRASH, Remembered};
use crate::session::moment::Moment;
use crate::session::party::Leg;
use crate::session::record::SessionRecord;
use crate::session::record::context::GoingDown;
use crate::ws::CloseCode;

/// An older shutdown explains nothing: a restart takes about 7 s, a machine's start a minute.
const DOWN_MS: i64 = 60 * 1000;

/// A single loss means that a process ended only if nothing listens right after it.
const LONE_MS: i64 = 15 * 1000;

/// Losses within a second count as one event if the usual rate gives as many in fewer than one case
/// in this many.
pub const ONE_EVENT: u64 = 100_000;

/// The gateway's own announcement: the shutdown event (when it came, and after how many
/// milliseconds the gateway expects to be back), or a Close 1012 whose reason gives no other cause.
#[must_use]
pub fn announcement(
    event: Option<(Moment, Option<u64>)>,
    close: Option<(Moment, Option<CloseCode>, &[u8])>,
) -> Option<GoingDown> {
    let (at, restart_expected_ms, stops) = match (event, close) {
        (Some((at, expected)), _) => (at, expected, expected.is_none()),
        (None, Some((at, Some(CloseCode(1012)), b"service restart" | b"gateway-shutdown"))) => {
            (at, None, false)
        }
        _ => return None,
    };
    Some(GoingDown {
        at,
        announced: true,
        restart_expected_ms,
        lost: 0,
        stops,
    })
}

/// The announcement that a session received.
pub(super) fn shutdown(record: &SessionRecord) -> Option<GoingDown> {
    let dialect = record.dialect.as_ref();
    let event = dialect.and_then(|dialect| dialect.shutdown.as_ref());
    let event = event.map(|event| (event.at, event.restart_expected_ms));
    let close = record.close.gateway.as_ref();
    announcement(
        event,
        close.map(|close| (close.at, close.code, close.reason.as_str().as_bytes())),
    )
}

/// How much an announcement says. Sessions that were not accepted yet receive only the Close, a
/// little later than the others receive the event, which says more.
fn says(down: &GoingDown) -> (bool, Moment, Option<u64>) {
    let by_event = down.stops || down.restart_expected_ms.is_some();
    (by_event, down.at, down.restart_expected_ms)
}

/// What other sessions show about the gateway at a moment.
pub(super) struct Around<'a> {
    /// Sessions whose end shows that the gateway ended.
    pub(super) ends: &'a [&'a Remembered],
    /// Announcements that open sessions received.
    pub(super) announced: Vec<&'a GoingDown>,
    /// Start of the first of these sessions.
    pub(super) since: Moment,
    /// Start of the last session that was accepted.
    pub(super) last_let_in: Option<Moment>,
    /// Number of sessions that were open before and still are.
    pub(super) survivors: u32,
}

/// The last time before `now` that the gateway was known to be down, unless it was back by then.
pub(super) fn going_down(now: Moment, around: &Around<'_>) -> Option<GoingDown> {
    let recent = |at: Moment| (0..=DOWN_MS).contains(&now.millis_since(at));
    let was_back = |at: Moment| around.last_let_in.is_some_and(|let_in| let_in > at);
    let counts = |at: Moment| recent(at) && !was_back(at);
    let said = around
        .ends
        .iter()
        .filter_map(|other| other.shutdown.as_ref())
        .chain(around.announced.iter().copied())
        .filter(|down| counts(down.at));
    if let Some(down) = said.max_by_key(|down| says(down)) {
        return Some(down.clone());
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

/// Announcements of open sessions, whose records are written later: they explain callers that are
/// refused in the meantime.
#[derive(Debug, Default)]
pub(super) struct Announced(std::collections::VecDeque<(String, GoingDown)>);

impl Announced {
    /// Bound on the number of gateways that a tap has within a minute.
    const MOST: usize = 16;

    /// All sessions receive it at the same time: that is one announcement.
    pub(super) fn note(&mut self, gateway: &str, down: GoingDown) {
        let same = self
            .0
            .iter_mut()
            .rev()
            .find(|(its, known)| its == gateway && super::within_a_second(known.at, down.at));
        match same {
            Some((_, known)) if says(known).0 >= says(&down).0 => {}
            Some((_, known)) => *known = down,
            None => {
                if self.0.len() >= Self::MOST {
                    self.0.pop_front();
                }
                self.0.push_back((gateway.to_owned(), down));
            }
        }
    }

    pub(super) fn of(&self, gateway: &str) -> Vec<&GoingDown> {
        let of_gateway = self.0.iter().filter(|(its, _)| its == gateway);
        of_gateway.map(|(_, down)| down).collect()
    }
}
