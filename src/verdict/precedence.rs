//! The order in which the rules are tried: the first one that matches makes the verdict.
//!
//! The order is data. Each [`Stage`] has a list of steps, each [`Step`] a list of rules. Stages and
//! steps are tried in the listed order; within a step the order has no meaning, because no record
//! that the tap writes matches two of its rules. A special case comes before the general one, and a
//! rule that would blame the wrong party after the rule that explains why.

mod before_tunnel;
mod step;
mod tunnel;

pub(crate) use self::step::Step;

/// Every stage with its steps, in the order in which they are tried.
pub(crate) const PRECEDENCE: &[(Stage, &[Step])] = &[
    (Stage::Fault, before_tunnel::FAULT),
    (Stage::Denied, before_tunnel::DENIED),
    (Stage::Passthrough, before_tunnel::PASSTHROUGH),
    (Stage::Connection, before_tunnel::CONNECTION),
    (Stage::Dial, before_tunnel::DIAL),
    (Stage::Answer, before_tunnel::ANSWER),
    (Stage::Refusal, tunnel::REFUSAL),
    (Stage::Close, tunnel::CLOSE),
    (Stage::Transport, tunnel::TRANSPORT),
    (Stage::Fine, tunnel::FINE),
];

/// Rules that look at the same part of a session. Within `Close` and `Transport` the rules use
/// [`View::decisive`](super::View::decisive), which returns the earliest decisive fact, so that
/// later facts cannot override it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Stage {
    /// Our own bug explains everything else.
    Fault,
    /// Our policy refused the request.
    Denied,
    /// The connection passed unread.
    Passthrough,
    /// The connection ended before a request.
    Connection,
    /// The gateway was not reached.
    Dial,
    /// The HTTP answer decides.
    Answer,
    /// The gateway refused inside the tunnel.
    Refusal,
    /// A Close frame, a timer or the drain came first.
    Close,
    /// A transport ended first.
    Transport,
    /// The ending needs no other explanation.
    Fine,
}

impl Stage {
    /// The heading of the stage.
    #[must_use]
    pub const fn title(self) -> &'static str {
        match self {
            Self::Fault => "Faults of the tap",
            Self::Denied => "Refused by the tap",
            Self::Passthrough => "Passed unread",
            Self::Connection => "Before a request",
            Self::Dial => "Dialling the gateway",
            Self::Answer => "The HTTP answer",
            Self::Refusal => "Refused inside the WebSocket",
            Self::Close => "Close frames and timers",
            Self::Transport => "Lost connections",
            Self::Fine => "The rest",
        }
    }

    /// Why the stage comes before the next ones, as a sentence.
    #[must_use]
    pub const fn reason(self) -> &'static str {
        match self {
            Self::Fault => "A bug of the tap explains everything else in its record.",
            Self::Denied => "A request that the tap itself refused or cut off went no further.",
            Self::Passthrough => "If a connection passed unread, only its outside is known.",
            Self::Connection => {
                "Without a request there is nothing to judge but the client's own connection."
            }
            Self::Dial => "A gateway that was not reached has answered nothing.",
            Self::Answer => "Without a 101 there is no WebSocket whose end could be judged.",
            Self::Refusal => {
                "A refused client is closed or leaves: the refusal is the cause of both."
            }
            Self::Close => {
                "A Close frame, a timer or a cap ends a session on purpose, and the ends of the \
                 transports follow from it."
            }
            Self::Transport => {
                "Without a Close, only the transport that ended first can be judged."
            }
            Self::Fine => {
                "What remains is answered requests, and endings that no other rule explains."
            }
        }
    }

    /// The facts of a record that its rules examine.
    #[must_use]
    pub const fn looks_at(self) -> &'static str {
        match self {
            Self::Fault => "a fault that the tap recorded about itself",
            Self::Denied => "a refusal by the tap's own policy",
            Self::Passthrough => "the bytes that passed unread, and how both connections ended",
            Self::Connection => {
                "a connection that ended before a request, or input that is not a request head"
            }
            Self::Dial => "an error on the way to the gateway",
            Self::Answer => "the gateway's HTTP answer",
            Self::Refusal => "the gateway's message inside the WebSocket: its answer or its Close",
            Self::Close => "the earliest Close frame, timer or shutdown, before all that followed",
            Self::Transport => "a connection that ended before either end said why",
            Self::Fine => "an ending that both ends intended",
        }
    }
}

/// The ids of all rules, in the order in which they are tried.
pub(crate) fn ids() -> impl Iterator<Item = &'static str> {
    let steps = PRECEDENCE.iter().flat_map(|(_, steps)| steps.iter());
    steps.flat_map(|step| step.iter().copied())
}

/// The stage of a rule.
#[must_use]
pub(crate) fn stage_of(id: &str) -> Option<Stage> {
    let has = |steps: &[Step]| steps.iter().any(|step| step.contains(&id));
    let found = PRECEDENCE.iter().find(|(_, steps)| has(steps));
    found.map(|(stage, _)| *stage)
}
