//! The contract's "Cases decided here", one by one.

use serde_json::{Value, json};

use super::*;
use crate::session::party::Party;
use crate::session::record::{Class, Confidence};

fn class_of(record: &SessionRecord) -> Class {
    decide(record).class
}

/// `ms` milliseconds after ten o'clock.
fn at(ms: i64) -> Value {
    let start: jiff::Timestamp = "2026-11-21T10:00:00Z".parse().unwrap();
    let at = start
        .checked_add(jiff::SignedDuration::from_millis(ms))
        .unwrap();
    at.to_string().into()
}

/// The gateway closed an open session of the plain dialect with this code.
fn plain_close(code: Value) -> SessionRecord {
    edited("gateway.closed.code", |record| {
        record["close"]["gateway"]["code"] = code;
        record["close"]["gateway"]["reason"] = "".into();
    })
}

#[test]
fn a_gateways_close_decides_even_if_it_could_not_be_delivered() {
    let record = edited("gateway.lifecycle.restart_or_stop", |record| {
        record["close"]["client"] = Value::Null;
        record["close"]["transport"] = json!({
            "client": "rst", "client_at": at(41), "gateway": "local", "gateway_at": at(42),
        });
        record["close"]["client_saw"] = json!({ "code": 1006, "basis": "undelivered" });
    });
    let verdict = decide(&record);
    assert_eq!(verdict.class, Class::GatewayLifecycle);
    assert!(
        verdict
            .evidence
            .iter()
            .any(|evidence| evidence.fact.contains("could not be delivered"))
    );
}

#[test]
fn a_client_that_was_gone_first_is_client_left() {
    let record = edited("gateway.lifecycle.restart_or_stop", |record| {
        record["close"]["first"] = "client".into();
        record["close"]["client"] = Value::Null;
        record["close"]["transport"] = json!({ "client": "rst", "client_at": at(39) });
    });
    assert_eq!(class_of(&record), Class::ClientLeft);
}

#[test]
fn a_cancelled_stream_is_told_by_its_code_and_not_by_words() {
    for (reset, rule) in [
        (json!("cancel"), "client.left.stream"),
        (json!("no_error"), "client.left.stream"),
        (json!("other"), "client.left.reset"),
        (Value::Null, "client.left.reset"),
    ] {
        for words in ["RST_STREAM CANCEL", "other words"] {
            let record = edited("client.left.stream", |record| {
                record["close"]["transport"]["client_cause"] = words.into();
                record["close"]["transport"]["client_reset"] = reset.clone();
            });
            assert_eq!(rule_of(&record), rule, "{reset}, {words}");
        }
    }
}

#[test]
fn an_unfinished_close_handshake_is_judged_by_the_close() {
    for (id, class) in [
        ("ok.client_closed", Class::Ok),
        ("gateway.fault.internal", Class::GatewayFault),
    ] {
        let record = edited(id, |record| {
            record["close"]["timer"] = json!({
                "key": "close", "limit_ms": 10_000, "observed_ms": 10_001.0, "at": at(10_040),
            });
            record["close"]["transport"] = json!({
                "client": "local", "client_at": at(10_040), "gateway": "local", "gateway_at": at(10_040),
            });
        });
        let verdict = decide(&record);
        assert_eq!(verdict.class, class);
        assert!(
            verdict
                .evidence
                .iter()
                .any(|evidence| evidence.fact.contains("timeouts.close")),
            "our timer is evidence"
        );
    }
}

