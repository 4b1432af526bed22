//! What the rules ask about `OpenClaw` in particular: its refusals, and its releases.

pub mod credential;
pub mod facts;
pub mod names;
pub mod releases;
pub mod said;
pub mod skew;
