//! Connections that pass unread are judged only by the facts visible from outside.

use serde_json::{Value, json};

use super::*;
use crate::session::record::Confidence;

fn judged(id: &str, edit: impl FnOnce(&mut Value)) -> String {
    rule_of(&edited(id, edit))
}

/// Makes the transport of this party end first.
fn ended_first(record: &mut Value, party: &str) {
    let at = record["close"]["transport"][format!("{party}_at")].clone();
    record["close"]["first"] = party.into();
    record["close"]["first_act"] = json!({ "party": party, "kind": "transport", "at": at });
}

#[test]
fn a_client_that_has_ended_tls_in_order_may_reset() {
    let reset = |end: &str, last: &str| {
        judged("client.left.passed", |record| {
            record["close"]["transport"]["client"] = end.into();
            record["passthrough"]["to_gateway"]["last_record"] = last.into();
        })
    };
    assert_eq!(reset("rst", "whole"), "client.left.passed");
    assert_eq!(reset("fin", "cut"), "client.left.passed");
    for done in ["alert", "perhaps_alert"] {
        assert_eq!(reset("rst", done), "ok.passed", "{done}");
    }
    assert_eq!(reset("fin", "whole"), "ok.passed");
}

#[test]
fn an_empty_frame_of_the_gateway_is_no_end_of_tls() {
    let with = |end: &str, last_at: &str, last: &str| {
        let record = edited("gateway.left.passed", |record| {
            record["close"]["transport"]["gateway"] = end.into();
            record["passthrough"]["to_client"]["last_at"] = last_at.into();
            record["passthrough"]["to_client"]["last_record"] = last.into();
        });
        let verdict = decide(&record);
        (
            verdict.rule,
            verdict.summary.contains("without close_notify"),
        )
    };
    let (early, late) = ("2026-11-21T10:00:27.000000Z", "2026-11-21T10:00:39.900000Z");
    let (left, fine) = ("gateway.left.passed".to_owned(), "ok.passed".to_owned());
    // A ping, and a reset long after it or right after it.
    assert_eq!(with("rst", early, "perhaps_alert").0, left);
    assert_eq!(with("rst", late, "perhaps_alert").0, left);
    // A FIN long after it does not show its cause.
    assert_eq!(with("fin", early, "perhaps_alert"), (fine.clone(), true));
    assert_eq!(with("fin", early, "whole"), (fine.clone(), true));
    // `close_notify`, and FIN right after it; in TLS 1.2 the alert is visible.
    assert_eq!(with("fin", late, "perhaps_alert"), (fine.clone(), false));
    assert_eq!(with("fin", early, "alert"), (fine, false));
}

#[test]
fn what_breaks_after_the_other_end_has_left_is_nobodys_fault() {
    for (id, first) in [
        ("client.left.passed", "gateway"),
        ("gateway.left.passed", "client"),
    ] {
        let verdict = judged(id, |record| ended_first(record, first));
        assert_eq!(verdict, "ok.passed", "{id}");
    }
    // A client that resets a connection that the gateway had ended with `close_notify`.
    let done = judged("client.left.passed", |record| {
        record["passthrough"]["to_client"]["last_record"] = "alert".into();
    });
    assert_eq!(done, "ok.passed");
}

#[test]
fn an_alert_of_the_client_counts_only_before_the_gateway_has_ended() {
    let with = |gone: &str, alert: Value| {
        judged("client.closed.passed_tls", |record| {
            record["close"]["transport"]["gateway_at"] = gone.into();
            record["passthrough"]["to_client"]["alert"] = alert;
        })
    };
    let rule = "client.closed.passed_tls";
    assert_eq!(with("2026-11-21T10:00:00.026000Z", Value::Null), rule);
    assert_ne!(with("2026-11-21T10:00:00.020000Z", Value::Null), rule);
    let refused = with("2026-11-21T10:00:00.026000Z", "handshake_failure".into());
    assert_eq!(refused, "client.fault.passed_tls");
}

#[test]
fn the_gateways_own_failure_is_not_the_clients() {
    let with = |alert: &str| {
        let record = edited("client.fault.passed_tls", |record| {
            record["passthrough"]["to_client"]["alert"] = alert.into();
        });
        let verdict = decide(&record);
        (verdict.rule, verdict.confidence)
    };
    let (rule, _) = with("internal_error");
    assert_eq!(rule, "gateway.fault.passed_tls");
    let fault = "client.fault.passed_tls".to_owned();
    assert_eq!(
        with("protocol_version"),
        (fault.clone(), Confidence::Certain)
    );
    for unsure in ["handshake_failure", "decode_error"] {
        assert_eq!(with(unsure), (fault.clone(), Confidence::Likely));
    }
}

#[test]
fn a_gateway_is_silent_only_after_a_whole_greeting_and_a_wait() {
    let silent = |left: &str, bytes: u64, client_hello: bool| {
        judged("gateway.silent.passed", |record| {
            record["close"]["transport"]["client_at"] = left.into();
            record["close"]["transport"]["gateway_at"] = left.into();
            ended_first(record, "client");
            record["passthrough"]["to_client"]["bytes"] = bytes.into();
            record["passthrough"]["client_hello"] = client_hello.into();
        })
    };
    let late = "2026-11-21T10:00:10.002000Z";
    assert_eq!(silent(late, 0, true), "gateway.silent.passed");
    assert_eq!(silent(late, 7, true), "ok.passed");
    assert_eq!(silent(late, 0, false), "client.left.passed_hello");
    let soon = "2026-11-21T10:00:01.900000Z";
    assert_eq!(silent(soon, 0, true), "client.left.passed");
    assert_eq!(silent(soon, 7, true), "ok.passed");
}

