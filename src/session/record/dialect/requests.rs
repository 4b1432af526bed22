//! Requests and their answers inside a session.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::session::moment::Moment;
use crate::session::text::PeerText;

/// Requests after the handshake, matched with their responses by id. They are read from the
/// beginning of each message; a message whose beginning does not show what it is counts as unseen,
/// and is never guessed.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct RpcFacts {
    /// Requests of the client.
    pub requests: u64,
    /// Responses that answered one of them.
    pub responses: u64,
    /// Responses with `ok: false`.
    pub errors: u64,
    /// Responses to no pending request: a second answer, or an answer to a request that was not
    /// tracked.
    pub unmatched: u64,
    /// Requests whose id was already pending.
    pub duplicate_ids: u64,
    /// Requests that were not tracked, because 256 others were pending.
    pub untracked: u64,
    /// Messages of the client whose beginning did not show what they were.
    pub unseen_to_gateway: u64,
    /// Messages of the gateway whose beginning did not show what they were.
    pub unseen_to_client: u64,
    /// How many requests had no answer at the end; `null` when answers may have been unseen.
    pub unanswered_count: Option<u64>,
    /// The oldest unanswered requests, at most 16.
    pub unanswered: Vec<UnansweredRequest>,
    /// How many requests the gateway had accepted but not finished at the end; `null` if the result
    /// may have been unseen. They count as answered.
    pub unfinished_count: Option<u64>,
    /// The oldest unfinished requests, at most 16.
    pub unfinished: Vec<UnansweredRequest>,
    /// Requests by method, at most 32 methods in order of appearance; all others in one entry
    /// without a name.
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
    /// Whether all of it was written to the gateway's connection.
    pub written: bool,
}

/// One method's requests.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct MethodFacts {
    /// Its name; `null` for the entry of all methods beyond the limit.
    pub method: Option<PeerText>,
    /// Number of requests with this method.
    pub requests: u64,
    /// How many answers came.
    pub responses: u64,
    /// How many of them said `ok: false`.
    pub errors: u64,
    /// Time from request to answer, as they passed; `null` without an answer.
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
    /// The beginning of `error.message`, from the first failure.
    #[serde(default)]
    pub message: Option<PeerText>,
    /// `error.details.missingScope`; for gateways before 2026.8, which send no details, the scope
    /// that the message names.
    pub missing_scope: Option<PeerText>,
    /// How often it failed this way.
    pub count: u64,
    /// When it first failed this way.
    pub first_at: Moment,
}
