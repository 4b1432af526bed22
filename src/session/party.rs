//! Who takes part in a session, and how far one can get.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Who ended a session, or has to act on it.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Party {
    /// The downstream peer.
    Client,
    /// This program.
    Tap,
    /// Another proxy in the path.
    Hop,
    /// The network between.
    Network,
    /// The upstream peer.
    Gateway,
    /// Nobody: the session ended as both ends intended.
    None,
}

impl Party {
    /// The spelling in records and tables.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Tap => "tap",
            Self::Hop => "hop",
            Self::Network => "network",
            Self::Gateway => "gateway",
            Self::None => "none",
        }
    }
}

/// One of the two connections of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Leg {
    /// Between the client and the tap.
    Client,
    /// Between the tap and the gateway.
    Gateway,
}

impl Leg {
    /// The other leg.
    #[must_use]
    pub fn other(self) -> Self {
        match self {
            Self::Client => Self::Gateway,
            Self::Gateway => Self::Client,
        }
    }

    /// The party at the far end of this leg.
    #[must_use]
    pub fn party(self) -> Party {
        match self {
            Self::Client => Party::Client,
            Self::Gateway => Party::Gateway,
        }
    }
}

/// Which way bytes travel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    /// From the client.
    ToGateway,
    /// From the gateway.
    ToClient,
}

impl Direction {
    /// The leg that the bytes come from.
    #[must_use]
    pub fn from(self) -> Leg {
        match self {
            Self::ToGateway => Leg::Client,
            Self::ToClient => Leg::Gateway,
        }
    }

    /// The leg that the bytes go to.
    #[must_use]
    pub fn to(self) -> Leg {
        self.from().other()
    }
}

/// How far a session got. Later phases are greater.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    /// A connection was accepted.
    #[default]
    Accept,
    /// TLS with the client.
    Tls,
    /// Waiting for, or reading, a request head.
    Request,
    /// Checking our policy.
    Admission,
    /// Resolving, connecting and TLS to the gateway.
    Dial,
    /// The request was sent; waiting for the answer's head.
    Upgrade,
    /// The tunnel is open and the application has not accepted yet.
    Handshake,
    /// The application has accepted (with `dialect: plain`: the tunnel is open).
    Open,
    /// A Close frame was seen after `open`.
    Closing,
}

impl Phase {
    /// The spelling in records.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Accept => "accept",
            Self::Tls => "tls",
            Self::Request => "request",
            Self::Admission => "admission",
            Self::Dial => "dial",
            Self::Upgrade => "upgrade",
            Self::Handshake => "handshake",
            Self::Open => "open",
            Self::Closing => "closing",
        }
    }
}
