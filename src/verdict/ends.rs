//! How a session ended, as evidence.

use super::view::{View, at, fact, human_bytes, human_ms, limit};
use super::words::{close_words, opcode_word, stream_fault_words, violation_words};
use crate::session::party::{Direction, Leg};
use crate::session::record::{Evidence, TransportEnd};

impl View<'_> {
    /// A leg's Close frame as evidence.
    #[must_use]
    pub fn close_evidence(&self, leg: Leg) -> Option<Evidence> {
        self.close_of(leg).map(|close| {
            at(
                close.at,
                format!(
                    "the {} sent Close {}",
                    leg.party().as_str(),
                    close_words(close)
                ),
            )
        })
    }

    /// How a leg's transport ended, as evidence.
    #[must_use]
    pub fn end_evidence(&self, leg: Leg) -> Option<Evidence> {
        let transport = &self.record().close.transport;
        let (end, when, cause) = match leg {
            Leg::Client => (
                transport.client,
                transport.client_at,
                &transport.client_cause,
            ),
            Leg::Gateway => (
                transport.gateway,
                transport.gateway_at,
                &transport.gateway_cause,
            ),
        };
        let who = leg.party().as_str();
        if let Some(fault) = self.fault_of(leg) {
            let said = cause
                .as_ref()
                .map_or_else(String::new, |cause| format!(": {cause}"));
            return Some(Evidence {
                at: when,
                fact: format!("the {who} {}{said}", stream_fault_words(fault)),
            });
        }
        let what = match end {
            TransportEnd::Fin => format!("the {who}'s connection ended with FIN"),
            TransportEnd::Rst => format!("the {who}'s connection was reset"),
            TransportEnd::TlsClose => format!("the {who} ended TLS with close_notify"),
            TransportEnd::TlsTruncated => {
                format!("the {who}'s connection ended with FIN and without close_notify")
            }
            TransportEnd::Timeout => format!("the {who}'s connection timed out in the kernel"),
            TransportEnd::Local => format!("we ended the {who}'s connection"),
            TransportEnd::None => return None,
        };
        let refused = transport.client_refused_at.is_some() && leg == Leg::Client;
        let what = if refused {
            format!("{what}, and what was sent to it afterwards was answered with a reset")
        } else {
            what
        };
        let what = match cause {
            Some(cause) if end != TransportEnd::TlsTruncated => format!("{what}: {cause}"),
            _ => what,
        };
        Some(Evidence {
            at: when,
            fact: what,
        })
    }

    /// The timer that fired, as evidence.
    #[must_use]
    pub fn timer_evidence(&self) -> Option<Evidence> {
        self.record().close.timer.map(|timer| {
            at(
                timer.at,
                format!(
                    "our timer timeouts.{} fired after {} (limit {})",
                    timer.key.as_str(),
                    human_ms(timer.observed_ms),
                    limit(timer.limit_ms),
                ),
            )
        })
    }

    /// Both legs in order of time: the usual evidence of a tunnel's ending.
    #[must_use]
    pub fn both_legs(&self) -> Vec<Evidence> {
        let mut all: Vec<Evidence> = [Leg::Gateway, Leg::Client]
            .into_iter()
            .flat_map(|leg| [self.close_evidence(leg), self.end_evidence(leg)])
            .chain([self.timer_evidence()])
            .flatten()
            .collect();
        all.sort_by_key(|evidence| evidence.at);
        all.extend(self.missed_pings_evidence());
        all.extend(self.unanswered_evidence());
        all.extend(self.frame_evidence());
        all.extend(self.saw());
        all
    }

    /// Facts of the frames that may explain an ending: a frame that was cut off, breaches of the
    /// protocol.
    #[must_use]
    pub fn frame_evidence(&self) -> Vec<Evidence> {
        let mut all = Vec::new();
        for direction in [Direction::ToClient, Direction::ToGateway] {
            let Some(frames) = self.frames_of(direction) else {
                continue;
            };
            let who = direction.from().party().as_str();
            if let Some(cut) = frames.in_progress {
                all.push(fact(format!(
                    "a {} frame of the {who} was cut off after {} of {}",
                    opcode_word(cut.opcode),
                    human_bytes(cut.seen),
                    human_bytes(cut.declared),
                )));
            } else if frames.partial_header > 0 {
                all.push(fact(format!("a frame header of the {who} was cut off")));
            }
            all.extend(frames.violations.iter().map(|violation| {
                let times = if violation.count > 1 {
                    format!(" ({} times)", violation.count)
                } else {
                    String::new()
                };
                at(
                    violation.first_at,
                    format!(
                        "the {who} broke RFC 6455: {}{times}",
                        violation_words(violation.kind)
                    ),
                )
            }));
        }
        all
    }
}
