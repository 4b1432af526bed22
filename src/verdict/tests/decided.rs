//! The gateway's refusal decides, whatever happened afterwards.

use serde_json::json;

use super::*;
use crate::session::record::Class;

const AT: &str = "2026-11-21T10:00:01Z";

/// An event after an answer: its name, and how a record shows it.
type Sequel = (&'static str, fn(&mut serde_json::Value));

/// The client's TLS breaks in this way.
fn breaks_tls(record: &mut serde_json::Value, kind: &str) {
    record["client"]["tls"] = json!({ "version": "TLSv1.3" });
    record["close"]["transport"] = json!({
        "client": "local", "client_at": AT, "client_fault": { "kind": kind },
    });
}

fn sequels() -> Vec<Sequel> {
    vec![
        ("the client resets", |record| {
            record["close"]["transport"] = json!({ "client": "rst", "client_at": AT });
        }),
        ("the client goes", |record| {
            record["close"]["transport"] = json!({ "client": "fin", "client_at": AT });
        }),
        ("the client sends a fatal alert", |record| {
            breaks_tls(record, "alert");
        }),
        ("the client's TLS cannot be decrypted", |record| {
            breaks_tls(record, "undecryptable");
        }),
        ("the gateway's connection breaks", |record| {
            record["gateway"]["error"] = json!({ "kind": "body_incomplete", "detail": "reset" });
            record["close"]["transport"]["gateway"] = "rst".into();
        }),
        ("our timer ends it", |record| {
            record["close"]["timer"] = json!({
                "key": "idle", "limit_ms": 1000, "observed_ms": 1001.0, "at": AT,
            });
        }),
        ("we shut down", |record| {
            record["close"]["drained"] = true.into();
        }),
        ("the request's body trickles", |record| {
            record["close"]["timer"] = json!({
                "key": "request_body", "limit_ms": 1000, "observed_ms": 1001.0, "at": AT,
            });
        }),
    ]
}

#[test]
fn nothing_that_comes_after_a_refusal_outvotes_it() {
    for id in [
        "gateway.refused.other",
        "gateway.refused.credential",
        "hop.fault.foreign_answer",
        "http.error.client",
        "http.error.server",
        "http.error.attribution",
    ] {
        for (what, add) in sequels() {
            let record = edited(id, |record| {
                record["answer"]["complete"] = false.into();
                record["answer"]["body_bytes"] = 3.into();
                add(record);
            });
            let verdict = decide(&record);
            assert_eq!(verdict.rule, id, "{what}");
            let has_fact = verdict
                .evidence
                .iter()
                .any(|it| it.fact.contains("cut off after 3 B"));
            assert!(has_fact, "{id}, {what}: {:?}", verdict.evidence);
        }
    }
}

/// The same facts without a preceding refusal.
#[test]
fn what_ends_a_good_answer_is_told_as_before() {
    let rules: Vec<String> = sequels()
        .into_iter()
        .map(|(_, add)| {
            rule_of(&edited("ok.http", |record| {
                record["answer"]["complete"] = false.into();
                add(record);
            }))
        })
        .collect();
    assert_eq!(
        rules,
        [
            "client.left.answer",
            "client.left.answer",
            "client.fault.tls_broken_early",
            "client.fault.tls_broken_early",
            "gateway.left.answer",
            "tap.timeout.answer",
            "tap.drain.request",
            "tap.timeout.slow_body",
        ]
    );
}

/// The dial had failed, and its 502 was sent, before the client broke its TLS.
#[test]
fn a_client_that_breaks_its_tls_is_no_reason_for_what_had_failed() {
    for id in [
        "gateway.unreachable.refused",
        "gateway.unreachable.timeout",
        "gateway.silent.reset",
        "gateway.silent.tls_broken",
        "tap.denied.origin",
        "tap.drain.request",
    ] {
        for kind in ["alert", "undecryptable", "not_tls"] {
            let record = edited(id, |record| breaks_tls(record, kind));
            assert_eq!(rule_of(&record), id, "{kind}");
        }
    }
    // Without the failure and the answer, the broken TLS is the reason.
    let record = edited("gateway.unreachable.refused", |record| {
        record["gateway"]["error"] = serde_json::Value::Null;
        record["answer"] = serde_json::Value::Null;
        breaks_tls(record, "alert");
    });
    assert_eq!(rule_of(&record), "client.fault.tls_broken_early");
}

#[test]
fn an_answer_of_our_own_is_no_answer_of_the_gateway() {
    let record = edited("tap.denied.origin", |record| {
        record["gateway"] = serde_json::Value::Null;
    });
    assert_eq!(decide(&record).class, Class::TapDenied);
    assert_eq!(View::new(&record).decided_answer(), None);
}
