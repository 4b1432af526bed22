//! Records connections that ended before a request. The only place that does.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::Connection;
use super::session::SessionHandle;
use crate::proxy::tap::Tap;
use crate::session::end_cause::EndCause;
use crate::session::moment::Anchor;
use crate::session::party::Leg;
use crate::session::record::{
    DeniedFact, FirstBytes, HeadFault, Http2Error, TimerKey, TransportEnd,
};

/// What we were waiting for when the connection ended.
#[derive(Clone, Copy, Debug)]
pub(super) enum Awaited {
    /// A PROXY header, or nothing.
    Nothing,
    /// A TLS handshake.
    Tls,
    /// The head of a request.
    Head,
}

/// Why there was no request.
#[derive(Debug)]
pub(super) enum Why {
    /// The client left, or its transport broke.
    Left,
    /// We are shutting down.
    Drained,
    /// A limit forbids the connection.
    Denied(DeniedFact),
    /// A timer of ours fired: its key, its limit, and how long we waited.
    TimedOut(TimerKey, Duration, Duration),
    /// The bytes that came cannot be passed on; with HTTP/2, the error code that ended the
    /// connection.
    Refused(HeadFault, Option<Http2Error>, String),
    /// We ended it for a reason that another fact of the record states.
    Acted,
}

/// A connection that ended before a request.
#[derive(Debug)]
pub(super) struct Early {
    pub(super) awaited: Awaited,
    /// The first bytes of the connection, where they were inspected.
    pub(super) first: Option<FirstBytes>,
    pub(super) why: Why,
    /// How the client's transport ended; `None` if we ended it.
    pub(super) end: Option<(TransportEnd, Option<EndCause>, Instant)>,
}

/// Writes the record, from `anchor` to now. The session is settled: the rest of the connection is
/// not part of it.
pub(super) fn record(
    tap: &Tap,
    connection: &Arc<Connection>,
    anchor: Anchor,
    early: Early,
) -> SessionHandle {
    let session = begin(tap, connection, anchor, early.awaited, early.first);
    let now = Instant::now();
    let mut record = session.record();
    match early.why {
        Why::Left => {}
        Why::Drained => record.drained(now),
        Why::Denied(denial) => record.denied(denial, now),
        Why::TimedOut(key, limit, waited) => record.timer_fired(key, limit, waited, now),
        Why::Refused(fault, http2, detail) => record.head_refused(fault, http2, detail, now),
        Why::Acted => record.acted(now),
    }
    match early.end {
        Some((end, cause, at)) => record.leg_ended(Leg::Client, end, cause, at),
        None => record.leg_ended_by_tap(Leg::Client, now),
    }
    drop(record);
    session
}

/// Opens the record of a connection that is about to end.
pub(super) fn begin(
    tap: &Tap,
    connection: &Arc<Connection>,
    anchor: Anchor,
    awaited: Awaited,
    first: Option<FirstBytes>,
) -> SessionHandle {
    let session = tap.open_record(connection, anchor);
    let mut record = session.record();
    match awaited {
        Awaited::Nothing => {}
        Awaited::Tls => record.tls_began(),
        Awaited::Head => {
            record.request_began();
            record.client_sent(connection.state.sensed.bytes_read());
            record.showed_certificate(connection.self_made());
        }
    }
    if let Some(first) = first {
        record.client_began_with(first);
    }
    drop(record);
    session.settle();
    session
}
