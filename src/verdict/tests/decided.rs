//! What the gateway answered decides, whatever came afterwards.

use serde_json::json;

use super::*;
use crate::session::record::Class;

const AT: &str = "2026-11-21T10:00:01Z";

/// Something that came after an answer: its name, and how a record shows it.
type Sequel = (&'static str, fn(&mut serde_json::Value));

fn sequels() -> Vec<Sequel> {
    vec![
        ("the client resets", |record| {
            record["close"]["transport"] = json!({ "client": "rst", "client_at": AT });
        }),
        ("the client goes", |record| {
            record["close"]["transport"] = json!({ "client": "fin", "client_at": AT });
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
            let told = verdict
                .evidence
                .iter()
                .any(|it| it.fact.contains("cut off after 3 B"));
            assert!(told, "{id}, {what}: {:?}", verdict.evidence);
        }
    }
}

/// The same facts without a refusal before them.
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
            "gateway.left.answer",
            "tap.timeout.answer",
            "tap.drain.request",
            "tap.timeout.slow_body",
        ]
    );
}

#[test]
fn an_answer_of_our_own_is_no_answer_of_the_gateway() {
    let record = edited("tap.denied.origin", |record| {
        record["gateway"] = serde_json::Value::Null;
    });
    assert_eq!(decide(&record).class, Class::TapDenied);
    assert_eq!(View::new(&record).decided_answer(), None);
}
