//! Other connections from the same address decide how a connection without a request is judged.

use serde_json::json;

use super::*;
use crate::session::record::Confidence;

const UNTRUSTED: &str = "tap.certificate.untrusted";
const NAME: &str = "tap.certificate.name";

fn with_visits(id: &str, visits: &serde_json::Value) -> Verdict {
    let record = edited(id, |record| {
        record["context"] = json!({ "visits": visits });
    });
    decide(&record)
}

#[test]
fn a_client_that_tries_again_is_more_likely_to_distrust_the_certificate() {
    for (times, confidence) in [(1, Confidence::Possible), (2, Confidence::Likely)] {
        let verdict = with_visits(UNTRUSTED, &json!({ "left_at_certificate": times }));
        assert_eq!(
            (&*verdict.rule, verdict.confidence),
            (UNTRUSTED, confidence)
        );
        let path = "`NODE_EXTRA_CA_CERTS=/var/lib/wstap/dev-ca.pem`";
        assert!(verdict.next.contains(path), "{}", verdict.next);
    }
}

#[test]
fn who_asked_through_the_certificate_does_not_distrust_it() {
    let asked = json!({ "accepted_at": "2026-11-21T09:00:00.000000Z", "left_at_certificate": 3 });
    for id in [UNTRUSTED, NAME] {
        let verdict = with_visits(id, &asked);
        assert_eq!(verdict.rule, "probe.tls", "{id}");
        assert!(verdict.evidence[0].at.is_some(), "when it asked");
    }
    // It says nothing about another certificate.
    let asked = json!({ "asked_at": "2026-11-21T09:00:00.000000Z", "left_at_certificate": 3 });
    assert_eq!(with_visits(UNTRUSTED, &asked).rule, UNTRUSTED);
}

#[test]
fn who_comes_at_even_intervals_is_a_health_check() {
    let steady = |chance: f64| {
        let steady = json!({ "every_ms": 2000, "intervals": 5, "chance": chance });
        json!({ "left_at_certificate": 6, "steady": steady })
    };
    for id in [UNTRUSTED, NAME] {
        let verdict = with_visits(id, &steady(1e-7));
        assert_eq!(verdict.rule, "probe.tls", "{id}");
        let said = "the last 6 connections of this address did the same, 2.0 s apart";
        assert_eq!(verdict.evidence[0].fact, said);
        assert_eq!(
            with_visits(id, &steady(1e-3)).rule,
            id,
            "that may be chance"
        );
    }
}

#[test]
fn a_certificate_that_somebody_else_issued_is_not_suspected() {
    let record = edited(UNTRUSTED, |record| {
        record["client"]["tls"]["self_made"] = json!(null);
    });
    assert_eq!(rule_of(&record), "probe.tls");
}

#[test]
fn every_way_to_leave_right_after_tls_counts() {
    for end in ["fin", "rst", "tls_close", "tls_truncated"] {
        let record = edited(UNTRUSTED, |record| {
            record["close"]["transport"]["client"] = json!(end);
        });
        assert_eq!(rule_of(&record), UNTRUSTED, "{end}");
    }
    let gone = edited(UNTRUSTED, |record| {
        record["close"]["transport"]["client"] = json!("timeout");
    });
    assert_eq!(rule_of(&gone), "probe.tls", "nobody left: the network did");
    let with_bytes = edited(UNTRUSTED, |record| {
        record["client"]["bytes_read"] = json!(1);
        record["client"]["first_bytes"] = json!("http");
    });
    assert_eq!(rule_of(&with_bytes), "client.left.request_head");
}

/// With TLS 1.3 a client that verifies the certificate last may leave before its own last message.
#[test]
fn a_handshake_that_breaks_off_after_our_certificate_counts_too() {
    let broken = |visits: serde_json::Value, edit: fn(&mut serde_json::Value)| {
        edited("client.left.tls", |record| {
            let tls = fixture(UNTRUSTED).client.tls.unwrap();
            record["client"]["tls"]["certificate"] = json!(tls.certificate);
            record["client"]["tls"]["self_made"] = json!(tls.self_made);
            record["context"] = json!({ "visits": visits });
            edit(record);
        })
    };
    let once = || json!({ "left_at_certificate": 1 });
    assert_eq!(rule_of(&broken(once(), |_| {})), UNTRUSTED);
    let asked = json!({ "accepted_at": "2026-11-21T09:00:00.000000Z", "left_at_certificate": 1 });
    assert_eq!(rule_of(&broken(asked, |_| {})), "probe.tls");
    let issued = broken(once(), |record| {
        record["client"]["tls"]["self_made"] = json!(null);
    });
    assert_eq!(rule_of(&issued), "client.left.tls");
    let unseen = broken(once(), |record| {
        record["client"]["tls"]["certificate"] = json!(null);
    });
    assert_eq!(rule_of(&unseen), "client.left.tls");
}

#[test]
fn a_silent_client_is_spare_only_where_its_address_asks() {
    assert_eq!(rule_of(&fixture("probe.spare")), "probe.spare");
    let never = with_visits("probe.spare", &json!({ "left_at_certificate": 0 }));
    assert_eq!(never.rule, "tap.timeout.silent_client");
    let asked = json!({ "asked_at": "2026-11-21T10:00:01.000000Z" });
    let before_tls = edited("tap.timeout.tls_handshake", |record| {
        record["client"]["first_bytes"] = json!("none");
        record["context"] = json!({ "visits": asked });
    });
    assert_eq!(rule_of(&before_tls), "probe.spare");
    // A connection that sent a part of a request or handshake is not a spare one.
    let half = edited("tap.timeout.tls_handshake", |record| {
        record["client"]["first_bytes"] = json!("tls");
        record["context"] = json!({ "visits": asked });
    });
    assert_eq!(rule_of(&half), "tap.timeout.tls_handshake");
    let half = with_visits("tap.timeout.request_head", &asked);
    assert_eq!(half.rule, "tap.timeout.request_head");
}
