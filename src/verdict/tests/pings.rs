//! Unanswered pings explain an ending only if the end that closed had waited for them.

use serde_json::{Value, json};

use super::*;
use crate::session::record::verdict::ActOn;
use crate::session::record::{Class, Confidence};

const MISSED: &str = "gateway.lifecycle.missed_pongs";
const TIMEOUT: &str = "gateway.lifecycle.ping_timeout";
const SILENT: &str = "gateway.silent.pings";

/// This many seconds after ten o'clock.
fn at(seconds: i64) -> Value {
    let start: jiff::Timestamp = "2026-11-21T10:00:00Z".parse().unwrap();
    let at = start.checked_add(jiff::SignedDuration::from_secs(seconds));
    at.unwrap().to_string().into()
}

fn pings(first: i64, last: i64) -> Value {
    json!({ "count": 2, "first_at": at(first), "last_at": at(last) })
}

fn says(verdict: &Verdict, text: &str) -> bool {
    verdict.evidence.iter().any(|it| it.fact.contains(text))
}

#[test]
fn a_gateway_that_misses_pongs_waited_for_them() {
    let ended = |client: Value| {
        decide(&edited(MISSED, |record| {
            record["latency"]["unanswered_pings"]["client"] = client;
        }))
    };
    assert_eq!(ended(pings(25, 50)).rule, MISSED);
    // Answered late, in flight, or sent after the end.
    for client in [Value::Null, pings(60, 74), pings(74, 74), pings(80, 80)] {
        let verdict = ended(client);
        assert_eq!(verdict.rule, "gateway.left.open");
    }
    // Other sessions that were lost with it prove a crash.
    let crash = edited(MISSED, |record| {
        record["context"] = json!({ "remembered": 9, "lost_together": 4, "lost_alike": 0 });
    });
    assert_eq!(rule_of(&crash), "gateway.lifecycle.crash");
}

/// The gateway closed after 40 s, for this reason, and the client did not answer its Close.
fn closed_at_40(record: &mut Value, reason: &str) {
    record["closed_at"] = at(41);
    record["close"]["client"] = Value::Null;
    record["close"]["gateway"]["reason"] = reason.into();
    record["close"]["gateway"]["at"] = at(40);
    for leg in ["gateway_at", "client_at"] {
        record["close"]["transport"][leg] = at(41);
    }
}

#[test]
fn servers_that_close_with_1011_for_a_missing_pong_did_not_fail_inside() {
    let closed = |reason: &str, client: Value| {
        decide(&edited("gateway.fault.internal", |record| {
            record["dialect"]["name"] = "plain".into();
            closed_at_40(record, reason);
            record["latency"] = json!({ "unanswered_pings": { "client": client } });
        }))
    };
    let said = closed("keepalive ping timeout", pings(20, 20));
    assert_eq!(
        (&*said.rule, said.confidence),
        (TIMEOUT, Confidence::Likely)
    );
    let mute = closed("", pings(20, 20));
    assert_eq!(
        (&*mute.rule, mute.confidence),
        (TIMEOUT, Confidence::Possible)
    );
    // Another reason is believed, and a reason without the fact proves nothing.
    let other = closed("unexpected error", pings(20, 20));
    assert_eq!(other.rule, "gateway.fault.internal");
    assert!(says(&other, "had no answer from the client for 20.0 s"));
    for client in [Value::Null, pings(38, 38), pings(41, 41)] {
        let verdict = closed("keepalive ping timeout", client);
        assert_eq!(verdict.rule, "gateway.fault.internal");
    }
}

