//! The page that opened a WebSocket, and how it was loaded.

use super::view::View;
use crate::session::page::{self, PageOrigin};
use crate::session::text::PeerText;

impl<'a> View<'a> {
    /// How the page was loaded, according to its Origin. `None`: no page, or an Origin that does
    /// not show it. The legs of the connection say nothing about the page.
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
        self.record().application().client_version
    }
}
