//! Facts about `OpenClaw` that its rules use: refusals, and differences between releases.

pub mod credential;
pub mod facts;
pub mod names;
pub mod releases;
pub mod said;
pub mod skew;