/// 3008 says that something took too long, and not what.
#[test]
fn a_close_for_a_timeout_is_judged_by_what_had_no_answer() {
    let closed = |reason: &str, edit: fn(&mut Value)| {
        decide(&edited("gateway.closed.timeout", |record| {
            closed_at_40(record, reason);
            edit(record);
        }))
    };
    let unanswered = |record: &mut Value| {
        record["latency"] = json!({ "unanswered_pings": { "client": pings(20, 20) } });
    };
    let lost = |record: &mut Value| {
        record["client"]["tcp"] = json!({ "rtt_us": 100, "retransmits": 3, "unacked": 2,
            "retries": 3, "pmtu": 1500 });
    };
    let missed = closed("", unanswered);
    assert_eq!(
        (&*missed.rule, missed.confidence, missed.act_on),
        (TIMEOUT, Confidence::Possible, ActOn::Client)
    );
    for reason in ["", "idle"] {
        assert_eq!(closed(reason, lost).rule, "network.cut.client_stalled");
    }
    // One retransmission is no lost network, and the gateway's own leg is not what it waited for.
    let once = closed("", |record| {
        record["client"]["tcp"] = json!({ "rtt_us": 100, "retransmits": 1, "unacked": 2,
            "retries": 1, "pmtu": 1500 });
    });
    let other_leg = closed("", |record| {
        record["gateway"]["tcp"] = json!({ "rtt_us": 100, "retransmits": 3, "unacked": 2,
            "retries": 3, "pmtu": 1500 });
    });
    for verdict in [once, other_leg] {
        assert_eq!(verdict.rule, "gateway.closed.timeout");
    }
    // A reason is believed, and pings that were answered prove nothing.
    for (reason, edit) in [
        ("subscription", unanswered as fn(&mut Value)),
        ("", |_| {}),
        ("", |record| {
            record["latency"] = json!({ "unanswered_pings": { "client": pings(38, 38) } });
        }),
    ] {
        let verdict = closed(reason, edit);
        assert_eq!(
            (&*verdict.rule, verdict.confidence, verdict.act_on),
            (
                "gateway.closed.timeout",
                Confidence::Likely,
                ActOn::Operator
            )
        );
    }
    // The same of the client, whose gateway does not answer.
    let clients = decide(&edited(SILENT, |record| {
        record["close"]["client"]["code"] = 3008.into();
        record["close"]["client"]["reason"] = "".into();
    }));
    assert_eq!(clients.rule, SILENT);
    for (code, rule) in [
        (3008, "network.cut.gateway_stalled"),
        (4001, "client.closed.code"),
    ] {
        let cut = edited("network.cut.gateway_stalled", |record| {
            record["close"]["client"] = json!({ "code": code, "reason": "", "at": at(40) });
        });
        assert_eq!(rule_of(&cut), rule, "{code}");
    }
}

#[test]
fn the_kernel_tells_a_frozen_client_from_a_lost_network() {
    let with = |tcp: Value| decide(&edited(MISSED, |record| record["client"]["tcp"] = tcp));
    let tcp = |unacked: u32, retries: u32| {
        json!({ "rtt_us": 100, "retransmits": retries, "unacked": unacked, "retries": retries,
                "pmtu": 1500 })
    };
    let frozen = with(tcp(0, 0));
    assert_eq!(frozen.rule, MISSED);
    assert!(says(&frozen, "its kernel acknowledged"));
    assert!(
        frozen.next.contains("its process did not answer"),
        "{}",
        frozen.next
    );
    let lost = with(tcp(2, 3));
    assert_eq!(lost.rule, "network.cut.client_stalled");
    // A client that sends data but answers no ping.
    let lively = decide(&edited(MISSED, |record| {
        record["frames"]["to_gateway"]["last_at"] = at(70);
    }));
    assert_eq!(lively.rule, MISSED);
    assert!(
        lively.next.contains("drops or answers pings"),
        "{}",
        lively.next
    );
}

/// A record in which bytes had waited this long in all, for the gateway and for the client to read.
fn waited(id: &str, to_gateway: f64, to_client: f64, edit: impl FnOnce(&mut Value)) -> Verdict {
    decide(&edited(id, |record| {
        let blocked = json!({ "to_gateway": to_gateway, "to_client": to_client });
        if record["latency"].is_null() {
            record["latency"] = json!({});
        }
        record["latency"]["blocked_ms"] = blocked;
        edit(record);
    }))
}

