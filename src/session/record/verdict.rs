//! The last part of a record: whose fault it was. Data only; see [`crate::verdict`].

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::session::moment::Moment;
use crate::session::party::Party;

/// Where the cause of an ending lies. A closed set.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[expect(missing_docs, reason = "explained by `Class::about`")]
pub enum Class {
    #[serde(rename = "ok")]
    Ok,
    #[serde(rename = "probe")]
    Probe,
    #[serde(rename = "http.error")]
    HttpError,
    #[serde(rename = "client.left")]
    ClientLeft,
    #[serde(rename = "client.closed")]
    ClientClosed,
    #[serde(rename = "client.fault")]
    ClientFault,
    #[serde(rename = "tap.denied")]
    TapDenied,
    #[serde(rename = "tap.timeout")]
    TapTimeout,
    #[serde(rename = "tap.drain")]
    TapDrain,
    #[serde(rename = "tap.certificate")]
    TapCertificate,
    #[serde(rename = "tap.fault")]
    TapFault,
    #[serde(rename = "hop.fault")]
    HopFault,
    #[serde(rename = "network.cut")]
    NetworkCut,
    #[serde(rename = "gateway.unreachable")]
    GatewayUnreachable,
    #[serde(rename = "gateway.refused")]
    GatewayRefused,
    #[serde(rename = "gateway.silent")]
    GatewaySilent,
    #[serde(rename = "gateway.closed")]
    GatewayClosed,
    #[serde(rename = "gateway.left")]
    GatewayLeft,
    #[serde(rename = "gateway.lifecycle")]
    GatewayLifecycle,
    #[serde(rename = "gateway.limit")]
    GatewayLimit,
    #[serde(rename = "gateway.fault")]
    GatewayFault,
    #[serde(rename = "gateway.auth")]
    GatewayAuth,
    #[serde(rename = "gateway.pairing")]
    GatewayPairing,
    #[serde(rename = "gateway.origin")]
    GatewayOrigin,
    #[serde(rename = "gateway.protocol")]
    GatewayProtocol,
    #[serde(rename = "channel")]
    Channel,
    #[serde(rename = "unknown")]
    Unknown,
}

impl Class {
    /// Every class, in the order of the documentation.
    pub const ALL: [Self; 27] = [
        Self::Ok,
        Self::Probe,
        Self::HttpError,
        Self::ClientLeft,
        Self::ClientClosed,
        Self::ClientFault,
        Self::TapDenied,
        Self::TapTimeout,
        Self::TapDrain,
        Self::TapCertificate,
        Self::TapFault,
        Self::HopFault,
        Self::NetworkCut,
        Self::GatewayUnreachable,
        Self::GatewayRefused,
        Self::GatewaySilent,
        Self::GatewayClosed,
        Self::GatewayLeft,
        Self::GatewayLifecycle,
        Self::GatewayLimit,
        Self::GatewayFault,
        Self::GatewayAuth,
        Self::GatewayPairing,
        Self::GatewayOrigin,
        Self::GatewayProtocol,
        Self::Channel,
        Self::Unknown,
    ];

