//! Frame statistics and latencies of a record.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::session::moment::Moment;
use crate::session::sizes::SizeSummary;
use crate::ws::{Opcode, Violation};

/// Both directions.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Frames {
    /// From the client.
    pub to_gateway: DirectionFrames,
    /// From the gateway.
    pub to_client: DirectionFrames,
}

/// One direction. What the tap itself sends is not counted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct DirectionFrames {
    /// Frames by opcode, counted once their header is complete.
    pub opcodes: OpcodeCounts,
    /// Finished data messages.
    pub messages: u64,
    /// Messages of more than one frame.
    pub fragmented_messages: u64,
    /// Messages with RSV1.
    pub compressed_messages: u64,
    /// Every byte relayed after the 101.
    pub wire_bytes: u64,
    /// Payload of all frames, including control frames and the seen part of an unfinished frame.
    pub payload_bytes: u64,
    /// Sizes of finished data frames; `null` when there was none.
    pub payload: Option<SizeSummary>,
    /// The largest finished data frame.
    pub largest: Option<Largest>,
    /// When the first byte came.
    pub first_at: Option<Moment>,
    /// When the last byte came.
    pub last_at: Option<Moment>,
    /// A frame that was cut off at the end.
    pub in_progress: Option<InProgress>,
    /// Bytes of a header that was cut off at the end.
    pub partial_header: u8,
    /// Breaches of RFC 6455.
    pub violations: Vec<ViolationCount>,
    /// Whether frame boundaries were lost at some point.
    pub lost_sync: bool,
}

/// Frames by opcode.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
#[expect(missing_docs, reason = "the names are RFC 6455's own")]
pub struct OpcodeCounts {
    pub text: u64,
    pub binary: u64,
    pub continuation: u64,
    pub ping: u64,
    pub pong: u64,
    pub close: u64,
    pub reserved: u64,
}

/// The largest data frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Largest {
    /// Payload bytes.
    pub size: u64,
    /// Its opcode.
    pub opcode: Opcode,
    /// When its last byte came.
    pub at: Moment,
}

/// A frame whose payload was not complete at the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct InProgress {
    /// Its opcode.
    pub opcode: Opcode,
    /// Payload bytes its header declared.
    pub declared: u64,
    /// Payload bytes that came.
    pub seen: u64,
}

/// How often one rule of RFC 6455 was broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ViolationCount {
    /// Which rule.
    pub kind: Violation,
    /// How often.
    pub count: u64,
    /// When it was first broken.
    pub first_at: Moment,
}

/// The tap's own cost, and how slow the peers were.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Latency {
    /// Time in the tap from the wake-up in which bytes became readable until they were written, for
    /// the first slice of each wake-up; slices that waited for a slow receiver are in `blocked_ms`.
    /// Quantiles are upper bounds of buckets. `null` if nothing was relayed.
    pub added_us: Option<AddedLatency>,
    /// Time during which bytes waited because their receiver did not read.
    pub blocked_ms: BlockedMs,
    /// The most bytes that waited at once, in both directions together.
    pub buffered_max_bytes: u64,
    /// Ping-to-pong times of each leg, as seen in passing.
    pub ping_rtt: PingRtt,
    /// Pings that had no answer at the end.
    pub unanswered_pings: UnansweredPings,
}

/// See [`Latency::added_us`].
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[expect(missing_docs, reason = "quantiles in microseconds")]
pub struct AddedLatency {
    pub p50: f64,
    pub p99: f64,
    pub max: f64,
}

/// By direction of travel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct BlockedMs {
    /// The gateway did not read.
    pub to_gateway: f64,
    /// The client did not read.
    pub to_client: f64,
}

/// By the leg that answered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct PingRtt {
    /// The gateway's pings, answered by the client.
    pub client: Option<Rtt>,
    /// The client's pings, answered by the gateway.
    pub gateway: Option<Rtt>,
}

/// By the leg that should have answered; `null` if no ping was unanswered. One ping that was under
/// way at the end is no fault: check its age.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct UnansweredPings {
    /// The gateway's pings, which the client should have answered.
    pub client: Option<WaitingPings>,
    /// The client's pings, which the gateway should have answered.
    pub gateway: Option<WaitingPings>,
}

/// Pings since the last answered one (a pong answers all pings before it, RFC 6455 section 5.5.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct WaitingPings {
    /// How many.
    pub count: u64,
    /// The first of them.
    pub first_at: Moment,
    /// The last of them.
    pub last_at: Moment,
}

/// Round trips of pings.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Rtt {
    /// Pongs that matched a ping.
    pub count: u64,
    /// The quickest.
    pub min_ms: f64,
    /// The slowest.
    pub max_ms: f64,
    /// The last.
    pub last_ms: f64,
}

/// The kernel's counters for a leg when it ended (Linux `TCP_INFO`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TcpFacts {
    /// Smoothed round-trip time in microseconds.
    pub rtt_us: u32,
    /// Segments retransmitted over the connection's life.
    pub retransmits: u32,
    /// Segments sent and not acknowledged; 0 once the connection broke, because the kernel then
    /// drops them.
    pub unacked: u32,
    /// How often the oldest unacknowledged segment had been retransmitted; this outlives the
    /// connection.
    #[serde(default)]
    pub retries: u32,
    /// Probes to the peer (keepalive or zero window) that were unanswered at that time.
    #[serde(default)]
    pub probes: u32,
    /// Path MTU in bytes.
    pub pmtu: u32,
}
