//! Facts of a dialect that has no type of its own here: one without facts beyond those that every dialect
//! has, or one that only another version of the program knows.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::common::{Application, ConnectResult, InflateFacts, Refusal, ShutdownFacts};
use crate::session::moment::Moment;
use crate::session::text::PeerText;

/// What the two ends of a session said, in the terms that every dialect has. What else a record says
/// of its dialect is kept as it was read.
#[derive(Clone, Debug, Default, PartialEq, Serialize, JsonSchema)]
pub struct OtherFacts {
    /// Name of the dialect.
    #[schemars(extend("not" = {"enum": ["openclaw", "plain"]}))]
    pub name: String,
    /// When the client asked to be let in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub asked_at: Option<Moment>,
    /// When the gateway answered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub answered_at: Option<Moment>,
    /// What became of the client's request to be let in.
    #[serde(skip_serializing_if = "is_none")]
    pub result: ConnectResult,
    /// The refusal.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<OtherError>,
    /// The gateway said that it goes down.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shutdown: Option<ShutdownFacts>,
    /// How reading compressed messages went.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub inflate: Option<InflateFacts>,
    /// The rest.
    #[serde(flatten)]
    pub rest: BTreeMap<String, Value>,
}

/// A refusal.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct OtherError {
    /// The gateway's code.
    pub code: Option<PeerText>,
    /// The gateway's words.
    pub message: Option<PeerText>,
    /// When the client may try again.
    pub retry_after_ms: Option<u64>,
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "the signature that serde asks for"
)]
fn is_none(result: &ConnectResult) -> bool {
    *result == ConnectResult::None
}

impl OtherFacts {
    /// Facts from the JSON of a record. A part in a form that is not known here stays what it was.
    pub(super) fn read(name: String, mut fields: Map<String, Value>) -> Self {
        Self {
            name,
            asked_at: take(&mut fields, "asked_at"),
            answered_at: take(&mut fields, "answered_at"),
            result: take(&mut fields, "result"),
            error: take(&mut fields, "error"),
            shutdown: take(&mut fields, "shutdown"),
            inflate: take(&mut fields, "inflate"),
            rest: fields.into_iter().collect(),
        }
    }

    pub(super) fn application(&self) -> Application<'_> {
        Application {
            result: self.result,
            asked_at: self.asked_at,
            answered_at: self.answered_at,
            client_spoke: self.asked_at.is_some(),
            refusal: self.error.as_ref().map(|error| Refusal {
                how: "the gateway refused the client",
                message: error.message.as_ref(),
                codes: error.code.iter().map(|code| ("code", code)).collect(),
                retry_after_ms: error.retry_after_ms,
            }),
            shutdown: self.shutdown.as_ref(),
            ..Application::default()
        }
    }
}

/// Takes a field out, if it would be written again exactly as it was read.
fn take<T>(fields: &mut Map<String, Value>, key: &str) -> T
where
    T: Default + PartialEq + Serialize + DeserializeOwned,
{
    let Some(value) = fields.get(key) else {
        return T::default();
    };
    let read = T::deserialize(value).unwrap_or_default();
    let same = serde_json::to_value(&read).is_ok_and(|written| written == *value);
    // What is not written because it is the default stays with the rest.
    if !same || read == T::default() {
        return T::default();
    }
    fields.remove(key);
    read
}