#[test]
fn what_the_gateway_refuses_without_a_word_may_be_no_tls() {
    let with = |first: &str, client_hello: bool| {
        judged("gateway.left.passed", |record| {
            record["client"]["first_bytes"] = first.into();
            record["passthrough"]["client_hello"] = client_hello.into();
            record["passthrough"]["to_client"] = json!({ "bytes": 0 });
        })
    };
    assert_eq!(with("tls", true), "gateway.left.passed");
    assert_eq!(with("tls", false), "client.left.passed_hello");
    assert_eq!(with("http", false), "client.fault.passed_plain");
    for other in ["other", "proxy"] {
        assert_eq!(with(other, false), "client.fault.passed_other");
    }
}

#[test]
fn plain_http_is_at_fault_only_where_the_gateway_refused_it() {
    let with = |edit: fn(&mut Value)| judged("client.fault.passed_plain", edit);
    assert_eq!(with(|_| {}), "client.fault.passed_plain");
    let answered = with(|record| record["passthrough"]["to_client"]["bytes"] = 400.into());
    assert_eq!(answered, "ok.passed");
    let left = with(|record| ended_first(record, "client"));
    assert_eq!(left, "ok.passed");
    // An alert is a refusal, whoever ends first.
    let alert = with(|record| {
        ended_first(record, "client");
        record["passthrough"]["to_client"] = json!({ "bytes": 7, "alert": "unexpected_message" });
    });
    assert_eq!(alert, "client.fault.passed_plain");
}

#[test]
fn a_gateway_without_tls_answers_in_plain_http() {
    let with = |http: bool, client_hello: bool| {
        judged("client.fault.passed_to_plain", |record| {
            record["passthrough"]["to_client"]["plain_http"] = http.into();
            record["passthrough"]["client_hello"] = client_hello.into();
        })
    };
    assert_eq!(with(true, true), "client.fault.passed_to_plain");
    assert_eq!(with(false, true), "ok.passed");
    assert_eq!(with(true, false), "ok.passed");
}

#[test]
fn a_bare_connect_that_the_gateway_ended_is_no_probe() {
    let with = |first: &str, bytes: u64| {
        judged("probe.passed", |record| {
            ended_first(record, first);
            record["passthrough"]["to_gateway"] = json!({ "bytes": bytes });
        })
    };
    assert_eq!(with("client", 0), "probe.passed");
    assert_eq!(with("gateway", 0), "ok.passed");
    assert_eq!(with("client", 3), "ok.passed");
    // The gateway ended TLS by an alert before the client left.
    let alert = judged("probe.passed", |record| {
        let at = record["opened_at"].clone();
        record["passthrough"]["to_gateway"] = json!({ "bytes": 0 });
        record["passthrough"]["to_client"] =
            json!({ "bytes": 7, "last_record": "alert", "last_at": at });
    });
    assert_eq!(alert, "ok.passed");
}

#[test]
fn our_own_end_is_ours() {
    for id in ["ok.passed", "client.left.passed", "gateway.left.passed"] {
        let drained = judged(id, |record| record["close"]["drained"] = true.into());
        assert_eq!(drained, "tap.drain.request", "{id}");
    }
}

#[test]
fn who_ended_it_in_order_said_so_first() {
    let summary = |client: &str, gateway: &str| {
        let record = edited("ok.passed", |record| {
            record["passthrough"]["to_gateway"]["last_at"] = client.into();
            record["passthrough"]["to_client"]["last_at"] = gateway.into();
        });
        decide(&record).summary
    };
    let (early, late) = ("2026-11-21T10:00:39.500000Z", "2026-11-21T10:00:40.000000Z");
    assert!(summary(early, late).contains("in order by the client"));
    assert!(summary(late, early).contains("in order by the gateway"));
}

#[test]
fn who_completed_tls_and_asked_for_nothing_is_a_probe() {
    let with = |protected: u64, last: &str, first: &str| {
        judged("probe.passed_tls", |record| {
            record["passthrough"]["to_gateway"]["protected"] = protected.into();
            record["passthrough"]["to_gateway"]["last_record"] = last.into();
            if first == "gateway" {
                record["close"]["transport"]["gateway_at"] = "2026-11-21T10:00:00.020000Z".into();
            }
        })
    };
    assert_eq!(with(2, "perhaps_alert", "client"), "probe.passed_tls");
    assert_eq!(with(1, "whole", "client"), "probe.passed_tls");
    // A request.
    assert_eq!(with(2, "whole", "client"), "ok.passed");
    assert_eq!(with(3, "perhaps_alert", "client"), "ok.passed");
    // TLS 1.2 without a request looks like a handshake that did not end.
    assert_eq!(with(0, "whole", "client"), "ok.passed");
    assert_ne!(with(1, "whole", "gateway"), "probe.passed_tls");
}