    /// The spelling in records.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Probe => "probe",
            Self::HttpError => "http.error",
            Self::ClientLeft => "client.left",
            Self::ClientClosed => "client.closed",
            Self::ClientFault => "client.fault",
            Self::TapDenied => "tap.denied",
            Self::TapTimeout => "tap.timeout",
            Self::TapDrain => "tap.drain",
            Self::TapCertificate => "tap.certificate",
            Self::TapFault => "tap.fault",
            Self::HopFault => "hop.fault",
            Self::NetworkCut => "network.cut",
            Self::GatewayUnreachable => "gateway.unreachable",
            Self::GatewayRefused => "gateway.refused",
            Self::GatewaySilent => "gateway.silent",
            Self::GatewayClosed => "gateway.closed",
            Self::GatewayLeft => "gateway.left",
            Self::GatewayLifecycle => "gateway.lifecycle",
            Self::GatewayLimit => "gateway.limit",
            Self::GatewayFault => "gateway.fault",
            Self::GatewayAuth => "gateway.auth",
            Self::GatewayPairing => "gateway.pairing",
            Self::GatewayOrigin => "gateway.origin",
            Self::GatewayProtocol => "gateway.protocol",
            Self::Channel => "channel",
            Self::Unknown => "unknown",
        }
    }

    /// The meaning, as part of a sentence.
    #[must_use]
    pub fn about(self) -> &'static str {
        match self {
            Self::Ok => "both ends ended it as they meant to",
            Self::Probe => {
                "a client checked that the port answers and sent nothing: a health check"
            }
            Self::HttpError => "the gateway answered a plain request with 4xx or 5xx",
            Self::ClientLeft => "the client vanished, or gave up, without saying why",
            Self::ClientClosed => "the client closed on purpose, for reasons of its own",
            Self::ClientFault => {
                "the client sent what may not be sent: broken TLS, HTTP or WebSocket"
            }
            Self::TapDenied => "the tap's own policy refused a well-formed request",
            Self::TapTimeout => "one of the tap's timers ran out",
            Self::TapDrain => "the tap was shutting down",
            Self::TapCertificate => "the client did not accept the tap's certificate",
            Self::TapFault => "the tap failed: a bug or overload of its own",
            Self::HopFault => "another proxy in the path changed, answered or cut the session",
            Self::NetworkCut => "packets were lost: the network between broke the connection",
            Self::GatewayUnreachable => {
                "the gateway could not be reached: name, address, socket or TLS"
            }
            Self::GatewayRefused => "the gateway was reached and did not open the WebSocket",
            Self::GatewaySilent => "the gateway did not answer in time",
            Self::GatewayClosed => "the gateway closed with a code that nothing else explains",
            Self::GatewayLeft => "the gateway's connection ended without a Close",
            Self::GatewayLifecycle => "the gateway was starting, restarting, stopping or reloading",
            Self::GatewayLimit => "one of the gateway's limits was reached",
            Self::GatewayFault => "the gateway failed or broke the protocol",
            Self::GatewayAuth => "the gateway did not accept the client's credential or identity",
            Self::GatewayPairing => "the client's device is not paired, or not for what it asks",
            Self::GatewayOrigin => "the gateway did not accept the page's origin",
            Self::GatewayProtocol => "client and gateway do not speak the same protocol or version",
            Self::Channel => "the session was open and its requests failed",
            Self::Unknown => "no rule explains it: a gap in the rules",
        }
    }

    /// The layer of the ladder that the class belongs to, if it has one.
    #[must_use]
    pub fn layer(self) -> Option<Layer> {
        match self {
            Self::Ok
            | Self::Probe
            | Self::HttpError
            | Self::ClientClosed
            | Self::GatewayClosed
            | Self::Unknown => None,
            Self::GatewayAuth
            | Self::GatewayPairing
            | Self::GatewayOrigin
            | Self::GatewayProtocol => Some(Layer::L2),
            Self::Channel => Some(Layer::L3),
            _ => Some(Layer::L1),
        }
    }

    /// Whether the session went as it should, so that nobody has to act.
    #[must_use]
    pub fn is_fine(self) -> bool {
        matches!(self, Self::Ok | Self::Probe)
    }
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// The rungs of the ladder.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Layer {
    /// Transport.
    L1,
    /// Authentication and pairing.
    L2,
    /// Channels and requests.
    L3,
}

/// How sure a verdict is.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Confidence {
    /// Fits the facts, but so do others.
    Possible,
    /// The facts point here and to no other known cause.
    Likely,
    /// The facts prove it.
    Certain,
}

/// Who has to do something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[expect(missing_docs, reason = "the parties, an operator, or nobody")]
pub enum ActOn {
    Client,
    Tap,
    Hop,
    Network,
    Gateway,
    Operator,
    Nobody,
}

/// One observed fact.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Evidence {
    /// When it was observed, if that matters.
    pub at: Option<Moment>,
    /// What was observed.
    pub fact: String,
}

/// Whose fault it was, with evidence and one next action.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Verdict {
    /// The id of the rule that matched first.
    pub rule: String,
    /// Where the cause lies.
    pub class: Class,
    /// Who ended it.
    pub party: Party,
    /// Who has to do something.
    pub act_on: ActOn,
    /// The rung of the ladder.
    pub layer: Option<Layer>,
    /// How sure the verdict is.
    pub confidence: Confidence,
    /// One sentence.
    pub summary: String,
    /// Observed facts.
    pub evidence: Vec<Evidence>,
    /// One action, exact enough to paste.
    pub next: String,
}
