//! Waits and connections that say something about the gateway, and those that do not.

use serde_json::json;

use super::*;

/// A probe's connections: for each address, how many were tried and how many were made.
fn probed(all: &[(u32, u32)]) -> SessionRecord {
    edited("gateway.unreachable.partly", |record| {
        let attempts = all.iter().map(|(of, connected)| {
            json!({ "addr": "10.0.0.9:18789", "at_ms": 0.0, "ms": 0.4, "error": null,
                    "tries": { "of": of, "connected": connected } })
        });
        record["gateway"]["attempts"] = attempts.collect();
    })
}

#[test]
fn three_of_a_hundred_connections_may_be_lost() {
    let partly = "gateway.unreachable.partly";
    assert_eq!(rule_of(&probed(&[(100, 96)])), partly);
    assert_eq!(rule_of(&probed(&[(4, 0), (100, 100)])), partly);
    assert_eq!(rule_of(&probed(&[(100, 100), (4, 0)])), partly);
    for fine in [&[(100, 97)][..], &[(100, 100), (100, 97)], &[(0, 0)], &[]] {
        assert_ne!(rule_of(&probed(fine)), partly, "{fine:?}");
    }
    // If no connection was made, other rules apply.
    assert_ne!(rule_of(&probed(&[(4, 0), (4, 0)])), partly);
}

/// A session tries each address once and goes on to the next, so its client notices nothing.
#[test]
fn a_sessions_own_attempts_are_no_loss() {
    let record = edited("gateway.unreachable.partly", |record| {
        for attempt in record["gateway"]["attempts"].as_array_mut().unwrap() {
            attempt["tries"] = serde_json::Value::Null;
        }
    });
    assert_eq!(rule_of(&record), "ok.http");
}

#[test]
fn a_short_wait_for_the_dial_is_the_clients() {
    let at = |dial: &str| {
        rule_of(&edited("gateway.unreachable.no_answer", |record| {
            for began in record["phases"].as_array_mut().unwrap() {
                if began["phase"] == "dial" {
                    began["at"] = dial.into();
                }
            }
        }))
    };
    assert_eq!(
        at("2026-11-21T10:00:05.900000Z"),
        "gateway.unreachable.no_answer"
    );
    // The connection was that old, but had been a spare one until then.
    assert_eq!(at("2026-11-21T10:00:06.100000Z"), "client.left.dial");
    // A clock that was set back.
    assert_eq!(at("2026-11-21T10:01:00.000000Z"), "client.left.dial");
    let no_error = edited("gateway.unreachable.no_answer", |record| {
        record["phases"] = json!([]);
    });
    assert_eq!(rule_of(&no_error), "client.left.dial");
}

/// Only CONNECT to a proxy is judged as such, and only a refusal.
#[test]
fn a_proxys_refusal_is_known_by_its_request() {
    let rules =
        ["login", "refused", "silent", "unreachable"].map(|name| format!("hop.fault.proxy_{name}"));
    for id in &rules {
        for (key, value) in [("method", "GET"), ("http_version", "HTTP/2.0")] {
            let record = edited(id, |record| record["request"][key] = value.into());
            assert!(!rules.contains(&rule_of(&record)), "{id} without {key}");
        }
        let connected = edited(id, |record| {
            record["gateway"]["status"] = 200.into();
            record["gateway"]["error"] = serde_json::Value::Null;
        });
        assert!(!rules.contains(&rule_of(&connected)), "{id}");
    }
    let at = |status: u16| {
        rule_of(&edited("hop.fault.proxy_refused", |record| {
            record["gateway"]["status"] = status.into();
        }))
    };
    assert_eq!(at(407), "hop.fault.proxy_login");
    for status in [401, 403, 405, 503] {
        assert_eq!(at(status), "hop.fault.proxy_refused", "{status}");
    }
}

/// Silence is the gateway's only if the request reached it.
#[test]
fn a_request_that_was_not_acknowledged_is_not_the_gateways() {
    let large = "network.cut.large_request";
    let with = |key: &str, value: u32| {
        rule_of(&edited(large, |record| {
            record["gateway"]["tcp"][key] = value.into();
        }))
    };
    for (key, value) in [("retries", 1), ("retries", 0), ("unacked", 0)] {
        assert_eq!(with(key, value), "gateway.silent.upgrade", "{key} {value}");
    }
    let no_error = edited(large, |record| {
        record["gateway"]["tcp"] = serde_json::Value::Null;
    });
    assert_eq!(rule_of(&no_error), "gateway.silent.upgrade");
    let small = edited(large, |record| {
        record["request"]["headers"].as_array_mut().unwrap().pop();
    });
    assert_eq!(rule_of(&small), "network.cut.request");
    // The client gave up before our timer.
    let by_client = |record: &mut serde_json::Value| {
        record["gateway"]["error"] = serde_json::Value::Null;
        record["answer"] = serde_json::Value::Null;
        record["close"] = json!({
            "first": "client",
            "transport": { "client": "fin", "client_at": "2026-11-21T10:00:05.000000Z" },
        });
    };
    assert_eq!(rule_of(&edited(large, by_client)), large);
    let answered = edited(large, |record| record["gateway"]["status"] = 101.into());
    assert_ne!(rule_of(&answered), large);
    // Not by the client, nor by the timer of the upgrade.
    let by_nobody = edited(large, |record| {
        by_client(record);
        record["close"] = json!({ "first": "tap", "transport": { "client": "local" } });
    });
    assert_ne!(rule_of(&by_nobody), large);
    let drained = edited(large, |record| {
        by_client(record);
        record["close"]["drained"] = true.into();
    });
    assert_ne!(rule_of(&drained), large);
}