/// We stop reading from an end while the other one does not read, so its pongs wait.
#[test]
fn a_gateway_that_does_not_read_has_not_missed_the_clients_pongs() {
    let proves_nothing = "because the gateway did not read";
    for id in [TIMEOUT, MISSED] {
        let unread = waited(id, 30_000.0, 0.0, |_| {});
        assert_ne!(unread.rule, id);
        assert_ne!(unread.act_on, ActOn::Client, "{unread:#?}");
        assert!(says(&unread, proves_nothing), "{unread:#?}");
        assert!(!says(&unread, "the process there did not answer"));
        // A short stall during an upload does not hide a pong for so long.
        let moment = waited(id, 900.0, 0.0, |_| {});
        assert_eq!(moment.rule, id);
        assert!(!says(&moment, proves_nothing), "{moment:#?}");
    }
    // Such a gateway ends sessions as regularly as it pings: that is not a proxy's timer.
    let regular = waited(MISSED, 30_000.0, 0.0, |record| {
        record["context"] = json!({ "cadence": {
            "measure": "silence", "leg": "gateway", "period_ms": 15_000, "cases": 8,
            "known_s": null, "compared": 8, "one_in": 5_000_000, "clients": 2,
        } });
    });
    assert_eq!(regular.rule, "gateway.left.open");
}

#[test]
fn a_client_that_does_not_read_has_not_missed_the_gateways_pongs() {
    let closed = waited(SILENT, 0.0, 30_000.0, |_| {});
    assert_eq!(closed.rule, "client.closed.code");
    assert!(
        says(&closed, "because the client did not read"),
        "{closed:#?}"
    );
    assert_eq!(waited(SILENT, 0.0, 1500.0, |_| {}).rule, SILENT);
    let left = waited(SILENT, 0.0, 30_000.0, |record| {
        record["close"]["client"] = Value::Null;
        record["close"]["client_saw"] = Value::Null;
    });
    assert_eq!(left.rule, "client.left.open");
    // Nor did the gateway's ticks stop.
    let ticks = "gateway.silent.ticks";
    let unread = waited(ticks, 0.0, 60_000.0, |_| {});
    assert_eq!(unread.rule, "client.closed.tick_timeout");
    assert!(
        unread.summary.contains("while it did not read"),
        "{unread:#?}"
    );
    assert_eq!(waited(ticks, 60_000.0, 500.0, |_| {}).rule, ticks);
}

/// Nor did the gateway stop answering if its answers wait behind bytes that the client does not
/// read.
#[test]
fn a_client_that_does_not_read_may_have_been_answered() {
    for id in ["gateway.silent.no_hello", "gateway.silent.requests"] {
        assert_eq!(waited(id, 0.0, 100.0, |_| {}).rule, id);
        let unread = waited(id, 0.0, 30_000.0, |_| {});
        assert_ne!(unread.act_on, ActOn::Gateway, "{unread:#?}");
    }
}

/// A ping that still waits in the tap for its receiver was not acknowledged by anybody.
#[test]
fn pings_to_an_end_that_does_not_read_may_not_have_reached_it() {
    for (id, to_gateway, to_client) in [(TIMEOUT, 0.0, 30_000.0), (SILENT, 30_000.0, 0.0)] {
        let unread = waited(id, to_gateway, to_client, |_| {});
        assert_eq!(unread.rule, id);
        assert!(!says(&unread, "its kernel acknowledged"), "{unread:#?}");
        assert!(
            says(&unread, "it did not read: bytes waited 30.0 s"),
            "{unread:#?}"
        );
        assert!(
            unread.next.contains("may never have reached it"),
            "{unread:#?}"
        );
        assert!(says(
            &waited(id, 0.0, 0.0, |_| {}),
            "its kernel acknowledged"
        ));
    }
}

