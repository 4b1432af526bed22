//! Differences between releases: device identities of pages, and the messages of a gateway that stops.

use super::skew::Release;
use crate::session::record::BodyKind;
use crate::verdict::view::View;

/// First release whose Control UI creates a device identity on every page (read in 2026.9.6). The
/// change was made during 2026.8.
const IDENTITY_ANYWHERE: Release = Release(2026, 9, 0);
const CHANGED_IN: Release = Release(2026, 8, 0);

/// Whether a Control UI needs a secure context for its device identity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NeedsSecureContext {
    /// Yes: it is older than 2026.8.
    Yes,
    /// No: it is of 2026.9 or later.
    No,
    /// Unknown: its version is not known, or is one of 2026.8.
    Unknown,
}

impl View<'_> {
    /// See `NeedsSecureContext`: decided by the page's own version, else by the version of the
    /// gateway, which serves the page.
    #[must_use]
    pub fn needs_secure_context(&self) -> NeedsSecureContext {
        match self.client_release().or_else(|| self.gateway_release()) {
            Some(release) if release >= IDENTITY_ANYWHERE => NeedsSecureContext::No,
            Some(release) if release < CHANGED_IN => NeedsSecureContext::Yes,
            _ => NeedsSecureContext::Unknown,
        }
    }

    /// Whether the answer to the upgrade is exactly the refusal of Node's `ws` library while its
    /// server is closing, which `OpenClaw` before 2026.8 sends while it stops. A gateway that is
    /// known to be newer has its own message; one of unknown version may be old.
    #[must_use]
    pub fn library_closes(&self) -> bool {
        /// The answer's head has exactly these fields, in this order.
        const HEAD: [&str; 3] = ["connection", "content-type", "content-length"];
        /// The first release with its own message.
        const OWN_WORDS: Release = Release(2026, 8, 0);
        if !self.refused_with(BodyKind::LibraryClosing) || self.status() != Some(503) {
            return false;
        }
        let head = self.gateway.iter().flat_map(|it| &it.response_headers);
        let exact = head
            .map(|header| header.name.as_str().to_ascii_lowercase())
            .eq(HEAD);
        exact
            && self
                .gateway_release()
                .is_none_or(|release| release < OWN_WORDS)
    }
}
