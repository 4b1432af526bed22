//! The requests inside the session, and what recent sessions show.

use std::fmt::Write as _;

use crate::explain::page_writer::{NAME, PageWriter, count, word};
use crate::session::record::ContextFacts;
use crate::session::record::dialect::{MethodFacts, RpcFacts};
use crate::verdict::words::human_ms;

/// Maximum number of methods that are shown.
const SHOWN: usize = 12;

/// The requests after the handshake, by method.
pub(super) fn requests(writer: &mut PageWriter, rpc: &RpcFacts) {
    if rpc.requests == 0 {
        return;
    }
    writer.heading("Requests");
    let mut text = format!(
        "{}, {}, {} of them failed",
        count(rpc.requests, "request"),
        count(rpc.responses, "answer"),
        rpc.errors
    );
    if let Some(unanswered) = rpc.unanswered_count.filter(|count| *count > 0) {
        let _ = write!(text, "; {unanswered} without an answer at the end");
    }
    writer.text("  ", &text);
    for method in rpc.methods.iter().take(SHOWN) {
        writer.item("  ", &method_words(method));
    }
    let rest = rpc.methods.len().saturating_sub(SHOWN);
    if rest > 0 {
        writer.text("  ", &format!("and {}", count(rest as u64, "more method")));
    }
}

/// `chat.send: 3 requests, 2 answers, 1 failed, 1.2 ms to 40 ms`
fn method_words(method: &MethodFacts) -> String {
    let name = method.method.as_ref().map_or("others", AsRef::as_ref);
    let mut text = format!(
        "{name}: {}, {}",
        count(method.requests, "request"),
        count(method.responses, "answer")
    );
    if method.errors > 0 {
        let _ = write!(text, ", {} failed", method.errors);
    }
    if let Some(latency) = method.latency_ms {
        let _ = write!(
            text,
            ", {} to {}",
            human_ms(latency.min),
            human_ms(latency.max)
        );
    }
    text
}

/// What other sessions of the same tap show.
pub(super) fn recent(writer: &mut PageWriter, context: &ContextFacts) {
    let mut rows = Vec::new();
    if context.lost_together > 0 {
        let others = count(u64::from(context.lost_together), "other session");
        let mut text = format!("{others} lost by the same gateway within a second");
        if let Some(one_in) = context.lost_together_one_in {
            let beside = context.lost_beside;
            let _ = write!(
                text,
                ", {beside} in ten minutes before or right after; by chance one case in {one_in}"
            );
        }
        if context.survivors > 0 {
            let _ = write!(text, "; others that were open before still are");
        }
        rows.push(("together", text));
    }
    if let Some(cadence) = context.cadence {
        #[expect(clippy::cast_precision_loss, reason = "shown with two digits")]
        let period = human_ms(cadence.period_ms as f64);
        let mut text = format!(
            "{} after about {period} of {}, the {}'s leg first",
            count(u64::from(cadence.cases), "death"),
            word(&cadence.measure),
            cadence.leg.party().as_str()
        );
        if let Some(known) = cadence.known_s {
            let _ = write!(text, " (a usual default: {known} s)");
        }
        if let Some(one_in) = cadence.one_in {
            let compared = cadence.compared;
            let _ = write!(
                text,
                "; {compared} were compared, by chance one case in {one_in}"
            );
        }
        if cadence.waves > 0 {
            let _ = write!(text, "; {} waves, one process", cadence.waves);
        }
        rows.push(("cadence", text));
    }
    for other in &context.other_credentials {
        let accepted = if other.accepted {
            "accepted"
        } else {
            "never accepted"
        };
        let text = format!(
            "{} in {}, {accepted}, last {}",
            other.fingerprint,
            count(u64::from(other.sessions), "session"),
            other.last_at
        );
        rows.push(("credential", text));
    }
    if context.boots.len() > 1 || context.boots_alternate {
        for boot in &context.boots {
            let sessions = count(u64::from(boot.sessions), "session");
            let process = boot.began_at.map_or_else(
                || boot.id.to_string(),
                |began| format!("began at {began} (uptime)"),
            );
            rows.push((
                "boot",
                format!("{process}, {sessions}, from {}", boot.first_at),
            ));
        }
    }
    if context.boots_alternate {
        rows.push(("boot", "they alternate: two gateways".to_owned()));
    }
    if context.mismatches > 0 {
        let text = format!(
            "{} in five minutes",
            count(u64::from(context.mismatches), "refusal")
        );
        rows.push(("token", text));
    }
    if context.attempts > 1 {
        let attempts = count(u64::from(context.attempts), "attempt");
        rows.push(("this client", format!("{attempts} within a minute")));
    }
    if rows.is_empty() {
        return;
    }
    let remembered = count(context.remembered as u64, "session");
    writer.heading(&format!("From {remembered} before it"));
    for (name, text) in rows {
        writer.row(name, NAME + 1, &text);
    }
}
