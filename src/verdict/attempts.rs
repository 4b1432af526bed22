//! A gateway with several addresses, not all of which answer: some dials fail, or all are a little
//! late.

use super::view::{View, fact};
use super::words::error_words;
use crate::session::record::Evidence;
use crate::session::record::gateway::GatewayFacts;

impl View<'_> {
    /// Addresses that had failed before another one was connected, as evidence: they delay every
    /// connection, and a client that tries only one of them fails.
    #[must_use]
    pub fn attempts_evidence(&self) -> Option<Evidence> {
        let gateway = self.record().gateway.as_ref()?;
        let addr = gateway.addr.as_ref()?;
        let dead = dead_addresses(gateway);
        (!dead.is_empty()).then(|| {
            fact(format!(
                "not every address of the gateway's name answers: {}; {addr} did",
                dead.join(", ")
            ))
        })
    }
}

/// Describes each failed address after which another one was connected.
#[must_use]
pub(crate) fn dead_addresses(gateway: &GatewayFacts) -> Vec<String> {
    let attempts = &gateway.attempts;
    let won = attempts
        .iter()
        .position(|attempt| attempt.ms.is_some() && attempt.error.is_none());
    let before = attempts.iter().take(won.unwrap_or(0));
    before
        .map(|attempt| match attempt.error {
            Some(kind) => format!("{} {}", attempt.addr, error_words(kind)),
            None => format!("{} had not answered yet", attempt.addr),
        })
        .collect()
}
