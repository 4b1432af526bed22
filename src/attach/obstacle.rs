//! Obstacles to attaching, in words.

/// Something that is missing or in the way, and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Obstacle {
    pub(super) what: String,
    pub(super) to_do: String,
}

impl Obstacle {
    pub(super) fn new(what: impl Into<String>, to_do: impl Into<String>) -> Self {
        Self {
            what: what.into(),
            to_do: to_do.into(),
        }
    }
}
