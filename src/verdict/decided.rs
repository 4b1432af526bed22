//! Refusals that decide: a refusal by the gateway explains its exchange, whatever came afterwards.
//!
//! A server that refuses a request often closes or resets the connection at once, while the rest of
//! the request is still on its way, and a refused client leaves. Neither is a cause.

use super::view::{View, fact, human_bytes};
use crate::session::party::Leg;
use crate::session::record::{AnswerBy, Evidence};

impl View<'_> {
    /// The status with which the gateway, or a server in its place, refused the upgrade or the
    /// plain request.
    #[must_use]
    pub fn decided_answer(&self) -> Option<u16> {
        self.refused_upgrade().or_else(|| self.failed_request())
    }

    /// The status of a plain request that the gateway answered with an error.
    #[must_use]
    pub fn failed_request(&self) -> Option<u16> {
        let answer = self.answer.as_ref();
        let by_gateway = answer.is_none_or(|answer| answer.by == AnswerBy::Gateway);
        let fits = self.is_http() && by_gateway;
        self.status().filter(|status| fits && *status >= 400)
    }

    /// What cut the exchange short after the answer, as evidence.
    #[must_use]
    pub fn cut_answer_evidence(&self) -> Vec<Evidence> {
        let Some(answer) = self.answer.as_ref().filter(|answer| !answer.complete) else {
            return Vec::new();
        };
        if self.decided_answer().is_none() {
            return Vec::new();
        }
        let sent = human_bytes(answer.body_bytes.unwrap_or_default());
        let mut all = vec![fact(format!("its body was cut off after {sent}"))];
        all.extend(self.gateway_error_evidence());
        all.extend(self.timer_evidence());
        all.extend(self.end_evidence(Leg::Client));
        all
    }
}
