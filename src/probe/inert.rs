//! Text for the terminal.

use crate::session::text::PeerText;

/// Text that moves no cursor and forges no line.
pub(super) fn inert(text: &str) -> String {
    PeerText::new(text, usize::MAX).into()
}
