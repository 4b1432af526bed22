//! A dialect that only tests have: it proves that a dialect needs nothing beyond the trait and its
//! profile.
//!
//! A client says `HELLO <ticket>`, and the gateway `WELCOME` or `DENIED <code> <words>`. Before the
//! gateway goes down it says `CLOSING`, with the milliseconds until it is back, if it comes back.

pub(crate) mod rules;

use std::time::Instant;

use super::profile::{Profile, profile};
use super::protocol::{Dialect, Ending, Message};
use crate::session::credential::{Credential, Fingerprinter};
use crate::session::party::Direction;
use crate::session::record::DialectFacts;
use crate::session::record::dialect::{ConnectResult, OtherError, OtherFacts, ShutdownFacts};
use crate::session::secrets::SeenSecrets;
use crate::session::text::PeerText;
use crate::ws::Opcode;

/// See [`Profile`].
pub(crate) static PROFILE: Profile = Profile {
    ignores_head: |target| target == "/lantern",
    credential_headers: &["x-lantern"],
    ..profile("lantern", |fingerprinter, _| {
        Box::new(Lantern {
            fingerprinter: fingerprinter.clone(),
            asked: None,
            answered: None,
            error: None,
            closing: None,
            credential: None,
            seen: SeenSecrets::default(),
        })
    })
};

/// Longer messages are not read.
const MOST: usize = 256;

struct Lantern {
    fingerprinter: Fingerprinter,
    asked: Option<Instant>,
    answered: Option<Instant>,
    error: Option<OtherError>,
    closing: Option<(Instant, Option<u64>)>,
    credential: Option<Credential>,
    seen: SeenSecrets,
}

impl Lantern {
    fn client_said(&mut self, text: &str, now: Instant) {
        if let (None, Some(ticket)) = (self.asked, text.strip_prefix("HELLO ")) {
            self.asked = Some(now);
            self.seen.add(ticket.as_bytes());
            let credential =
                Credential::observe(&self.fingerprinter, "frame:HELLO", ticket.as_bytes());
            self.credential = Some(credential.with_effective(true));
        }
    }

    fn gateway_said(&mut self, text: &str, now: Instant) {
        let words: Vec<&str> = text.splitn(3, ' ').collect();
        match (words.as_slice(), self.answered) {
            // Without a question, this is not an answer.
            (_, None) if self.asked.is_none() => {}
            (["WELCOME"], None) => self.answered = Some(now),
            (["DENIED", code, words], None) => {
                self.answered = Some(now);
                self.error = Some(OtherError {
                    code: Some(PeerText::new(code, 64)),
                    message: Some(PeerText::new(words, 120)),
                    retry_after_ms: None,
                });
            }
            (["CLOSING", rest @ ..], Some(_)) => {
                let back = rest.first().and_then(|ms| ms.parse().ok());
                self.closing.get_or_insert((now, back));
            }
            _ => {}
        }
    }
}

impl Dialect for Lantern {
    fn wants(&self, _: Direction, opcode: Opcode) -> usize {
        if opcode == Opcode::Text { MOST } else { 0 }
    }

    fn message(&mut self, direction: Direction, message: &Message<'_>, now: Instant) {
        let text = String::from_utf8_lossy(message.bytes);
        match direction {
            _ if message.compressed || !message.whole => {}
            Direction::ToGateway => self.client_said(&text, now),
            Direction::ToClient => self.gateway_said(&text, now),
        }
    }

    fn is_open(&self) -> bool {
        self.answered.is_some() && self.error.is_none()
    }

    fn seen(&self) -> Option<&SeenSecrets> {
        Some(&self.seen)
    }

    fn going_down(&self) -> Option<(Instant, Option<u64>)> {
        self.closing
    }

    fn facts(&self, ending: &Ending<'_>) -> (DialectFacts, Vec<Credential>) {
        let at = |at| ending.anchor.at(at);
        let facts = OtherFacts {
            name: PROFILE.name.to_owned(),
            asked_at: self.asked.map(at),
            answered_at: self.answered.map(at),
            result: match (self.answered, &self.error) {
                (None, _) => ConnectResult::None,
                (Some(_), None) => ConnectResult::Accepted,
                (Some(_), Some(_)) => ConnectResult::Refused,
            },
            error: self.error.clone(),
            shutdown: self
                .closing
                .map(|(said, restart_expected_ms)| ShutdownFacts {
                    reason: None,
                    restart_expected_ms,
                    at: at(said),
                }),
            ..OtherFacts::default()
        };
        (facts.into(), self.credential.iter().cloned().collect())
    }
}