#[test]
fn gateway_codes_whatever_the_dialect() {
    let codes = [
        (json!(1000), Class::Ok),
        (Value::Null, Class::Ok),
        (json!(1001), Class::GatewayLifecycle),
        (json!(1012), Class::GatewayLifecycle),
        (json!(1013), Class::GatewayLifecycle),
        (json!(1009), Class::GatewayLimit),
        (json!(1011), Class::GatewayFault),
        (json!(1002), Class::GatewayClosed),
        (json!(1003), Class::GatewayClosed),
        (json!(1007), Class::GatewayClosed),
        (json!(3000), Class::GatewayAuth),
        (json!(3003), Class::GatewayAuth),
        (json!(1014), Class::HopFault),
        (json!(1008), Class::GatewayClosed),
        (json!(1010), Class::GatewayClosed),
        (json!(3008), Class::GatewayClosed),
        (json!(3999), Class::GatewayClosed),
        (json!(4001), Class::GatewayClosed),
        (json!(1006), Class::GatewayFault),
    ];
    for (code, class) in codes {
        assert_eq!(class_of(&plain_close(code.clone())), class, "{code} plain");
        let record = edited("gateway.fault.internal", |record| {
            record["close"]["gateway"]["code"] = code.clone();
            record["close"]["gateway"]["reason"] = "".into();
        });
        // 4001 is the OpenClaw gateway's own word for a session that is not valid any more.
        let class = if code == json!(4001) {
            Class::GatewayLifecycle
        } else {
            class
        };
        assert_eq!(class_of(&record), class, "{code} openclaw");
    }
}

#[test]
fn a_breach_that_our_scanner_saw_makes_it_the_clients_fault() {
    for code in [1002, 1003, 1007] {
        let record = edited("client.fault.violation", |record| {
            record["close"]["gateway"]["code"] = code.into();
        });
        assert_eq!(class_of(&record), Class::ClientFault, "{code}");
    }
}

#[test]
fn before_hello_1000_is_no_good_end() {
    let record = edited("ok.gateway_closed", |record| {
        record["phase"] = "handshake".into();
        record["dialect"]["name"] = "openclaw".into();
    });
    assert_ne!(class_of(&record), Class::Ok);
}

#[test]
fn a_first_fin_counts_also_when_the_other_side_then_ends_in_order() {
    let record = edited("client.left.open", |record| {
        record["close"]["transport"]["gateway"] = "fin".into();
        record["close"]["transport"]["gateway_at"] = at(5300);
    });
    assert_eq!(rule_of(&record), "client.left.open");
    let record = edited("gateway.left.open", |record| {
        record["close"]["transport"]["client"] = "tls_close".into();
        record["close"]["transport"]["client_at"] = at(5300);
    });
    assert_eq!(rule_of(&record), "gateway.left.open");
}

#[test]
fn a_reset_is_the_networks_only_with_lost_packets() {
    for (id, leg, class) in [
        ("network.cut.client", "client", Class::ClientLeft),
        ("network.cut.gateway", "gateway", Class::GatewayLeft),
    ] {
        let with = |unacked: u32, retransmits: u32, retries: u32| {
            edited(id, |record| {
                record[leg]["tcp"]["unacked"] = unacked.into();
                record[leg]["tcp"]["retransmits"] = retransmits.into();
                record[leg]["tcp"]["retries"] = retries.into();
            })
        };
        for found in [with(0, 9, 0), with(4, 0, 0), with(0, 0, 0)] {
            let verdict = decide(&found);
            assert_eq!(verdict.class, class);
            assert_eq!(verdict.confidence, Confidence::Possible);
        }
        // What was under way is forgotten when it breaks, how often it was sent again is not.
        for lost in [with(4, 9, 0), with(0, 9, 9)] {
            assert_eq!(class_of(&lost), Class::NetworkCut);
        }
        let record = edited(id, |record| {
            record["close"]["transport"][leg] = "fin".into();
        });
        assert_eq!(class_of(&record), class, "a FIN was acknowledged in order");
    }
}

#[test]
fn a_lone_fin_never_claims_a_crash() {
    let verdict = decide(&fixture("gateway.left.open"));
    assert_eq!(verdict.class, Class::GatewayLeft);
    assert!(verdict.confidence < Confidence::Certain);
    assert!(!verdict.summary.contains("crash"));
}

