//! Why there is no fingerprint.

use std::io;

use super::limits::{MAX_DEPTH, MAX_INPUT};
use crate::session::text::PeerText;

/// Why there is no fingerprint. The texts complete "failed to fingerprint: ".
#[derive(Debug, thiserror::Error)]
pub(crate) enum FingerprintError {
    /// The variable is not in the environment (an empty one is fingerprinted).
    #[error("environment variable {0} is not set")]
    NotSet(PeerText),
    /// The source could not be read.
    #[error("{from}: {cause}")]
    Read {
        /// Path of the file, or `standard input`.
        from: String,
        /// The cause.
        cause: io::Error,
    },
    /// More than [`MAX_INPUT`].
    #[error(
        "{0}: found more than {MAX_INPUT} bytes, expected a secret or a small configuration file"
    )]
    TooLarge(String),
    /// `--key`, but the file is none of the known formats.
    #[error("{path}: {}", problems.join(", "))]
    Syntax {
        /// The file.
        path: String,
        /// For each format that was tried, its name and the position of the first error.
        problems: Vec<String>,
    },
    /// Nested deeper than any configuration.
    #[error("{0}: found more than {MAX_DEPTH} levels of nesting")]
    TooDeep(String),
    /// The key path leads nowhere.
    #[error("{path}: no {segment:?} {place}; {found}")]
    NoKey {
        /// The file.
        path: String,
        /// The part of the key path that was not found.
        segment: String,
        /// Where it was looked for.
        place: String,
        /// What was found instead: the names of keys, or the kind of a value.
        found: String,
    },
    /// The key leads to something that is not a string.
    #[error("{path}: {key}: found {found}, expected a string")]
    NotText {
        /// The file.
        path: String,
        /// The key path.
        key: String,
        /// The kind of the value, and the keys of an object.
        found: String,
    },
    /// The key holds a reference whose value is not available here.
    #[error("{path}: {key}: found a reference to {what}; {why}")]
    Reference {
        /// The file.
        path: String,
        /// The key path.
        key: String,
        /// What the reference points to.
        what: String,
        /// Why there is no value, and where to look.
        why: String,
    },
    /// The answer could not be written.
    #[error("output: {0}")]
    Write(io::Error),
}
