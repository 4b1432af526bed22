//! What the application said inside the tunnel.
//!
//! Each dialect has facts of its own. [`Application`] is what all of them have in common.

mod common;
pub mod openclaw;
mod other;
mod requests;

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, de};
use serde_json::{Map, Value};

use self::openclaw::OpenClawFacts;
use super::close::CloseSeen;
use crate::session::credential::Credential;

pub use self::common::{
    Application, ConnectResult, GatewayProcess, InflateDirection, InflateFacts, Refusal,
    ShutdownFacts,
};
pub use self::other::{OtherError, OtherFacts};
pub use self::requests::{MethodFacts, RpcFacts, RpcFailure, RpcLatency, UnansweredRequest};

/// Facts of the application protocol, by the name of its dialect.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[serde(tag = "name")]
pub enum DialectFacts {
    /// The `OpenClaw` gateway protocol.
    #[serde(rename = "openclaw")]
    OpenClaw(Box<OpenClawFacts>),
    /// No message was read.
    #[serde(rename = "plain")]
    Plain(PlainFacts),
    /// Any other dialect.
    #[serde(untagged)]
    Other(Box<OtherFacts>),
}

/// No facts. Records have had all fields since the first version, so that all records of one tap
/// have the same form.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(into = "OpenClawFacts", from = "OpenClawFacts")]
#[schemars(with = "OpenClawFacts")]
pub struct PlainFacts;

impl From<PlainFacts> for OpenClawFacts {
    fn from(_: PlainFacts) -> Self {
        Self::default()
    }
}

impl From<OpenClawFacts> for PlainFacts {
    fn from(_: OpenClawFacts) -> Self {
        Self
    }
}

impl From<OpenClawFacts> for DialectFacts {
    fn from(facts: OpenClawFacts) -> Self {
        Self::OpenClaw(Box::new(facts))
    }
}

impl From<OtherFacts> for DialectFacts {
    fn from(facts: OtherFacts) -> Self {
        Self::Other(Box::new(facts))
    }
}

impl<'de> Deserialize<'de> for DialectFacts {
    /// Written by hand, because serde would read a broken record of a known dialect as one of an
    /// unknown dialect.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut fields = Map::<String, Value>::deserialize(deserializer)?;
        let name = match fields.remove("name") {
            None => String::new(),
            Some(Value::String(name)) => name,
            Some(_) => return Err(de::Error::custom("the dialect's name is not a string")),
        };
        let known = |fields| OpenClawFacts::deserialize(Value::Object(fields));
        match name.as_str() {
            "openclaw" => known(fields).map(Into::into),
            "plain" => known(fields).map(|facts| Self::Plain(facts.into())),
            _ => Ok(OtherFacts::read(name, fields).into()),
        }
        .map_err(de::Error::custom)
    }
}

impl DialectFacts {
    /// Name of the dialect.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::OpenClaw(_) => "openclaw",
            Self::Plain(_) => "plain",
            Self::Other(facts) => &facts.name,
        }
    }

    /// What was said, in the terms that every dialect has.
    #[must_use]
    pub fn application(&self) -> Application<'_> {
        match self {
            Self::OpenClaw(facts) => facts.application(),
            Self::Plain(_) => Application::default(),
            Self::Other(facts) => facts.application(),
        }
    }

    /// The facts of an `OpenClaw` session.
    #[must_use]
    pub fn openclaw(&self) -> Option<&OpenClawFacts> {
        match self {
            Self::OpenClaw(facts) => Some(facts),
            Self::Plain(_) | Self::Other(_) => None,
        }
    }

    /// Sets how reading of compressed messages went. A dialect that reads none has nothing to set.
    pub fn inflated(&mut self, inflate: Option<InflateFacts>) {
        match self {
            Self::OpenClaw(facts) => facts.inflate = inflate,
            Self::Plain(_) => {}
            Self::Other(facts) => facts.inflate = inflate,
        }
    }

    /// Whether the gateway compared the shared secret and found a different one.
    #[must_use]
    pub fn is_mismatch(&self, auth: &[Credential]) -> bool {
        self.openclaw().is_some_and(|facts| facts.is_mismatch(auth))
    }

    /// The credential that the gateway refused or accepted.
    #[must_use]
    pub fn compared<'a>(&self, auth: &'a [Credential]) -> Option<&'a Credential> {
        match self {
            Self::OpenClaw(facts) => facts.compared(auth),
            Self::Plain(_) | Self::Other(_) => auth.iter().find(|one| one.effective == Some(true)),
        }
    }

    /// Whether a Close says that the gateway removed the client's device.
    #[must_use]
    pub fn removes_device(&self, close: &CloseSeen) -> bool {
        self.openclaw().is_some() && openclaw::removes_device(close)
    }

    /// Whether a Close says that the gateway restarts or stops.
    #[must_use]
    pub fn announces(&self, close: &CloseSeen) -> bool {
        match self {
            // A gateway whose messages are not read is often an OpenClaw gateway.
            Self::OpenClaw(_) | Self::Plain(_) => {
                openclaw::announces(close.code, close.reason.as_str().as_bytes())
            }
            Self::Other(_) => false,
        }
    }
}
