//! The gateway's refusal inside the WebSocket, in any dialect.

use super::view::{Decisive, View, short};
use crate::session::party::Leg;
use crate::session::record::{Evidence, Refusal};
use crate::session::text::PeerText;

impl<'a> View<'a> {
    /// The refusal, when that is the decisive fact.
    #[must_use]
    pub fn refusal(&self) -> Option<Refusal<'a>> {
        if self.decisive() != Decisive::Refusal {
            return None;
        }
        self.record().application().refusal
    }

    /// The gateway's own words, quoted and shortened for a sentence: those of its refusal, or else
    /// the reason of its Close.
    #[must_use]
    pub fn refusal_words(&self) -> String {
        let refusal = self.refusal();
        let message = refusal.as_ref().and_then(|refusal| refusal.message);
        let reason = self.close_of(Leg::Gateway).map(|close| &close.reason);
        let mut texts = message.into_iter().chain(reason);
        texts
            .find(|text| !text.is_empty())
            .map_or_else(|| "without a reason".to_owned(), short)
    }

    /// The refusal as evidence with the codes that it carried, and both legs.
    #[must_use]
    pub fn refusal_evidence(&self) -> Vec<Evidence> {
        let refusal = self.refusal().map(|refusal| {
            let part = |(name, code): &(&str, &PeerText)| format!(", {name} {}", short(code));
            let codes: String = refusal.codes.iter().map(part).collect();
            Evidence {
                at: self.application().answered_at,
                fact: format!("{} ({}{codes})", refusal.how, self.refusal_words()),
            }
        });
        refusal.into_iter().chain(self.both_legs()).collect()
    }
}
