//! An error in the stream of a leg that ended the leg.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::codes::TlsAlert;

/// What a peer sent in a TLS connection after its handshake that ended the leg.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct StreamFault {
    /// The kind of fault.
    pub kind: StreamFaultKind,
    /// The alert that the peer sent, by its name in IANA's registry (`bad_record_mac`, `unknown_ca` …).
    #[serde(default)]
    pub alert: Option<TlsAlert>,
}

/// See [`StreamFault::kind`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum StreamFaultKind {
    /// A fatal alert: the peer broke TLS off (RFC 8446 section 6.2).
    Alert,
    /// A record that fails its authentication (`bad_record_mac`).
    Undecryptable,
    /// Bytes that are not a TLS record: plaintext, or a stream that lost its place.
    NotTls,
    /// A TLS record or message that breaks the format.
    Malformed,
    /// A message that TLS does not allow there.
    Unexpected,
}

impl StreamFault {
    /// A fault of this kind, without an alert from the peer.
    #[must_use]
    pub fn of(kind: StreamFaultKind) -> Self {
        Self { kind, alert: None }
    }
}
