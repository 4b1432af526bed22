//! Decides which breach of RFC 6455 ended a tunnel, if one did.
//!
//! A breach explains an ending only when it came first and the ending follows from it. Peers
//! tolerate many breaches, and a session that went on for longer than a moment was tolerated.

use super::view::{Decisive, View, violation_words};
use crate::session::moment::Moment;
use crate::session::party::{Direction, Leg};
use crate::session::record::frames::ViolationCount;
use crate::session::record::{CloseSeen, Confidence, TransportEnd};
use crate::ws::Violation;

/// A library that detects a breach answers it or cuts the connection within this time.
const AT_ONCE_MS: i64 = 1000;

/// The breach that explains how a tunnel ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Breach {
    /// The end that broke the protocol first.
    pub by: Leg,
    /// The rule that it broke.
    pub kind: Violation,
    /// The end that ended the session because of it.
    pub ended_by: Leg,
    /// How it ended the session.
    pub reaction: Reaction,
    /// The other end answered with a breach itself, for example by echoing an invalid ping.
    pub answered_in_kind: bool,
    /// Confidence that the ending follows from the breach.
    pub confidence: Confidence,
}

/// How an end reacted to a breach.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reaction {
    /// A Close frame with a code for protocol errors.
    Close(u16),
    /// It ended its connection without a Close.
    Cut,
}

impl View<'_> {
    /// The breach of RFC 6455 that explains the ending of the tunnel.
    #[must_use]
    pub fn breach(&self) -> Option<Breach> {
        let (ended_by, reaction) = self.reaction()?;
        let end = self.decided_at()?;
        let other = ended_by.other();
        let fits = |one: &&ViolationCount| one.first_at < end && follows(reaction, one, end);
        let found = self.violations_of(other).filter(fits).min_by_key(|one| {
            // If there are several breaches, prefer a recent one, then one that receivers check,
            // then the first.
            let tolerated = end.millis_since(one.first_at) > AT_ONCE_MS;
            (tolerated, one.kind.is_overlooked(), one.first_at)
        })?;
        // A breach by the ending side itself, shortly before: the other end may only have echoed
        // it.
        let own = self.violations_of(ended_by).filter(|own| {
            !own.kind.is_overlooked()
                && own.first_at < found.first_at
                && found.first_at.millis_since(own.first_at) <= AT_ONCE_MS
        });
        let first = own.min_by_key(|own| own.first_at);
        let (by, cause) = first.map_or((other, found), |own| (ended_by, own));
        let at_once = end.millis_since(cause.first_at) <= AT_ONCE_MS;
        let confidence = match reaction {
            Reaction::Close(_) if at_once && first.is_none() => Confidence::Certain,
            Reaction::Cut if cause.kind == Violation::InvalidUtf8 => Confidence::Possible,
            _ => Confidence::Likely,
        };
        Some(Breach {
            by,
            kind: cause.kind,
            ended_by,
            reaction,
            answered_in_kind: first.is_some(),
            confidence,
        })
    }

    /// The Close frame that decided, if it breaks RFC 6455 itself: the leg that sent it, the frame,
    /// and the rule.
    #[must_use]
    pub fn broken_close(&self) -> Option<(Leg, &CloseSeen, Violation)> {
        let leg = match self.decisive() {
            Decisive::GatewayClose => Leg::Gateway,
            Decisive::ClientClose => Leg::Client,
            _ => return None,
        };
        let close = self.close_of(leg)?;
        let illegal = close.code.is_some_and(|code| !code.is_legal_on_the_wire());
        let kind = if illegal {
            Violation::InvalidCloseCode
        } else {
            *close.breaks.first()?
        };
        Some((leg, close, kind))
    }

    /// How the deciding end ended the tunnel, if that can be a reaction to a breach.
    fn reaction(&self) -> Option<(Leg, Reaction)> {
        let close = |leg| {
            let code = self.close_of(leg)?.code?;
            Some((leg, Reaction::Close(code.0)))
        };
        match self.decisive() {
            Decisive::GatewayClose => close(Leg::Gateway),
            Decisive::ClientClose => close(Leg::Client),
            Decisive::GatewayTransport => self.cut(Leg::Gateway),
            Decisive::ClientTransport => self.cut(Leg::Client),
            Decisive::Refusal | Decisive::Tap | Decisive::Nothing => None,
        }
    }

    fn cut(&self, leg: Leg) -> Option<(Leg, Reaction)> {
        let by_choice = !matches!(
            self.end_of(leg),
            TransportEnd::Timeout | TransportEnd::Local | TransportEnd::None
        );
        let elsewhere = self.ended_with_others() || self.was_announced();
        (by_choice && !elsewhere).then_some((leg, Reaction::Cut))
    }

    /// The gateway had announced to this session or to others that it goes down: that ends
    /// sessions, whatever was sent in them.
    fn was_announced(&self) -> bool {
        let own = self.application().shutdown;
        let own = own.map(|event| event.at);
        let others = self.announced_to_others().map(|down| down.at);
        own.into_iter()
            .chain(others)
            .any(|at| Some(at) <= self.decided_at())
    }

    /// Other sessions ended in the same second, or a new process of the gateway came right after:
    /// their common cause is not one client's breach.
    fn ended_with_others(&self) -> bool {
        let Some(context) = &self.record().context else {
            return false;
        };
        let fresh = context.boots.last().map(|boot| boot.first_at);
        context.lost_together > 0 || fresh.is_some_and(|at| Some(at) >= self.decided_at())
    }

    fn violations_of(&self, leg: Leg) -> impl Iterator<Item = &ViolationCount> {
        let direction = match leg {
            Leg::Client => Direction::ToGateway,
            Leg::Gateway => Direction::ToClient,
        };
        let frames = self.frames_of(direction);
        frames
            .into_iter()
            .flat_map(|frames| frames.violations.iter())
    }
}

/// Whether this reaction at `end` can follow from a breach.
fn follows(reaction: Reaction, breach: &ViolationCount, end: Moment) -> bool {
    match reaction {
        // Some receivers call a length with its top bit set too big.
        Reaction::Close(1009) => breach.kind == Violation::LengthMsb,
        Reaction::Close(code) => matches!(code, 1002 | 1003 | 1007),
        Reaction::Cut => {
            !breach.kind.is_overlooked() && end.millis_since(breach.first_at) <= AT_ONCE_MS
        }
    }
}

impl Breach {
    /// One sentence: who broke which rule, and how the other end reacted.
    #[must_use]
    pub fn words(&self) -> String {
        let (by, kind) = (self.by.party().as_str(), violation_words(self.kind));
        let ended_by = self.ended_by.party().as_str();
        let end = match self.reaction {
            Reaction::Close(code) => format!("the {ended_by} closed with {code}"),
            Reaction::Cut => format!("the {ended_by} ended its connection at once"),
        };
        if self.answered_in_kind {
            let other = self.by.other().party().as_str();
            format!(
                "the {by} broke the WebSocket protocol first ({kind}), the {other} did too, and {end}"
            )
        } else {
            format!("the {by} broke the WebSocket protocol ({kind}), and {end}")
        }
    }
}
