//! Why a request is not passed on.

use crate::session::record::HeadFault;

/// Why a request is not passed on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// For rules and for the choice of the answer.
    pub fault: HeadFault,
    /// For people: what was found. Names of headers at most, never a value that may be a secret.
    pub detail: String,
}

impl Refusal {
    pub(super) fn new(fault: HeadFault, detail: impl Into<String>) -> Self {
        let detail = detail.into();
        Self { fault, detail }
    }
}
