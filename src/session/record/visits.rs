//! Other traffic from the address of a connection without a request.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::session::moment::Moment;

/// Evidence from other connections of the same client address. An address may be shared: by a NAT, or by
/// the containers of a network.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct VisitFacts {
    /// When a request from this address last came, on any listener.
    pub asked_at: Option<Moment>,
    /// When a request last came through TLS with the certificate that was shown here (if no
    /// certificate has the requested name: also for that name). Such a client accepts the
    /// certificate.
    pub accepted_at: Option<Moment>,
    /// Number of connections from this address in the last ten minutes that were shown this
    /// certificate and that the client ended without an alert and without a byte of a request, this
    /// one counted; 0 if this one is not such a connection.
    pub left_at_certificate: u32,
    /// Set if the last of them came at even intervals; `null` if there are fewer than three
    /// intervals.
    pub steady: Option<Steady>,
}

/// See [`VisitFacts::steady`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Steady {
    /// The median of the intervals, in milliseconds.
    pub every_ms: u64,
    /// Number of intervals.
    pub intervals: u32,
    /// An upper bound of the probability that random times would be this even.
    pub chance: f64,
}
