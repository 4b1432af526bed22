//! Questions about the facts of an `OpenClaw` session.

use crate::session::credential::Credential;
use crate::session::record::dialect::openclaw::{DialectError, OpenClawFacts, compared};
use crate::verdict::view::{Decisive, View};

impl<'a> View<'a> {
    /// The messages of both ends, if they were read as those of `OpenClaw`.
    #[must_use]
    pub fn openclaw(&self) -> Option<&'a OpenClawFacts> {
        self.record().dialect.as_ref()?.openclaw()
    }

    /// Whether messages are read as those of `OpenClaw`.
    #[must_use]
    pub fn is_openclaw(&self) -> bool {
        self.openclaw().is_some()
    }

    /// Whether an `OpenClaw` gateway is configured, whether or not there was a tunnel.
    #[must_use]
    pub fn expects_openclaw(&self) -> bool {
        let gateway = self.record().gateway.as_ref();
        gateway.is_some_and(|gateway| gateway.expects == "openclaw")
    }

    /// The gateway's answer to connect, if it is the decisive fact.
    #[must_use]
    pub fn connect_error(&self) -> Option<&'a DialectError> {
        if self.decisive() != Decisive::Refusal {
            return None;
        }
        self.openclaw()?.error.as_ref()
    }

    /// The secret that the gateway compared: the value under the key of its own mode (`token` or
    /// `password`), or the value under the other key if that is missing.
    #[must_use]
    pub fn compared_secret(&self, mode: &str) -> Option<&'a Credential> {
        let other = if mode == "token" { "password" } else { "token" };
        compared(&self.record().auth, &[mode, other])
    }
}
