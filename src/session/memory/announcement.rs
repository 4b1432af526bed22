//! The gateway's own announcement that it goes down.

use crate::session::moment::Moment;
use crate::session::record::SessionRecord;
use crate::session::record::context::GoingDown;
use crate::ws::CloseCode;

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
