//! What of an HTTP/2 connection is recorded beside its requests.

use std::sync::Arc;
use std::time::{Duration, Instant};

use h2::Reason;

use super::Tap;
use crate::proxy::connection::Connection;
use crate::session::party::{Leg, Phase};
use crate::session::record::client::Http2Facts;
use crate::session::record::{
    AnswerBy, AnswerFacts, DeniedFact, DeniedKey, HeadFault, Http2Error, TimerKey, TransportEnd,
};
use crate::transport::clock;
use crate::transport::http2_watch::Refused;

/// Records of refused requests that one connection may cause; the others are counted.
pub(super) const MAX_REFUSED: usize = 16;

/// How a connection ended, for the record.
#[derive(Debug)]
pub(super) enum Ending {
    /// In order, or by its client.
    Left,
    /// Nothing was asked for in time.
    Silent(Duration),
    /// What came is not HTTP/2, or too much of it.
    Broken(HeadFault, Option<Http2Error>, String),
    /// We are shutting down.
    Drained,
}

impl Ending {
    /// The library has ended the connection with GOAWAY, or has found it ended.
    pub(super) fn of_error(error: &h2::Error) -> Self {
        // A client's own GOAWAY, and an error of the socket, are its way to leave.
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

/// Writes the record of a connection that ended outside of any request. Where there were some, an
/// ending in order needs none.
pub(super) fn ended(tap: &Tap, connection: &Arc<Connection>, ending: &Ending) {
    let used = connection
        .http2_facts()
        .is_some_and(|facts| facts != Http2Facts::default());
    if used && !matches!(ending, Ending::Broken(..)) {
        return;
    }
    let session = tap.open_record(connection, connection.accepted);
    let limit = tap.config.timeouts().request_head;
    session.with(|rec| {
        rec.reach(Phase::Request);
        rec.facts.client.first_bytes = Some(connection.sensed.first_bytes());
        rec.facts.client.bytes_read = Some(connection.sensed.bytes_read());
        connection.note_certificate(&mut rec.facts.client);
        let now = Instant::now();
        match ending {
            Ending::Left => {}
            Ending::Drained => rec.ending.drained(now),
            Ending::Silent(waited) => {
                rec.ending
                    .timer_fired(TimerKey::RequestHead, limit, *waited, now);
            }
            Ending::Broken(fault, code, detail) => {
                rec.ending.refused_http2(*fault, *code, detail.clone(), now);
            }
        }
        let (end, cause, at) = match connection.sensed.end() {
            Some(end) if matches!(ending, Ending::Left) => (end.end, end.cause, end.at),
            _ => (TransportEnd::Local, None, now),
        };
        rec.ending.transport_ended(Leg::Client, end, cause, at);
    });
    session.settle();
}

/// Writes the record of a request that the library has refused by itself.
pub(super) fn refused(tap: &Tap, connection: &Arc<Connection>, refused: Refused) {
    let Refused { stream, reset } = refused;
    let session = tap.open_record(connection, clock::anchor());
    session.with(|rec| {
        let now = Instant::now();
        rec.reach(Phase::Request);
        rec.facts.client.bytes_read = Some(connection.sensed.bytes_read());
        if let Some(http2) = &mut rec.facts.client.http2 {
            http2.stream = Some(stream);
        }
        if let Some(code) = reset {
            let detail = format!(
                "the request on stream {stream} was reset with {:?}: it is malformed, or asks for \
                 what was not offered",
                Reason::from(code)
            );
            let fault = HeadFault::Http2Stream;
            rec.ending
                .refused_http2(fault, Some(code.into()), detail, now);
        } else {
            let detail = format!(
                "the head on stream {stream} was more than twice of what limits.head_bytes allows"
            );
            let limit = u64::try_from(tap.config.limits().head_bytes).ok();
            let key = DeniedKey::HeadBytes;
            rec.ending.denied(DeniedFact { key, detail, limit }, now);
            rec.facts.answer = Some(AnswerFacts {
                by: AnswerBy::Tap,
                status: 431,
                error: None,
                body_bytes: None,
                request_body_bytes: None,
                complete: true,
            });
        }
        rec.ending
            .transport_ended(Leg::Client, TransportEnd::Local, None, now);
    });
    session.settle();
}
