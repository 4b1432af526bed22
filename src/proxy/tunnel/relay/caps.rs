//! Ends a session at a frame that would exceed a cap. The bytes before the frame pass.

use std::task::Context;
use std::time::Instant;

use crate::proxy::tunnel::relay::{Relay, Turn};
use crate::session::caps::Over;
use crate::session::party::Direction;
use crate::session::record::CapKey;
use crate::transport::impossible::{Impossible, at_most};
use crate::transport::wire::end::WriteEnd;
use crate::ws::CloseCode;

impl Relay {
    /// A cap was met: of `bytes`, read in `direction`, only the front may pass.
    pub(super) fn cap_met(
        &mut self,
        direction: Direction,
        over: Over,
        cx: &mut Context<'_>,
        bytes: &[u8],
        now: Instant,
    ) -> Turn {
        let cut = match at_most(over.passes, bytes.len(), Impossible::Passes) {
            Ok(cut) => cut,
            Err(bug) => return self.faulted(&bug.into()),
        };
        let (front, rest) = bytes.split_at(cut);
        let (half, sink) = match direction {
            Direction::ToGateway => (&mut self.to_gateway, &mut self.gateway),
            Direction::ToClient => (&mut self.to_client, &mut self.client),
        };
        if !front.is_empty() {
            let mut passed = false;
            if let Some(sink) = sink.as_mut().filter(|_| !half.sink_gone) {
                // If this fails, or not all of it can be written, no Close can follow it.
                match sink.write(cx, front) {
                    Ok(()) => passed = sink.is_flushed(),
                    Err(WriteEnd(_, cause)) if cause.is_bug() => return self.faulted(&cause),
                    Err(_) => half.sink_gone = true,
                }
            }
            self.observed(direction, front, passed, now);
        }
        self.note_tcp();
        // Read the clock again: the decisive event must not share a time with the bytes before it.
        let at = Instant::now();
        tracing::debug!(key = ?over.key, direction = ?direction, "session cap reached");
        self.session.record().cap_met(over, direction, at);
        let any = self.send_closes(cx, CloseCode::TOO_BIG, &reason(&over), at);
        // From here on bytes are read and counted, but not passed on.
        self.closing_ourselves = true;
        self.observed(direction, rest, false, now);
        if any { Turn::Moved } else { Turn::Broken }
    }
}

/// The Close reason for both ends.
fn reason(over: &Over) -> String {
    let Over {
        limit, observed, ..
    } = over;
    match over.key {
        CapKey::Bytes => format!("wstap: more than {limit} bytes in one direction of a session"),
        CapKey::MessageBytes => {
            format!("wstap: a message of {observed} bytes, and {limit} are allowed")
        }
        CapKey::MessagesPerSecond => {
            format!("wstap: more messages than {limit} a second")
        }
        CapKey::BytesPerSecond => format!("wstap: more than {limit} bytes a second"),
    }
}
