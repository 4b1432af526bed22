//! Facts of a dialect without a type here: one that has no facts beyond those of every dialect, or
//! one that only another version of the program knows.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::common::{Application, ConnectResult, InflateFacts, Refusal, ShutdownFacts};
use crate::session::moment::Moment;
use crate::session::text::PeerText;

/// What the two ends of a session said, in the terms that every dialect has. The rest of a record's
/// dialect facts is kept as it was read.
#[derive(Clone, Debug, Default, PartialEq, Serialize, JsonSchema)]
pub struct OtherFacts {
    /// Name of the dialect.
    #[schemars(extend("not" = {"enum": ["openclaw", "plain"]}))]
    pub name: String,
    /// When the client sent its connect request.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub asked_at: Option<Moment>,
    /// When the gateway answered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub answered_at: Option<Moment>,
    /// Outcome of the client's connect request.
    #[serde(skip_serializing_if = "is_none")]
    pub result: ConnectResult,
    /// The refusal.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<OtherError>,
    /// The gateway's announcement that it goes down.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shutdown: Option<ShutdownFacts>,
    /// How reading of compressed messages went.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub inflate: Option<InflateFacts>,
    /// All other fields.
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
    /// Reads facts from the JSON of a record. A field of unknown form is kept as it is.
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

/// Takes a field out if it would be written again exactly as it was read.
fn take<T>(fields: &mut Map<String, Value>, key: &str) -> T
where
    T: Default + PartialEq + Serialize + DeserializeOwned,
{
    let Some(value) = fields.get(key) else {
        return T::default();
    };
    let read = T::deserialize(value).unwrap_or_default();
    let same = serde_json::to_value(&read).is_ok_and(|written| written == *value);
    // A default value, which is not written, stays with the rest.
    if !same || read == T::default() {
        return T::default();
    }
    fields.remove(key);
    read
}
