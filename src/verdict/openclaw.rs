//! Facts about `OpenClaw` that its rules use: refusals, and differences between releases.

pub(crate) mod credential;
pub(crate) mod facts;
pub(crate) mod names;
pub(crate) mod releases;
pub(crate) mod said;
pub(crate) mod skew;
