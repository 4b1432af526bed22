//! What other sessions add, and what they must not outvote.

use serde_json::json;

use super::*;
use crate::session::record::Confidence;

#[test]
fn what_is_regular_by_itself_is_no_hops_cadence() {
    for (id, leg, period_ms) in [
        ("probe.websocket", "client", 2000),
        ("gateway.lifecycle.missed_pongs", "gateway", 50_000),
        ("gateway.limit.slow_consumer", "gateway", 9000),
    ] {
        for measure in ["silence", "age"] {
            let record = edited(id, |record| {
                record["context"] = json!({ "cadence": {
                    "measure": measure, "leg": leg, "period_ms": period_ms, "cases": 5,
                    "known_s": null,
                } });
            });
            assert_eq!(decide(&record).rule, id, "{measure}");
        }
    }
}

#[test]
fn processes_that_end_in_turn_are_no_timer_of_a_hop() {
    let with = |processes: u32| {
        rule_of(&edited("gateway.left.open", |record| {
            record["context"] = json!({
                "processes_lost": processes,
                "cadence": {
                    "measure": "age", "leg": "gateway", "period_ms": 2100, "cases": 4,
                    "known_s": null,
                },
            });
        }))
    };
    assert_eq!(with(4), "gateway.lifecycle.crash");
    assert_eq!(with(1), "hop.fault.idle_cadence");
}

#[test]
fn clients_that_leave_in_one_second_share_a_cause() {
    let alone = decide(&fixture("client.left.open"));
    let together = decide(&edited("client.left.open", |record| {
        record["context"] = json!({ "lost_together": 5 });
    }));
    assert_eq!(together.rule, "client.left.open");
    assert!(
        together.next.contains("what these clients share"),
        "{}",
        together.next
    );
    assert!(!alone.next.contains("share"), "{}", alone.next);
}

#[test]
fn one_loss_makes_a_restart_possible_and_three_make_it_likely() {
    let with = |lost: u32| {
        let verdict = decide(&edited("gateway.unreachable.refused", |record| {
            record["context"] = json!({ "going_down": {
                "at": "2026-11-21T09:59:57Z", "announced": false, "stops": false, "lost": lost,
                "restart_expected_ms": null,
            } });
        }));
        assert_eq!(verdict.rule, "gateway.lifecycle.restarting");
        verdict.confidence
    };
    assert_eq!(with(1), Confidence::Possible);
    assert_eq!(with(3), Confidence::Likely);
}

#[test]
fn a_message_of_many_frames_is_not_measured_by_its_frames() {
    let fragmented = edited("gateway.limit.smaller_limit", |record| {
        record["frames"]["to_gateway"]["opcodes"]["continuation"] = json!(20);
    });
    assert_eq!(rule_of(&fragmented), "gateway.limit.message_too_big");
}

#[test]
fn a_client_that_cancels_again_and_again_is_told_with_both_times() {
    const AGAIN: &str = "client.left.again";
    let cancels = |cancels: serde_json::Value| {
        decide(&edited(AGAIN, |record| {
            record["context"]["cancels"] = cancels;
        }))
    };
    let with = |count: u32, waited: (u32, u32), answered: u32, others: Option<(u32, u32)>| {
        cancels(serde_json::json!({
            "count": count, "waited_ms": { "min": waited.0, "max": waited.1 }, "answered": answered,
            "others": others.map_or(0, |_| 4),
            "others_ms": others.map(|(min, max)| serde_json::json!({ "min": min, "max": max })),
        }))
    };
    let slow = with(3, (2990, 3005), 0, Some((3800, 6100)));
    assert_eq!(slow.rule, AGAIN);
    assert_eq!(slow.confidence, Confidence::Likely);
    assert!(slow.next.contains("above 6.1 s"), "{}", slow.next);
    let says =
        |verdict: &Verdict, text: &str| verdict.evidence.iter().any(|it| it.fact.contains(text));
    assert!(says(&slow, "it waited equally long each time (3.0 s"));
    assert!(says(
        &slow,
        "4 attempts of others at this gateway were answered"
    ));
    // The others are answered sooner: it is not the gateway's time.
    let odd = with(4, (900, 4000), 0, Some((5, 40)));
    assert_eq!((&*odd.rule, odd.confidence), (AGAIN, Confidence::Possible));
    assert!(!says(&odd, "equally long"));
    let nobody = with(5, (1000, 1020), 0, None);
    assert!(
        nobody.next.starts_with("nobody was answered"),
        "{}",
        nobody.next
    );
    // Twice is no habit, and cancels among successes are none.
    for (count, answered) in [(1, 0), (2, 0), (3, 1), (9, 2)] {
        let verdict = with(count, (2990, 3005), answered, None);
        assert_eq!(verdict.rule, "client.left.upgrade", "{count} {answered}");
    }
    assert_eq!(cancels(serde_json::Value::Null).rule, "client.left.upgrade");
}
