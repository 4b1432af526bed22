//! The page that opened a WebSocket: how it was loaded, and whether that explains why it has no
//! device identity.

use super::skew::Release;
use super::view::View;
use crate::session::page::{self, PageOrigin};
use crate::session::text::PeerText;

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

impl<'a> View<'a> {
    /// How the page was loaded, by its Origin. `None`: no page, or an Origin that does not show it.
    /// The legs of the connection say nothing about the page.
    #[must_use]
    pub fn page(&self) -> Option<PageOrigin> {
        page::of(self.page_origin()?.as_str())
    }

    /// The page's `Origin`, as it was sent.
    #[must_use]
    pub fn page_origin(&self) -> Option<&'a PeerText> {
        self.record().request.as_ref()?.origin.as_ref()
    }

    /// Version of the page: that of the client in its connect request.
    #[must_use]
    pub fn client_version(&self) -> Option<&'a PeerText> {
        let client = self.record().dialect.as_ref()?.client.as_ref()?;
        client.version.as_ref()
    }

    /// See `NeedsSecureContext`: by the page's own version, else by the version of the gateway,
    /// which serves the page.
    #[must_use]
    pub fn needs_secure_context(&self) -> NeedsSecureContext {
        match self.client_release().or_else(|| self.gateway_release()) {
            Some(release) if release >= IDENTITY_ANYWHERE => NeedsSecureContext::No,
            Some(release) if release < CHANGED_IN => NeedsSecureContext::Yes,
            _ => NeedsSecureContext::Unknown,
        }
    }
}