#[test]
fn a_client_that_does_not_read_is_a_slow_consumer_before_it_misses_pings() {
    let slow = "gateway.limit.slow_consumer";
    let with = |blocked: f64| {
        waited(slow, 0.0, blocked, |record| {
            record["close"]["transport"]["gateway_at"] = at(75);
            record["close"]["transport"]["client_at"] = at(75);
            record["closed_at"] = at(75);
            record["latency"]["unanswered_pings"] = json!({ "client": pings(25, 50) });
        })
    };
    assert_eq!(with(38_000.0).rule, slow);
    assert_eq!(with(0.0).rule, MISSED);
}

#[test]
fn a_client_whose_pings_have_no_answer_did_not_leave_for_reasons_of_its_own() {
    let ended = |edit: fn(&mut Value)| decide(&edited(SILENT, edit));
    let said = ended(|_| {});
    assert_eq!((&*said.rule, said.confidence), (SILENT, Confidence::Likely));
    assert!(
        said.next.contains("its process did not answer"),
        "{}",
        said.next
    );
    let left = ended(|record| {
        record["close"]["client"] = Value::Null;
        record["close"]["client_saw"] = Value::Null;
    });
    assert_eq!(
        (&*left.rule, left.confidence),
        (SILENT, Confidence::Possible)
    );
    let lost = ended(|record| {
        record["gateway"]["tcp"]["unacked"] = 3.into();
        record["gateway"]["tcp"]["retries"] = 4.into();
    });
    assert_eq!(lost.rule, "network.cut.gateway_stalled");

    // Answered; in flight; another code; another reason; a gateway that sends data when the client
    // is cut.
    let answered = ended(|record| record["latency"] = json!({}));
    assert_eq!(answered.rule, "client.closed.code");
    let under_way = ended(|record| {
        record["latency"]["unanswered_pings"]["gateway"] = pings(38, 39);
    });
    assert_eq!(under_way.rule, "client.closed.code");
    let normal = ended(|record| record["close"]["client"]["code"] = 1000.into());
    assert_eq!(normal.class, Class::Ok);
    let other = ended(|record| record["close"]["client"]["reason"] = "disk full".into());
    assert_eq!(other.rule, "client.closed.code");
    let sending = ended(|record| {
        record["close"]["client"] = Value::Null;
        record["frames"]["to_client"]["last_at"] = at(39);
    });
    assert_eq!(sending.rule, "client.left.open");
}

#[test]
fn browsers_leave_when_no_subprotocol_was_agreed() {
    for id in ["client.left.subprotocol", "hop.fault.subprotocol_stripped"] {
        let ended = |edit: fn(&mut Value)| decide(&edited(id, edit));
        assert_eq!(ended(|_| {}).rule, id);
        assert_eq!(ended(|_| {}).confidence, Confidence::Likely);
        let native = ended(|record| record["request"]["origin"] = Value::Null);
        assert_eq!(
            (&*native.rule, native.confidence),
            (id, Confidence::Possible)
        );
        // None offered, one agreed, a byte sent, stayed, or the gateway left first.
        for edit in [
            |record: &mut Value| record["request"]["subprotocols"] = json!([]),
            |record: &mut Value| record["gateway"]["subprotocol"] = "chat.v2".into(),
            |record: &mut Value| record["frames"]["to_gateway"]["wire_bytes"] = 20.into(),
            |record: &mut Value| {
                record["close"]["transport"]["client_at"] = at(5);
                record["closed_at"] = at(5);
            },
            |record: &mut Value| record["close"]["transport"]["gateway"] = "fin".into(),
        ] {
            let record = edited(id, |record| {
                edit(record);
                if record["close"]["transport"]["gateway"] == "fin" {
                    record["close"]["transport"]["gateway_at"] = at(0);
                }
            });
            assert_ne!(rule_of(&record), id);
        }
    }
}
