//! A step of the precedence.

/// Ids of rules that exclude each other.
pub(crate) type Step = &'static [&'static str];
