//! What else came from the address of a connection that asked for nothing.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::session::moment::Moment;

/// Evidence from other connections of the same client address. An address may be shared: by a NAT, or by
/// the containers of a network.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct VisitFacts {
    /// When a request of this address last came, on any listener.
    pub asked_at: Option<Moment>,
    /// When one last came through TLS with the certificate that was shown here (where no certificate has
    /// the name that was asked for: also for that name). Such a client accepts it.
    pub accepted_at: Option<Moment>,
    /// Connections of this address in the last ten minutes that were shown this certificate and that it
    /// ended without an alert and without a byte of a request, this one counted; 0 where this one is none.
    pub left_at_certificate: u32,
    /// The last of them came at even intervals; `null` for fewer than three intervals.
    pub steady: Option<Steady>,
}

/// See [`VisitFacts::steady`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Steady {
    /// The middle one of the intervals, in milliseconds.
    pub every_ms: u64,
    /// How many intervals there are.
    pub intervals: u32,
    /// An upper bound of the probability that random times would be as even.
    pub chance: f64,
}
