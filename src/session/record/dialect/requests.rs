//! Requests and their answers inside a session.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::session::moment::Moment;
use crate::session::text::PeerText;

/// Requests after the handshake, matched with their responses by id. They are read from the front
/// of each message; what does not show there is counted as unseen, never guessed.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct RpcFacts {
    /// Requests of the client.
    pub requests: u64,
    /// Responses that answered one of them.
    pub responses: u64,
    /// Responses with `ok: false`.
    pub errors: u64,
    /// Responses to no request that was waiting: one answer too many, or to one that was not followed.
    pub unmatched: u64,
    /// Requests whose id was still waiting for its answer.
    pub duplicate_ids: u64,
    /// Requests that were not followed, because 256 others were waiting.
    pub untracked: u64,
    /// Messages of the client whose front did not show what they were.
    pub unseen_to_gateway: u64,
    /// Messages of the gateway whose front did not show what they were.
    pub unseen_to_client: u64,
    /// How many requests had no answer at the end; `null` when answers may have been unseen.
    pub unanswered_count: Option<u64>,
    /// The oldest of them, at most 16.
    pub unanswered: Vec<UnansweredRequest>,
    /// How many requests the gateway had accepted and whose result had not come at the end; `null`
    /// when it may have been unseen. They count as answered.
    pub unfinished_count: Option<u64>,
    /// The oldest of them, at most 16.
    pub unfinished: Vec<UnansweredRequest>,
    /// By method, at most 32 of them in order of appearance; the rest in one more without a name.
    pub methods: Vec<MethodFacts>,
    /// Failed requests by method and code, at most 16 kinds.
    pub failures: Vec<RpcFailure>,
}

/// A request without an answer, or without its result.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct UnansweredRequest {
    /// Its method.
    pub method: PeerText,
    /// When it came.
    pub at: Moment,
    /// How long it had waited at the end.
    pub age_ms: f64,
    /// All of it was written to the gateway's connection.
    pub written: bool,
}

/// One method's requests.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct MethodFacts {
    /// Its name; `null` for all that found no room of their own.
    pub method: Option<PeerText>,
    /// How often it was asked for.
    pub requests: u64,
    /// How many answers came.
    pub responses: u64,
    /// How many of them said `ok: false`.
    pub errors: u64,
    /// From request to answer, as they passed; `null` without an answer.
    pub latency_ms: Option<RpcLatency>,
}

/// Latencies of one method.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
#[expect(missing_docs, reason = "each name says it")]
pub struct RpcLatency {
    pub min: f64,
    pub mean: f64,
    pub max: f64,
}

/// One way in which requests failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RpcFailure {
    /// Its method.
    pub method: PeerText,
    /// `error.code`.
    pub code: Option<PeerText>,
    /// `error.details.code`.
    pub details_code: Option<PeerText>,
    /// The front of `error.message`, of the first one.
    #[serde(default)]
    pub message: Option<PeerText>,
    /// `error.details.missingScope`; of gateways before 2026.8, which send no details, what the message
    /// names.
    pub missing_scope: Option<PeerText>,
    /// How often.
    pub count: u64,
    /// The first time.
    pub first_at: Moment,
}