#[test]
fn foreign_answers_are_the_hops_and_unbranded_ones_the_gateways() {
    let with = |server: Value, kind: &str, status: u16| {
        edited("gateway.refused.other", |record| {
            record["gateway"]["server"] = server;
            record["gateway"]["body_kind"] = kind.into();
            record["gateway"]["status"] = status.into();
            record["answer"]["status"] = status.into();
        })
    };
    for server in [
        "nginx",
        "Caddy",
        "cloudflare",
        "haproxy",
        "envoy",
        "Traefik/3",
        "awselb/2.0",
    ] {
        for status in [200, 302, 400, 401, 404, 426, 500, 502, 503] {
            let record = with(server.into(), "text", status);
            assert_eq!(class_of(&record), Class::HopFault, "{server} {status}");
        }
    }
    for (kind, status) in [
        ("html", 404),
        ("html", 403),
        ("empty", 502),
        ("text", 504),
        ("empty", 308),
    ] {
        assert_eq!(
            class_of(&with(Value::Null, kind, status)),
            Class::HopFault,
            "{kind} {status}"
        );
    }
    for (kind, status) in [
        ("text", 400),
        ("empty", 401),
        ("json", 404),
        ("other", 426),
        ("empty", 503),
    ] {
        let record = with(Value::Null, kind, status);
        assert_eq!(class_of(&record), Class::GatewayRefused, "{kind} {status}");
    }
    // What an OpenClaw gateway answers is known.
    for (kind, status, class) in [
        ("text", 404, Class::HopFault),
        ("json", 404, Class::HopFault),
        ("other", 426, Class::HopFault),
        ("text", 400, Class::GatewayRefused),
        ("empty", 401, Class::GatewayRefused),
        ("empty", 503, Class::GatewayRefused),
        ("gateway", 429, Class::GatewayRefused),
    ] {
        let mut record = with(Value::Null, kind, status);
        record.gateway.as_mut().unwrap().expects = "openclaw".to_owned();
        assert_eq!(class_of(&record), class, "{kind} {status}");
    }
}

#[test]
fn a_stripped_upgrade_is_a_hops_fault_whatever_came_back() {
    for (status, kind) in [
        (200, "control_ui"),
        (400, "text"),
        (404, "json"),
        (401, "empty"),
    ] {
        let record = edited("hop.fault.upgrade_stripped", |record| {
            record["gateway"]["status"] = status.into();
            record["gateway"]["body_kind"] = kind.into();
            record["answer"]["status"] = status.into();
        });
        assert_eq!(rule_of(&record), "hop.fault.upgrade_stripped");
    }
}

#[test]
fn first_frames() {
    let first = |kind: &str, code: u16| {
        rule_of(&edited("gateway.protocol.not_json", |record| {
            record["dialect"]["first_message"] = kind.into();
            record["close"]["gateway"]["code"] = code.into();
        }))
    };
    assert_eq!(first("not_json", 1000), "gateway.protocol.not_json");
    assert_eq!(first("binary", 1000), "gateway.protocol.not_json");
    assert_eq!(first("not_a_request", 1008), "gateway.protocol.not_connect");
    assert_eq!(first("other_request", 1008), "gateway.protocol.not_connect");
    assert_eq!(first("too_long", 1009), "gateway.limit.first_frame");
    // A restart in that moment is a restart.
    assert_eq!(first("not_json", 1012), "gateway.lifecycle.restart_or_stop");
    assert_eq!(
        rule_of(&fixture("client.fault.no_first_frame")),
        "client.fault.no_first_frame"
    );
    assert_eq!(
        rule_of(&fixture("client.left.before_hello")),
        "client.left.before_hello"
    );
}

#[test]
fn silence_is_whoever_gave_up_waiting() {
    let verdict = decide(&fixture("gateway.silent.no_hello"));
    assert_eq!(
        (verdict.class, verdict.party),
        (Class::GatewaySilent, Party::Client)
    );
    let record = edited("gateway.silent.no_hello", |record| {
        record["close"]["timer"] = json!({
            "key": "idle", "limit_ms": 6000, "observed_ms": 6001.0, "at": at(6005),
        });
        record["close"]["transport"] = json!({ "client": "local", "gateway": "local" });
    });
    let verdict = decide(&record);
    assert_eq!(
        (verdict.class, verdict.party),
        (Class::GatewaySilent, Party::Tap)
    );
    let record = edited("client.fault.no_first_frame", |record| {
        record["dialect"]["first_message"] = "connect".into();
        record["dialect"]["connect_at"] = at(5);
        record["frames"]["to_gateway"]["messages"] = 1.into();
    });
    let verdict = decide(&record);
    assert_eq!(
        (verdict.class, verdict.party),
        (Class::GatewaySilent, Party::Gateway)
    );
}

