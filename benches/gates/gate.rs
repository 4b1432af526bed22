//! The input and the outcome of a gate.

use std::path::Path;

use super::figures::Figure;
use super::support::certs::Certificate;

/// The input of every gate.
pub struct Place<'a> {
    /// Folder for files, deleted at the end.
    pub folder: &'a Path,
    pub certificate: &'a Certificate,
    /// Core for the tap.
    pub core: usize,
    /// Core for everything else.
    pub around: usize,
}

/// The outcome of a gate.
pub enum Outcome {
    Measured(Vec<Figure>),
    /// The gate holds; these lines describe it.
    Held(Vec<String>),
    Both(Vec<Figure>, Vec<String>),
    /// It cannot run here, and why.
    Skipped(String),
}
