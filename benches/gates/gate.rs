//! What every gate gets, and what it comes to.

use std::path::Path;

use super::figures::Figure;
use super::support::certs::Certificate;

/// What every gate gets.
pub struct Place<'a> {
    /// For files; it goes away at the end.
    pub folder: &'a Path,
    pub certificate: &'a Certificate,
    /// For the tap.
    pub core: usize,
    /// For everything around it.
    pub around: usize,
}

/// What a gate came to.
pub enum Outcome {
    Measured(Vec<Figure>),
    /// It holds or it has failed; these are the words for it.
    Held(Vec<String>),
    Both(Vec<Figure>, Vec<String>),
    /// It cannot run here, and why.
    Skipped(String),
}
