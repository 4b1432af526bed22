//! Values from flags and environment variables.

use std::fmt;
use std::path::PathBuf;

use super::settings::OutputFormat;

/// Values from flags and environment variables; they win over the file.
#[derive(Debug, Clone, Default)]
pub struct Overrides {
    /// Replaces all listeners when not empty.
    pub listen: Vec<Override>,
    /// Replaces `gateway.url`.
    pub gateway: Option<Override>,
    /// Replaces `origins.allowed` when not empty.
    pub allowed_origins: Vec<Override>,
    /// Replaces `admin.listen`.
    pub admin: Option<Override>,
    /// Replaces `records.path`.
    pub records: Option<Override>,
    /// Replaces `output`.
    pub output: Option<OutputFormat>,
    /// Replaces `state_dir`.
    pub state_dir: Option<PathBuf>,
    /// Where the secrets of TLS sessions are written. Not a key of the file: a user who can change
    /// the file must not be able to decrypt every session with it.
    pub tls_keylog: Option<PathBuf>,
}

impl Overrides {
    /// The records file that a flag or the environment names.
    #[must_use]
    pub fn records_given(&self) -> Option<PathBuf> {
        let given = self.records.as_ref().filter(|given| given.is_given())?;
        Some(PathBuf::from(given.value.trim()))
    }
}

/// One value from a flag or an environment variable. White space around it is ignored; an empty
/// environment variable counts as not set.
#[derive(Clone)]
pub struct Override {
    /// The text as given.
    pub value: String,
    /// Where it was given.
    pub source: OverrideSource,
}

impl Override {
    /// An empty environment variable counts as not set, because Compose passes `${UNSET:-}` as an
    /// empty value.
    pub(super) fn is_given(&self) -> bool {
        matches!(self.source, OverrideSource::Flag(_)) || !self.value.trim().is_empty()
    }
}

/// Omits the value, which may be a URL with a password in it.
impl fmt::Debug for Override {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Override")
            .field("source", &self.source)
            .finish_non_exhaustive()
    }
}

/// Where an override was given; displays as its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OverrideSource {
    /// A flag, with its dashes: `--listen`.
    Flag(&'static str),
    /// An environment variable: `WSTAP_LISTEN`.
    Env(&'static str),
}

impl fmt::Display for OverrideSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag(name) | Self::Env(name) => f.write_str(name),
        }
    }
}
