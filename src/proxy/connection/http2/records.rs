//! Records of an HTTP/2 connection besides those of its requests.

use std::sync::Arc;
use std::time::{Duration, Instant};

use h2::Reason;

use crate::proxy::connection::Connection;
use crate::proxy::connection::early::{self, Awaited, Early, Why};
use crate::proxy::tap::Tap;
use crate::session::party::Leg;
use crate::session::record::client::Http2Facts;
use crate::session::record::{DeniedFact, DeniedKey, HeadFault, Http2Error, TimerKey};
use crate::transport::clock;
use crate::transport::http2_watch::Refused;

/// Maximum number of records of refused requests per connection; further ones are only counted.
pub(super) const MAX_REFUSED: usize = 16;

/// How a connection ended, for the record.
#[derive(Debug)]
pub(super) enum Ending {
    /// In order, or by its client.
    Left,
    /// No request came in time.
    Silent(Duration),
    /// The bytes that came are not HTTP/2, or exceed a limit.
    Broken(HeadFault, Option<Http2Error>, String),
    /// We are shutting down.
    Drained,
}

impl Ending {
    /// The library has ended the connection with GOAWAY, or has found it ended.
    pub(super) fn of_error(error: &h2::Error) -> Self {
        // A GOAWAY from the client and a socket error both mean that the client left.
        if !error.is_library() {
            return Self::Left;
        }
        let fault = match error.reason() {
            Some(Reason::ENHANCE_YOUR_CALM) => HeadFault::Http2Flood,
            _ => HeadFault::Http2Connection,
        };
        let code = error.reason().map(|reason| u32::from(reason).into());
        Self::Broken(fault, code, format!("the connection was ended: {error}"))
    }
}

/// Writes the record of a connection that ended outside of any request. After at least one request,
/// an orderly ending needs no record.
pub(super) fn ended(tap: &Tap, connection: &Arc<Connection>, ending: &Ending) {
    let used = connection
        .http2_facts()
        .is_some_and(|facts| facts != Http2Facts::default());
    if used && !matches!(ending, Ending::Broken(..)) {
        return;
    }
    let limit = tap.config.timeouts().request_head;
    let end = connection.state.sensed.end();
    let why = match ending {
        Ending::Left => Why::Left,
        Ending::Drained => Why::Drained,
        Ending::Silent(waited) => Why::TimedOut(TimerKey::RequestHead, limit, *waited),
        Ending::Broken(fault, code, detail) => Why::Refused(*fault, *code, detail.clone()),
    };
    let left = matches!(ending, Ending::Left);
    let early = Early {
        awaited: Awaited::Head,
        first: Some(connection.state.sensed.first_bytes()),
        why,
        end: (end.filter(|_| left)).map(|end| (end.kind, end.cause, end.at)),
    };
    early::record(tap, connection, connection.accepted, early);
}

/// Writes the record of a request that the `h2` library refused by itself.
pub(super) fn refused(tap: &Tap, connection: &Arc<Connection>, refused: Refused) {
    let Refused { stream, reset } = refused;
    let session = tap.open_record(connection, clock::anchor());
    let now = Instant::now();
    let mut record = session.record();
    record.request_began();
    record.client_sent(connection.state.sensed.bytes_read());
    record.came_in_stream(stream);
    if let Some(code) = reset {
        let detail = format!(
            "the request on stream {stream} was reset with {:?}: it is malformed, or asks for \
             what was not offered",
            Reason::from(code)
        );
        record.head_refused(HeadFault::Http2Stream, Some(code.into()), detail, now);
    } else {
        let detail = format!(
            "the head on stream {stream} was more than twice as long as limits.head_bytes allows"
        );
        let limit = u64::try_from(tap.config.limits().head_bytes).ok();
        let key = DeniedKey::HeadBytes;
        record.denied(DeniedFact { key, detail, limit }, now);
        record.answered_by_tap(431, None);
    }
    record.leg_ended_by_tap(Leg::Client, now);
    drop(record);
    session.settle();
}
