//! Answers of a gateway's health checks.

use serde::{Deserialize, Serialize};

use super::session::Answered;
use crate::session::text::PeerText;

/// The answer of a health check.
#[derive(Debug, Serialize)]
pub(super) struct Health {
    pub(super) status: u16,
    pub(super) live: bool,
    pub(super) ready: Option<bool>,
    pub(super) failing: Vec<String>,
}

/// The body of an answer to `/healthz` and `/readyz`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct HealthBody {
    status: String,
    ready: Option<bool>,
    failing: Vec<String>,
}

impl Health {
    pub(super) fn of(answered: &Answered) -> Self {
        let body: HealthBody = serde_json::from_slice(&answered.body).unwrap_or_default();
        let failing = body.failing.iter().take(10);
        Self {
            status: answered.status,
            live: answered.status == 200 && body.status == "live",
            ready: body.ready,
            failing: failing.map(|word| PeerText::new(word, 60).into()).collect(),
        }
    }
}
