//! The finding of a rule in a record.

use crate::session::party::Party;
use crate::session::record::verdict::ActOn;
use crate::session::record::{Confidence, Evidence};

/// The finding of a rule.
#[derive(Clone, Debug)]
pub struct Finding {
    /// How sure.
    pub confidence: Confidence,
    /// One sentence.
    pub summary: String,
    /// Observed facts.
    pub evidence: Vec<Evidence>,
    /// One action.
    pub next: String,
    /// Who ended it, if that differs from the rule: after a silence it is the end that gave up
    /// waiting.
    pub party: Option<Party>,
    /// Who has to act, if that differs from the rule: for example the older of two ends.
    pub act_on: Option<ActOn>,
}

impl Finding {
    /// A finding without evidence yet, whose next action is the rule's general one.
    #[must_use]
    pub fn new(confidence: Confidence, summary: impl Into<String>) -> Self {
        Self {
            confidence,
            summary: summary.into(),
            evidence: Vec::new(),
            next: String::new(),
            party: None,
            act_on: None,
        }
    }

    /// Adds observed facts.
    #[must_use]
    pub fn because(mut self, facts: impl IntoIterator<Item = Evidence>) -> Self {
        self.evidence.extend(facts);
        self
    }

    /// Sets the next action.
    #[must_use]
    pub fn next(mut self, action: impl Into<String>) -> Self {
        self.next = action.into();
        self
    }

    /// Sets who has to act.
    #[must_use]
    pub fn acted_on_by(mut self, act_on: ActOn) -> Self {
        self.act_on = Some(act_on);
        self
    }

    /// Sets who ended it.
    #[must_use]
    pub fn ended_by(mut self, party: Party) -> Self {
        self.party = Some(party);
        self
    }
}
