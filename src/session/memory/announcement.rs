//! The gateway's own announcement that it goes down.

use crate::session::moment::Moment;
use crate::session::record::SessionRecord;
use crate::session::record::context::GoingDown;

/// The gateway's own announcement: a message (when it came, and after how many milliseconds the
/// gateway expects to be back), or a Close that the dialect recognises as an announcement.
#[must_use]
pub(crate) fn announcement(
    event: Option<(Moment, Option<u64>)>,
    close: Option<Moment>,
) -> Option<GoingDown> {
    let (at, restart_expected_ms, stops) = match (event, close) {
        (Some((at, expected)), _) => (at, expected, expected.is_none()),
        (None, Some(at)) => (at, None, false),
        (None, None) => return None,
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
    let event = record.application().shutdown;
    let event = event.map(|event| (event.at, event.restart_expected_ms));
    let close = record.close.gateway.as_ref();
    let close = close.filter(|close| {
        let dialect = record.dialect.as_ref();
        dialect.is_some_and(|dialect| dialect.announces(close))
    });
    announcement(event, close.map(|close| close.at))
}
