//! The page that opened a WebSocket: how it was opened, and whether that explains why it has no
//! device identity.

use super::credential::release;
use super::view::View;
use crate::session::page::{self, PageOrigin};
use crate::session::text::PeerText;

/// The first release whose Control UI makes a device identity on every page (read in 2026.9.6). The
/// change was made in the middle of 2026.8.
const IDENTITY_ANYWHERE: (u16, u16) = (2026, 9);
const CHANGED_IN: (u16, u16) = (2026, 8);

/// Whether a Control UI needs a secure context for its device identity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NeedsSecureContext {
    /// It is older than 2026.8.
    Yes,
    /// It is of 2026.9 or later.
    No,
    /// Its version is not known, or is one of 2026.8.
    Unknown,
}

impl<'a> View<'a> {
    /// How the page was opened, as its origin shows. `None`: no page, or an origin that shows
    /// nothing. What the legs of the connection are says nothing of the page.
    #[must_use]
    pub fn page(&self) -> Option<PageOrigin> {
        page::of(self.page_origin()?.as_str())
    }

    /// The page's `Origin`, as it was sent.
    #[must_use]
    pub fn page_origin(&self) -> Option<&'a PeerText> {
        self.record().request.as_ref()?.origin.as_ref()
    }

    /// The version of the page, which is that of the client in its connect request.
    #[must_use]
    pub fn client_version(&self) -> Option<&'a PeerText> {
        let client = self.record().dialect.as_ref()?.client.as_ref()?;
        client.version.as_ref()
    }

    /// See [`NeedsSecureContext`]: by the page's own version, else by that of the gateway, which
    /// serves the page.
    #[must_use]
    pub fn needs_secure_context(&self) -> NeedsSecureContext {
        let known = |version: Option<&PeerText>| release(version?.as_str());
        let release = known(self.client_version()).or_else(|| known(self.gateway_version()));
        match release {
            Some(release) if release >= IDENTITY_ANYWHERE => NeedsSecureContext::No,
            Some(release) if release < CHANGED_IN => NeedsSecureContext::Yes,
            _ => NeedsSecureContext::Unknown,
        }
    }
}