#[test]
fn a_client_silent_until_our_timer_is_a_timeout_and_one_that_leaves_is_a_probe() {
    let record = edited("probe.websocket", |record| {
        record["close"]["timer"] = json!({
            "key": "idle", "limit_ms": 3000, "observed_ms": 3001.0, "at": at(3005),
        });
        record["close"]["transport"] = json!({ "client": "local", "gateway": "local" });
    });
    assert_eq!(class_of(&record), Class::TapTimeout);
    assert_eq!(class_of(&fixture("probe.websocket")), Class::Probe);
    let record = edited("probe.websocket", |record| {
        record["phase"] = "open".into();
        record["dialect"]["name"] = "plain".into();
    });
    assert_eq!(class_of(&record), Class::ClientLeft, "it may only listen");
}

#[test]
fn a_client_waiting_for_a_challenge_is_no_probe() {
    let record = edited("probe.websocket", |record| {
        record["dialect"]["challenge_at"] = Value::Null;
        record["frames"]["to_client"]["messages"] = 0.into();
        record["close"]["transport"]["client_at"] = at(6000);
    });
    assert_eq!(rule_of(&record), "gateway.silent.no_challenge");
}

#[test]
fn a_tls_truncation_after_a_completed_close_is_normal() {
    for id in ["ok.client_closed", "ok.gateway_closed"] {
        let record = edited(id, |record| {
            record["close"]["transport"]["client"] = "tls_truncated".into();
            record["close"]["transport"]["client_at"] = at(37);
        });
        assert_eq!(rule_of(&record), id);
    }
}

#[test]
fn only_the_gateways_3008_that_came_first_is_its_timer() {
    assert_eq!(rule_of(&plain_close(json!(3008))), "gateway.closed.timeout");
    for code in [3007, 3009, 4008, 1008] {
        assert_eq!(rule_of(&plain_close(json!(code))), "gateway.closed.code");
    }
    // The client's own 3008, which the gateway answers with the same code.
    let clients = edited("client.closed.code", |record| {
        for leg in ["client", "gateway"] {
            record["close"][leg]["code"] = 3008.into();
        }
    });
    assert_eq!(rule_of(&clients), "client.closed.code");
}

#[test]
fn layers_are_null_where_the_table_says_so() {
    for id in [
        "ok.http",
        "probe.tcp",
        "http.error.client",
        "client.closed.code",
        "gateway.closed.code",
    ] {
        assert_eq!(decide(&fixture(id)).layer, None, "{id}");
    }
    assert!(
        decide(&fixture("gateway.auth.token_mismatch"))
            .layer
            .is_some()
    );
}

#[test]
fn a_plain_dialect_knows_no_openclaw_reasons() {
    for reason in [
        "unauthorized: gateway token mismatch",
        "pairing required",
        "slow consumer",
    ] {
        let record = edited("gateway.closed.code", |record| {
            record["close"]["gateway"]["reason"] = reason.into();
        });
        assert_eq!(class_of(&record), Class::GatewayClosed);
    }
}

#[test]
fn a_refusal_beats_what_the_transports_did_afterwards() {
    let record = edited("gateway.auth.token_mismatch", |record| {
        record["close"]["client"] =
            json!({ "code": 1008, "reason": "connect failed", "at": at(9) });
        record["close"]["transport"] = json!({
            "client": "rst", "client_at": at(9), "gateway": "rst", "gateway_at": at(9),
        });
    });
    assert_eq!(rule_of(&record), "gateway.auth.token_mismatch");
}

