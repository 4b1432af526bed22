//! The requests of a session: evidence for every ending, and the questions of rules about them.

use super::view::{Decisive, View, at, fact, front, human_ms, short};
use crate::session::party::Leg;
use crate::session::record::dialect::{RpcFacts, RpcFailure, UnansweredRequest};
use crate::session::record::{Evidence, TransportEnd};
use crate::session::text::PeerText;

/// Maximum number of unanswered requests that a verdict names.
const NAMED: usize = 3;

/// After this time the kernel has retransmitted unacknowledged bytes (RFC 6298: about a second).
const SENT_AGAIN_MS: f64 = 2000.0;

impl<'a> View<'a> {
    /// Facts about its requests; `None` for dialects without requests, and unless the client was let in.
    #[must_use]
    pub fn rpc(&self) -> Option<&'a RpcFacts> {
        self.record().application().requests
    }

    /// The oldest requests that were certainly unanswered at the end.
    #[must_use]
    pub fn unanswered(&self) -> &'a [UnansweredRequest] {
        self.rpc()
            .filter(|rpc| rpc.unanswered_count.is_some())
            .map_or(&[], |rpc| &rpc.unanswered)
    }

    /// Whether the gateway's host has acknowledged a request of this age; `None` if the kernel
    /// could not be asked or does not know.
    #[must_use]
    pub fn acknowledged(&self, age_ms: f64) -> Option<bool> {
        self.acknowledged_by(Leg::Gateway, age_ms)
    }

    /// Like [`Self::acknowledged`], for bytes that were sent to this leg `age_ms` before the end.
    #[must_use]
    pub fn acknowledged_by(&self, leg: Leg, age_ms: f64) -> Option<bool> {
        let tcp = self.tcp_of(leg)?;
        if tcp.retries > 0 {
            return Some(false);
        }
        if tcp.unacked == 0 {
            // After a connection has broken, the kernel no longer knows which bytes were in flight.
            let broke = matches!(self.end_of(leg), TransportEnd::Rst | TransportEnd::Timeout);
            return (!broke).then_some(true);
        }
        // Only newer bytes are in flight: these would have been retransmitted by now.
        Some(age_ms >= SENT_AGAIN_MS)
    }

    /// The requests that an ending left unanswered, and what that means for each.
    #[must_use]
    pub fn unanswered_evidence(&self) -> Vec<Evidence> {
        let waiting = self.unanswered();
        let by_client = matches!(
            self.decisive(),
            Decisive::ClientClose | Decisive::ClientTransport
        );
        let mut all: Vec<Evidence> = waiting
            .iter()
            .take(NAMED)
            .map(|request| {
                let fate = match (request.written, self.acknowledged(request.age_ms)) {
                    (false, _) => "it was not written to the gateway whole",
                    (true, _) if by_client => {
                        "it went to the gateway and may have been carried out; the client did not \
                         wait longer"
                    }
                    (true, Some(true)) => {
                        "request delivered, response lost: it may have been carried out, do not \
                         retry it blindly"
                    }
                    (true, _) => {
                        "it was sent to the gateway and its arrival is not proven: it may have \
                         been carried out, do not retry it blindly"
                    }
                };
                at(
                    request.at,
                    format!(
                        "the request {} had no answer after {}: {fate}",
                        short(&request.method),
                        human_ms(request.age_ms)
                    ),
                )
            })
            .collect();
        let count = self.rpc().and_then(|rpc| rpc.unanswered_count);
        let more = count.unwrap_or_default().saturating_sub(all.len() as u64);
        if !all.is_empty() && more > 0 {
            all.push(fact(format!("{more} more requests had no answer")));
        }
        all.extend(self.unfinished_evidence(by_client));
        all
    }

    /// The requests whose work had begun but whose results had not come.
    fn unfinished_evidence(&self, by_client: bool) -> Vec<Evidence> {
        let unfinished = self
            .rpc()
            .filter(|rpc| rpc.unfinished_count.is_some())
            .map_or(&[][..], |rpc| &rpc.unfinished);
        let advice = if by_client {
            "the client did not wait for it"
        } else {
            "the work may go on without it, so look before you send it again"
        };
        let facts = unfinished.iter().take(NAMED).map(|request| {
            at(
                request.at,
                format!(
                    "the gateway had accepted {} and its result had not come after {}: {advice}",
                    short(&request.method),
                    human_ms(request.age_ms)
                ),
            )
        });
        facts.collect()
    }

    /// The failures of its requests, if there was at least one answer and all said `ok: false`.
    #[must_use]
    pub fn only_failures(&self) -> Option<&'a RpcFacts> {
        self.rpc().filter(|rpc| {
            rpc.responses > 0
                && rpc.errors == rpc.responses
                // An answer that was not matched to its request may have been a success.
                && rpc.unmatched == 0
                && rpc.unseen_to_client == 0
        })
    }
}

impl RpcFailure {
    /// A scope was missing.
    #[must_use]
    pub fn lacks_scope(&self) -> bool {
        let is = |text: &Option<PeerText>, wanted: &str| {
            text.as_ref().is_some_and(|text| text.as_str() == wanted)
        };
        // Before 2026.8 there is no code; the dialect reads the scope from the message.
        match &self.details_code {
            Some(_) => is(&self.details_code, "MISSING_SCOPE"),
            None => self.missing_scope.is_some(),
        }
    }

    /// The gateway's own words, if they say more than the missing scope.
    fn words(&self) -> Option<String> {
        let message = self.message.as_ref().filter(|_| !self.lacks_scope())?;
        Some(front(message, 120))
    }

    /// The failure as evidence.
    #[must_use]
    pub fn evidence(&self) -> Evidence {
        let part = |name: &str, text: &Option<PeerText>| {
            text.as_ref()
                .map_or_else(String::new, |text| format!(", {name} {}", short(text)))
        };
        let times = match self.count {
            1 => String::new(),
            count => format!(" ({count} times)"),
        };
        at(
            self.first_at,
            format!(
                "the gateway answered {} with ok: false{}{}{}{}{times}",
                short(&self.method),
                part("code", &self.code),
                part("details.code", &self.details_code),
                part("missing scope", &self.missing_scope),
                self.words()
                    .map_or_else(String::new, |words| format!(": {words}")),
            ),
        )
    }
}
