//! A step of the precedence.

/// Ids of rules that exclude each other.
pub type Step = &'static [&'static str];