#[test]
fn the_details_code_beats_the_text_and_the_text_speaks_where_there_is_no_code() {
    let record = edited("gateway.auth.token_mismatch", |record| {
        record["dialect"]["error"]["message"] = "pairing required: device is not approved".into();
        record["close"]["gateway"]["reason"] = "pairing required".into();
    });
    assert_eq!(rule_of(&record), "gateway.auth.token_mismatch");
    for id in [
        "gateway.auth.token_mismatch",
        "gateway.auth.token_missing",
        "gateway.auth.rate_limited",
        "gateway.auth.device_clock",
        "gateway.auth.device_token_mismatch",
        "gateway.auth.control_ui_insecure",
        "gateway.pairing.not_paired",
        "gateway.pairing.scope_upgrade",
        "gateway.origin.not_allowed",
        "gateway.protocol.version",
        "gateway.protocol.stale_page",
    ] {
        // No answer was read, only the Close.
        let record = edited(id, |record| {
            record["dialect"]["result"] = "none".into();
            record["dialect"]["error"] = Value::Null;
            record["dialect"]["answered_at"] = Value::Null;
        });
        assert_eq!(rule_of(&record), id);
        // A code of a later version.
        let record = edited(id, |record| {
            record["dialect"]["error"]["details_code"] = "A_LATER_NAME".into();
        });
        assert_eq!(rule_of(&record), id);
    }
}

#[test]
fn each_way_not_to_be_believed_has_its_own_action() {
    let verdict_of = |edit: fn(&mut Value)| {
        let verdict = decide(&edited("gateway.refused.attribution_client", edit));
        (verdict.rule, verdict.next)
    };
    for (edit, rule, next) in [
        (
            (|record| record["client"]["via"]["resolved"] = false.into()) as fn(&mut Value),
            "gateway.refused.attribution_client",
            "make the proxy at 127.0.0.1 write its client's address",
        ),
        (
            |record| {
                record["client"]["via"] = Value::Null;
                record["gateway"]["forwarded"]["why"] = "configured".into();
            },
            "gateway.refused.attribution_client",
            "set gateway.forwarded: auto",
        ),
        (
            |record| {
                record["client"]["via"] = Value::Null;
                record["gateway"]["forwarded"]["why"] = "own_host".into();
                record["gateway"]["forwarded"]["sent"][0]["value"] = "10.0.0.9".into();
            },
            "gateway.refused.attribution_client",
            "let clients on wstap's own host connect to the gateway itself",
        ),
        (
            |record| record["gateway"]["forwarded"]["sent"][0]["value"] = "10.0.0.9".into(),
            "gateway.refused.attribution_client",
            "make gateway.trustedProxies in openclaw.json narrower",
        ),
        (
            |record| {
                record["gateway"]["forwarded"]["sent"][0]["value"] = "10.0.0.9".into();
                record["gateway"]["forwarded"]["acceptance"] = "refused".into();
            },
            "gateway.refused.attribution",
            "\"trustedProxies\": [\"127.0.0.1/32\"]",
        ),
        (
            |record| {
                record["gateway"]["forwarded"]["mode"] = "pass".into();
                record["gateway"]["forwarded"]["why"] = "loopback_proxy".into();
            },
            "gateway.refused.attribution_proxy",
            "into trusted_proxies of wstap; then in openclaw.json set",
        ),
    ] {
        let found = verdict_of(edit);
        assert_eq!(found.0, rule);
        assert!(found.1.contains(next), "{}", found.1);
    }
}

#[test]
fn a_stall_is_the_networks_whoever_gives_up() {
    let id = "network.cut.gateway_stalled";
    let once = edited(id, |record| record["gateway"]["tcp"]["retries"] = 1.into());
    assert_eq!(
        rule_of(&once),
        "client.left.open",
        "one retransmission mends itself"
    );
    let idle = edited(id, |record| {
        record["close"] = json!({
            "transport": { "client": "local", "gateway": "local" }, "first": "tap",
            "timer": { "key": "idle", "limit_ms": 60000, "observed_ms": 60001.0, "at": at(93_000) },
        });
    });
    assert_eq!(rule_of(&idle), id);
    assert_eq!(decide(&idle).party, Party::Tap);
    // What the gateway says explains more, and a client that is done may close.
    let closed = edited(id, |record| {
        record["close"]["gateway"] = json!({ "code": 1012, "reason": "", "at": at(50) });
    });
    assert_eq!(rule_of(&closed), "gateway.lifecycle.restart_or_stop");
    let done = edited(id, |record| {
        record["close"]["client"] = json!({ "code": 1000, "reason": "", "at": at(50) });
    });
    assert_eq!(rule_of(&done), "ok.client_closed");
}
