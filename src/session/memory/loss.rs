//! Sessions that were lost, and attempts that got no answer.

use crate::session::moment::Moment;
use crate::session::party::Leg;
use crate::session::record::SessionRecord;
use crate::session::record::close::ActKind;

/// The leg whose transport ended first, where neither side sent a Close and no timer of ours fired.
#[must_use]
pub(crate) fn lost(record: &SessionRecord) -> Option<(Leg, Moment)> {
    let close = &record.close;
    let silent = close.client.is_none() && close.gateway.is_none() && close.tap.is_none();
    let ours = close.timer.is_some() || close.cap.is_some() || close.drained;
    if !record.had_tunnel() || !silent || ours {
        return None;
    }
    let act = record.first_act()?;
    let leg = act.leg()?;
    let end = match leg {
        Leg::Client => close.transport.client,
        Leg::Gateway => close.transport.gateway,
    };
    (act.kind == ActKind::Transport && end.is_by_peer()).then_some((leg, act.at))
}

/// Time of the event that ended a session; its record may be finished later.
pub(super) fn ended_at(record: &SessionRecord, lost: Option<(Leg, Moment)>) -> Moment {
    let ends = &record.close.transport;
    let unanswered = ends
        .gateway_at
        .filter(|_| ends.gateway.is_by_peer() && !record.had_tunnel());
    lost.map(|(_, at)| at)
        .or(unanswered)
        .unwrap_or(record.closed_at)
}

/// No answer from the gateway, or an answer that only a proxy in front of it sends.
pub(super) fn is_unanswered(record: &SessionRecord) -> bool {
    record
        .gateway
        .as_ref()
        .is_some_and(|gateway| gateway.error.is_some() || matches!(gateway.status, Some(502..=504)))
}
