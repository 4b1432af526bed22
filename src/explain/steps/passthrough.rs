//! The steps of a connection that passed unread, as far as they are visible from outside.

use std::fmt::Write as _;

use super::step::StepEnd::{Client, Gateway, Tap};
use super::step::{Event, Steps};
use crate::session::record::{LastRecord, PassedFacts};
use crate::verdict::words::human_bytes;

pub(super) fn add_steps(steps: &mut Steps<'_>) {
    let Some(facts) = &steps.record.passthrough else {
        return;
    };
    let mut text =
        "the connection is passed on unread: its TLS is between client and gateway".to_owned();
    if let Some(name) = &facts.sni {
        let _ = write!(text, "; the client asks for {name}");
    }
    if !facts.alpn_offered.is_empty() {
        let offered: Vec<&str> = facts.alpn_offered.iter().map(AsRef::as_ref).collect();
        let _ = write!(text, ", ALPN {}", offered.join(", "));
    }
    let first = facts.to_gateway.first_at.or(facts.to_client.first_at);
    steps.add(first, (Tap, Tap), Event::Tls, text);
    for (passed, way) in [
        (&facts.to_gateway, (Client, Gateway)),
        (&facts.to_client, (Gateway, Client)),
    ] {
        if let Some(at) = passed.first_at {
            steps.add(Some(at), way, Event::FirstData, "the first bytes");
        }
        if let Some(alert) = &passed.alert {
            let text = format!("a TLS alert: {alert}");
            steps.add(passed.last_at, way, Event::Error, text);
        }
        if let Some(at) = passed.last_at {
            steps.add(Some(at), way, Event::LastData, last_words(passed));
        }
    }
}

fn last_words(passed: &PassedFacts) -> String {
    let last = match passed.last_record {
        None => "",
        Some(LastRecord::PerhapsAlert) => "; at the end a TLS record of an alert's size",
        Some(LastRecord::Alert) => "; at the end a TLS alert, such as close_notify",
        Some(LastRecord::Whole) => "; at the end a whole TLS record and no alert",
        Some(LastRecord::Cut) => "; it ends inside a TLS record",
    };
    format!("the last bytes; {} in all{last}", human_bytes(passed.bytes))
}
