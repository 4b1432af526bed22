//! How requests affect the verdict on a session.

use serde_json::json;

use super::*;

const LOST: &str = "request delivered, response lost: it may have been carried out";

/// A session that its gateway left, with one request waiting.
fn left(written: bool, unacked: Option<u32>) -> SessionRecord {
    edited("gateway.left.open", |record| {
        record["dialect"]["rpc"] = json!({
            "requests": 1, "unanswered_count": 1,
            "unanswered": [{
                "method": "chat.send", "at": "2026-11-21T10:00:00.030000Z",
                "age_ms": 12.0, "written": written,
            }],
        });
        record["gateway"]["tcp"] = unacked.map_or(
            json!(null),
            |unacked| json!({ "rtt_us": 100, "retransmits": 0, "unacked": unacked, "pmtu": 1500 }),
        );
    })
}

fn says(record: &SessionRecord, text: &str) -> bool {
    let verdict = decide(record);
    verdict.evidence.iter().any(|it| it.fact.contains(text))
}

#[test]
fn a_response_is_called_lost_only_when_its_request_was_delivered() {
    assert!(says(&left(true, Some(0)), LOST));
    assert!(says(&left(true, Some(2)), "its arrival is not proven"));
    assert!(says(&left(true, None), "its arrival is not proven"));
    assert!(says(&left(false, Some(0)), "not written to the gateway"));
    assert_eq!(rule_of(&left(true, Some(0))), "gateway.left.open");
    let unsure = edited("gateway.left.open", |record| {
        record["dialect"]["rpc"] = json!({ "requests": 1, "unseen_to_client": 1 });
    });
    assert!(!says(&unsure, "had no answer"), "nothing is known of it");
}

#[test]
fn one_success_makes_it_a_good_session() {
    for id in [
        "channel.missing_scope",
        "channel.locality_lost",
        "channel.requests_failed",
    ] {
        let good = edited(id, |record| {
            record["dialect"]["rpc"]["responses"] = 2.into();
        });
        assert_eq!(rule_of(&good), "ok.client_closed", "{id}");
        let unseen = edited(id, |record| {
            record["dialect"]["rpc"]["unmatched"] = 1.into();
        });
        assert_eq!(rule_of(&unseen), "ok.client_closed", "{id}");
    }
}

#[test]
fn a_bad_end_beats_the_failures_before_it() {
    let kicked = edited("gateway.lifecycle.auth_changed", |record| {
        let failing = serde_json::to_value(fixture("channel.missing_scope")).unwrap();
        record["dialect"]["rpc"] = failing["dialect"]["rpc"].clone();
    });
    assert_eq!(rule_of(&kicked), "gateway.lifecycle.auth_changed");
}

#[test]
fn scopes_that_a_device_lacks_are_no_lost_locality() {
    let device = edited("channel.locality_lost", |record| {
        record["dialect"]["device"]["present"] = true.into();
    });
    assert_eq!(rule_of(&device), "channel.missing_scope");
}

#[test]
fn a_gateway_that_still_talks_is_not_silent() {
    let ticking = edited("gateway.silent.requests", |record| {
        record["frames"]["to_client"]["last_at"] = "2026-11-21T10:00:05Z".into();
    });
    assert_eq!(rule_of(&ticking), "ok.client_closed");
    // Recently sent bytes, such as the client's Close, are not acknowledged at once.
    let newer = edited("gateway.silent.requests", |record| {
        record["gateway"]["tcp"]["unacked"] = 3.into();
    });
    assert_eq!(rule_of(&newer), "gateway.silent.requests");
    let lost = edited("gateway.silent.requests", |record| {
        record["gateway"]["tcp"]["unacked"] = 3.into();
        record["gateway"]["tcp"]["retries"] = 4.into();
    });
    assert_eq!(rule_of(&lost), "network.cut.gateway_stalled");
}

