//! Why a request is not passed on.

use crate::session::record::{HeadFault, Http2Error};

/// Why a request is not passed on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The kind of fault, for rules and for the choice of the answer.
    pub fault: HeadFault,
    /// What was found, for people. It may name headers, but never contains a value that may be
    /// secret.
    pub detail: String,
    /// The limit that was exceeded, in bytes or header lines.
    pub limit: Option<u64>,
    /// The error code with which the HTTP/2 stream was reset for it.
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

    /// The head exceeds one of our limits.
    pub(super) fn over(fault: HeadFault, limit: usize, detail: String) -> Self {
        Self {
            limit: u64::try_from(limit).ok(),
            ..Self::new(fault, detail)
        }
    }
}
