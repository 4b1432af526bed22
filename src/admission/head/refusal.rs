//! Why a request is not passed on.

use crate::session::record::{HeadFault, Http2Error};

/// Why a request is not passed on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// For rules and for the choice of the answer.
    pub fault: HeadFault,
    /// For people: what was found. Names of headers at most, never a value that may be a secret.
    pub detail: String,
    /// The limit that was exceeded, in bytes or header lines.
    pub limit: Option<u64>,
    /// The code with which the stream of HTTP/2 was ended for it.
    pub http2_error: Option<Http2Error>,
}

impl Refusal {
    pub(super) fn new(fault: HeadFault, detail: impl Into<String>) -> Self {
        Self {
            fault,
            detail: detail.into(),
            limit: None,
            http2_error: None,
        }
    }

    /// The head is over a limit of ours.
    pub(super) fn over(fault: HeadFault, limit: usize, detail: String) -> Self {
        Self {
            limit: u64::try_from(limit).ok(),
            ..Self::new(fault, detail)
        }
    }
}