/// When a connection breaks, the kernel drops the bytes in flight: a count of zero unacknowledged
/// bytes is then no proof of delivery.
#[test]
fn a_request_of_a_connection_that_broke_is_not_proven_to_have_arrived() {
    for (end, delivered) in [("fin", true), ("rst", false), ("timeout", false)] {
        let record = edited("gateway.left.open", |record| {
            record["gateway"]["tcp"] =
                json!({ "rtt_us": 90, "retransmits": 0, "unacked": 0, "pmtu": 65535 });
            record["close"]["transport"]["gateway"] = end.into();
            record["dialect"]["rpc"] = json!({
                "requests": 1, "responses": 0, "unanswered_count": 1,
                "unanswered": [{
                    "method": "chat.send", "at": "2026-11-21T10:00:00.030000Z",
                    "age_ms": 9000.0, "written": true,
                }],
            });
        });
        assert_eq!(
            says(&record, "request delivered, response lost"),
            delivered,
            "{end}"
        );
        assert_eq!(
            says(&record, "its arrival is not proven"),
            !delivered,
            "{end}"
        );
    }
}

#[test]
fn work_that_goes_on_is_told_of() {
    let record = edited("gateway.left.open", |record| {
        record["dialect"]["rpc"] = json!({
            "requests": 1, "responses": 1, "unanswered_count": 0, "unfinished_count": 1,
            "unfinished": [{
                "method": "agent", "at": "2026-11-21T10:00:00.030000Z",
                "age_ms": 90000.0, "written": true,
            }],
        });
    });
    assert!(says(
        &record,
        "accepted \"agent\" and its result had not come after 90.0 s"
    ));
    assert!(says(&record, "the work may go on without it"));
}

#[test]
fn a_client_that_really_is_remote_is_not_told_to_take_headers_away() {
    let with = |client: &str, forwarded: serde_json::Value| {
        let verdict = decide(&edited("channel.locality_lost", |record| {
            record["client"]["addr"] = client.into();
            record["gateway"]["forwarded"] = forwarded;
        }));
        assert_eq!(verdict.rule, "channel.locality_lost");
        verdict
    };
    let overwrite = |why: &str, ip: &str| {
        json!({ "mode": "overwrite", "why": why, "brought": [],
                "sent": [{ "name": "x-forwarded-for", "value": ip }] })
    };
    let remote = with("192.0.2.7:50344", overwrite("remote_client", "192.0.2.7"));
    assert!(
        remote.next.contains("run `openclaw cron list` once"),
        "{}",
        remote.next
    );
    assert!(!remote.next.contains("header"), "{}", remote.next);
    let says =
        |verdict: &Verdict, text: &str| verdict.evidence.iter().any(|it| it.fact.contains(text));
    assert!(says(&remote, "who the client is (192.0.2.7)"));
    let configured = with("127.0.0.1:50344", overwrite("configured", "127.0.0.1"));
    assert!(
        configured.next.contains("gateway.forwarded: auto"),
        "{}",
        configured.next
    );
    let proxied = with(
        "127.0.0.1:50344",
        json!({ "mode": "pass", "why": "loopback_proxy", "brought": ["x-forwarded-for"] }),
    );
    assert!(
        proxied.next.contains("the proxy in front adds headers"),
        "{}",
        proxied.next
    );
    assert!(
        proxied.next.contains("openclaw cron list"),
        "{}",
        proxied.next
    );
}

/// The kernel's state when it gave up the gateway's connection during a request.
#[test]
fn a_gateway_that_does_not_read_is_no_lost_network() {
    let with = |kind: &str, retries: u32, probes: u32| {
        decide(&edited("network.cut.request", |record| {
            record["gateway"]["error"]["kind"] = kind.into();
            record["gateway"]["tcp"]["retries"] = retries.into();
            record["gateway"]["tcp"]["probes"] = probes.into();
        }))
    };
    let cut = with("unacknowledged", 5, 0);
    assert_eq!(cut.rule, "network.cut.request");
    assert!(cut.summary.contains("was not acknowledged"), "{cut:?}");
    // All of it was acknowledged, and the host vanished while its answer was awaited.
    let silent = with("unacknowledged", 0, 4);
    assert_eq!(silent.rule, "network.cut.request");
    assert!(silent.summary.contains("fell silent"), "{silent:?}");
    let unread = with("unread", 0, 0);
    assert_eq!(unread.rule, "gateway.silent.unread");
    assert!(unread.next.contains("tcp.user_timeout"), "{unread:?}");
}
