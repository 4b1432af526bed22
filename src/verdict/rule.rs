//! One rule: its description, and the verdict that its finding makes.

use super::finding::Finding;
use super::precedence::{self, Stage};
use super::view::View;
use crate::session::party::Party;
use crate::session::record::verdict::ActOn;
use crate::session::record::{Class, Evidence, Verdict};
use crate::session::text::{PeerText, holds_what_must_be_escaped};

mod seen;

/// How a rule looks at a record.
pub(crate) type Find = fn(&View<'_>) -> Option<Finding>;

/// One rule: its description, and the function that looks for it.
#[derive(Debug)]
pub struct Rule {
    /// Stable; never reused.
    pub id: &'static str,
    /// Where the cause lies.
    pub class: Class,
    /// Who ended it.
    pub party: Party,
    /// Who has to act.
    pub act_on: ActOn,
    /// Its name in a few words.
    pub title: &'static str,
    /// What it means, why it happens, and what shows it.
    pub explanation: &'static str,
    /// The facts that a record must show for it, without judgements.
    pub evidence: &'static str,
    /// The gateways for which it is known.
    pub versions: Versions,
    /// What to do, in general; a finding may be more exact.
    pub action: &'static str,
    /// Looks at a record.
    pub find: Find,
}

/// The gateways for which a rule is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Versions {
    /// It depends on standards and transports, not on a gateway's own messages.
    Any,
    /// Seen with gateway 2026.9.6, and with those for which `rule/seen.rs` lists a capture. Later
    /// ones are read in the same way: by codes first.
    Seen,
    /// Seen only with gateways older than 2026.9.6: those of `rule/seen.rs`.
    Past,
    /// Found in the source of gateway 2026.9.6, but not seen.
    Read,
}

/// The gateway version that the rules were written against.
pub(crate) const NEWEST: &str = "2026.9.6";

impl Rule {
    /// The head of a rule, for the struct update syntax of an entry in `RULES`: its words are still empty (a test of
    /// the fixtures fails on a rule without them).
    pub(crate) const fn of(
        id: &'static str,
        class: Class,
        party: Party,
        act_on: ActOn,
        find: Find,
    ) -> Self {
        Self {
            id,
            class,
            party,
            act_on,
            title: "",
            explanation: "",
            evidence: "",
            versions: Versions::Any,
            action: "",
            find,
        }
    }

    /// The gateways for which it is known, in words.
    #[must_use]
    pub fn known_of(&self) -> String {
        match self.versions {
            Versions::Any => "any gateway".to_owned(),
            Versions::Read => "OpenClaw; read in the source of 2026.9.6, not seen".to_owned(),
            Versions::Seen | Versions::Past => {
                format!("OpenClaw; seen with {}", self.seen_with().join(", "))
            }
        }
    }

    /// The gateways with which it was seen, oldest first.
    #[must_use]
    pub fn seen_with(&self) -> Vec<&'static str> {
        let captured = seen::SEEN.iter().find(|(id, _)| *id == self.id);
        let mut all = captured.map_or_else(Vec::new, |(_, versions)| versions.to_vec());
        if self.versions == Versions::Seen && !all.contains(&NEWEST) {
            all.push(NEWEST);
        }
        all
    }

    /// The stage in which it is tried; `None` for a rule that [`precedence`] does not list, which
    /// is never tried.
    #[must_use]
    pub fn stage(&self) -> Option<Stage> {
        precedence::stage_of(self.id)
    }

    /// The verdict that a finding of this rule makes.
    #[must_use]
    pub fn verdict(&self, finding: Finding) -> Verdict {
        let next = if finding.next.is_empty() {
            self.action.to_owned()
        } else {
            finding.next
        };
        Verdict {
            rule: self.id.to_owned(),
            class: self.class,
            party: finding.party.unwrap_or(self.party),
            act_on: finding.act_on.unwrap_or(self.act_on),
            layer: self.class.layer(),
            confidence: finding.confidence,
            summary: inert(finding.summary),
            evidence: in_order(finding.evidence.into_iter().map(inert_fact).collect()),
            next: inert(next),
        }
    }
}

/// Text that moves no cursor and forges no line. The peers' texts were escaped when they were
/// recorded, but a record that was read from a file may have been written by anyone.
fn inert(text: String) -> String {
    if holds_what_must_be_escaped(&text) {
        PeerText::new(&text, usize::MAX).into()
    } else {
        text
    }
}

/// Sorts the facts that have a time, among the positions that they occupy. Facts without a time
/// keep the position that the rule gave them.
fn in_order(mut facts: Vec<Evidence>) -> Vec<Evidence> {
    let mut timed: Vec<Evidence> = facts
        .iter()
        .filter(|one| one.at.is_some())
        .cloned()
        .collect();
    timed.sort_by_key(|one| one.at);
    let places = facts.iter_mut().filter(|one| one.at.is_some());
    for (place, fact) in places.zip(timed) {
        *place = fact;
    }
    facts
}

fn inert_fact(evidence: Evidence) -> Evidence {
    Evidence {
        at: evidence.at,
        fact: inert(evidence.fact),
    }
}
