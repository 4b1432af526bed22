//! Evidence from open sessions, which have no record yet: a gateway that lets clients in keeps them
//! for hours.

use super::attempt::Attempt;
use super::loss::{is_unanswered, lost};
use super::remembered::Remembered;
use crate::session::moment::Moment;
use crate::session::record::{Kind, SessionRecord};

/// What the open sessions of a record's gateway show about that record.
#[derive(Clone, Debug, Default)]
pub(crate) struct Living {
    /// Number of sessions that were open before this one ended.
    pub survivors: u32,
    /// Sessions that the gateway let in within the last minute.
    pub let_in: Vec<LetIn>,
    /// Answers of the gateway; only for an attempt that its client cancelled.
    pub answers: Vec<Answer>,
}

/// A session that got open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LetIn {
    /// When it began.
    pub began: Moment,
    /// When the gateway let it in.
    pub at: Moment,
}

/// An upgrade attempt that was answered, and whose session is open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The answer went to the client address that cancelled.
    pub same_client: bool,
    /// When the answer came.
    pub at: Moment,
    /// After how many milliseconds it came.
    pub waited_ms: u32,
    /// The answer was a 101, and nothing has ended the tunnel yet.
    pub is_tunnel: bool,
}

/// Which open sessions are evidence for a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Asks {
    /// When the session was over.
    pub before: Moment,
    /// Its client cancelled it.
    pub answers: bool,
}

/// The question about a record that is judged now; `None` if open sessions explain nothing about
/// it.
#[must_use]
pub(crate) fn asks(record: &SessionRecord) -> Option<Asks> {
    let lost_at = lost(record).map(|(_, at)| at);
    let answers =
        record.kind == Kind::Websocket && matches!(Attempt::of(record), Attempt::Cancelled(_));
    let unanswered = is_unanswered(record) || answers;
    let before = lost_at.or(unanswered.then_some(record.closed_at))?;
    Some(Asks { before, answers })
}

impl LetIn {
    pub(super) fn of(one: &Remembered) -> Option<Self> {
        one.open.then_some(Self {
            began: one.opened_at,
            at: one.heard_at,
        })
    }
}
