//! Records the facts about a tunnel when its relay is dropped, however it ended.

use std::time::Instant;

use crate::dialect::Ending;
use crate::proxy::tunnel::relay::{Half, Relay};
use crate::session::Tunnelled;
use crate::session::moment::{Anchor, millis};
use crate::session::party::Leg;
use crate::session::record::dialect::InflateFacts;
use crate::session::record::frames::BlockedMs;
use crate::session::record::{Frames, Latency};

fn inflate(to_gateway: &Half, to_client: &Half, anchor: &Anchor) -> Option<InflateFacts> {
    let (to_gateway, to_client) = (
        to_gateway.observer.inflated(anchor),
        to_client.observer.inflated(anchor),
    );
    (to_gateway.is_some() || to_client.is_some()).then_some(InflateFacts {
        to_gateway,
        to_client,
    })
}

impl Drop for Relay {
    fn drop(&mut self) {
        let now = Instant::now();
        if !self.open && self.dialect.was_open() {
            self.session.record().session_opened();
        }
        self.note_tcp();
        self.note_refusals();
        for half in [&mut self.to_gateway, &mut self.to_client] {
            half.unblocked(now);
        }
        let (to_gateway, to_client) = (&self.to_gateway, &self.to_client);
        let (dialect, heartbeats) = (&self.dialect, &self.heartbeats);
        let buffered_max_bytes = self.buffered_max as u64;
        let added_us = self.live.added().summary();
        let mut record = self.session.record();
        let anchor = *record.anchor();
        let summary = |half: &Half| {
            half.observer
                .stats()
                .summary(half.observer.scanner(), &anchor)
        };
        let frames = Frames {
            to_gateway: summary(to_gateway),
            to_client: summary(to_client),
        };
        let latency = Latency {
            added_us,
            blocked_ms: BlockedMs {
                to_gateway: millis(to_gateway.blocked),
                to_client: millis(to_client.blocked),
            },
            buffered_max_bytes,
            ping_rtt: heartbeats.summary(),
            unanswered_pings: heartbeats.unanswered(&anchor),
        };
        let (mut said, credentials) = dialect.facts(&Ending {
            anchor: &anchor,
            now,
            written_to_gateway: to_gateway.written_to,
        });
        said.inflated(inflate(to_gateway, to_client, &anchor));
        record.tunnel_ended(Tunnelled::WebSocket {
            frames,
            latency,
            dialect: said,
        });
        if let Some(seen) = dialect.seen() {
            record.secrets_seen(seen);
        }
        record.said_credentials(credentials);
        for leg in [Leg::Client, Leg::Gateway] {
            // Ended neither by one of the sides nor by a rule of ours: the process is exiting.
            record.leg_ended_by_tap(leg, now);
        }
    }
}
