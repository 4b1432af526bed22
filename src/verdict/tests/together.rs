//! Evidence from other sessions, and the facts that it must not override.

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
                    "known_s": null, "compared": 5, "one_in": 1_000_000_000,
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
                    "known_s": null, "compared": 4, "one_in": 1_000_000,
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
fn a_crash_needs_more_than_the_rate_of_before_and_no_survivor() {
    let with = |context: serde_json::Value| {
        rule_of(&edited("gateway.left.open", |record| {
            record["context"] = context;
        }))
    };
    let crash = "gateway.lifecycle.crash";
    assert_eq!(with(json!({ "lost_together": 2 })), crash);
    assert_eq!(with(json!({ "lost_together": 1 })), "gateway.left.open");
    let rate = |one_in: u64| {
        with(json!({ "lost_together": 9, "lost_beside": 400, "lost_together_one_in": one_in }))
    };
    assert_eq!(rate(100_000), crash);
    assert_eq!(rate(900), "gateway.left.open");
    let still_open = json!({ "lost_together": 9, "survivors": 1 });
    assert_eq!(with(still_open), "gateway.left.open");
    let heard = json!({ "lost_together": 9, "process_heard_at": "2026-11-21T10:00:05.5Z" });
    assert_eq!(with(heard), "gateway.left.open");
    // Processes that end one after the other do not leave sessions either.
    let one_after_the_other = json!({ "processes_lost": 3, "survivors": 2 });
    assert_eq!(with(one_after_the_other), "gateway.left.open");
}

#[test]
fn a_cadence_needs_its_odds_or_waves() {
    let with = |leg: &str, edit: serde_json::Value| {
        let id = match leg {
            "client" => "client.left.reset",
            _ => "gateway.left.open",
        };
        decide(&edited(id, |record| {
            let mut cadence = json!({
                "measure": "silence", "leg": leg, "period_ms": 60_000, "cases": 6, "known_s": 60,
                "compared": 9, "one_in": 2_000_000, "clients": 4,
            });
            for (key, value) in edit.as_object().unwrap() {
                cadence[key] = value.clone();
            }
            record["context"] = json!({ "cadence": cadence });
        }))
    };
    let cadence = "hop.fault.idle_cadence";
    assert_eq!(with("gateway", json!({})).rule, cadence);
    assert_eq!(with("client", json!({})).rule, cadence);
    assert_eq!(
        with("gateway", json!({ "one_in": 900_000 })).rule,
        "gateway.left.open"
    );
    assert_eq!(
        with("gateway", json!({ "one_in": null })).rule,
        "gateway.left.open"
    );
    // Waves are reported earlier, but only as possible.
    let waves = |one_in: serde_json::Value| {
        with(
            "gateway",
            json!({ "one_in": one_in, "cases": 2, "waves": 2 }),
        )
    };
    let two = waves(json!(400));
    assert_eq!(
        (&*two.rule, two.confidence),
        (cadence, Confidence::Possible)
    );
    assert!(
        two.evidence
            .iter()
            .any(|it| it.fact.contains("less than one of 400 cases"))
    );
    assert_eq!(waves(json!(2_000_000)).confidence, Confidence::Likely);
    for chance in [json!(null), json!(60)] {
        assert_eq!(waves(chance).rule, "gateway.left.open");
    }
    // The evidence says how unlikely chance is.
    let verdict = with("gateway", json!({}));
    let says = |words: &str| verdict.evidence.iter().any(|it| it.fact.contains(words));
    assert!(
        says("6 of 9 sessions that ended on this leg"),
        "{verdict:#?}"
    );
    assert!(says("less than one of 2000000 cases"), "{verdict:#?}");
    // A single client's own timer looks the same.
    let alone = with("client", json!({ "clients": 1 }));
    assert_eq!(alone.confidence, Confidence::Possible);
    assert!(
        alone
            .next
            .starts_with("if these clients do not end by themselves")
    );
}

/// Five pollers with a lifetime of 60 s look like a proxy's timer.
#[test]
fn a_cadence_of_clients_is_likely_only_where_a_proxy_is_in_front() {
    let with = |clients: u32, headers: &[&str], via: serde_json::Value| {
        let verdict = decide(&edited("client.left.reset", |record| {
            record["context"] = json!({ "cadence": {
                "measure": "age", "leg": "client", "period_ms": 60_000, "cases": 6, "known_s": 60,
                "compared": 9, "one_in": 2_000_000, "clients": clients,
            } });
            record["client"]["via"] = via;
            let sent = record["request"]["headers"].as_array_mut().unwrap();
            let header = |name| json!({ "name": name, "value": null, "length": 11 });
            sent.extend(headers.iter().map(header));
        }));
        assert_eq!(verdict.rule, "hop.fault.idle_cadence");
        verdict.confidence
    };
    let none = json!(null);
    assert_eq!(with(5, &[], none.clone()), Confidence::Possible);
    assert_eq!(
        with(5, &["x-request-id"], none.clone()),
        Confidence::Possible
    );
    for mark in ["X-Forwarded-For", "via", "cf-ray"] {
        assert_eq!(with(5, &[mark], none.clone()), Confidence::Likely, "{mark}");
        assert_eq!(
            with(1, &[mark], none.clone()),
            Confidence::Possible,
            "{mark}"
        );
    }
    let via =
        json!({ "peer": "192.0.2.1:443", "kind": "proxy_protocol", "chain": [], "resolved": true });
    assert_eq!(with(5, &[], via), Confidence::Likely);
}

#[test]
fn clients_that_leave_at_the_usual_rate_share_nothing() {
    let next = |context: serde_json::Value| {
        decide(&edited("client.left.open", |record| {
            record["context"] = context;
        }))
        .next
    };
    assert!(next(json!({ "lost_together": 5 })).contains("share"));
    let usual = json!({ "lost_together": 5, "lost_beside": 90, "lost_together_one_in": 12 });
    assert!(!next(usual).contains("share"));
    // More clients stayed than left.
    assert!(!next(json!({ "lost_together": 5, "survivors": 16 })).contains("share"));
}

/// Symptoms of a gateway that is down, after an announcement or without one.
#[test]
fn an_announced_restart_explains_whatever_the_next_caller_meets() {
    let after = |error: &str, down: serde_json::Value| {
        rule_of(&edited("gateway.silent.reset", |record| {
            record["gateway"]["error"]["kind"] = error.into();
            record["context"] = json!({ "going_down": down });
        }))
    };
    let said = |stops: bool| {
        json!({
            "at": "2026-11-21T09:59:57Z", "announced": true, "stops": stops,
            "restart_expected_ms": null,
        })
    };
    let restarting = "gateway.lifecycle.restarting";
    for error in [
        "refused",
        "socket_missing",
        "reset_before_status",
        "closed_before_status",
        "tls_cut",
        "body_incomplete",
        "unreachable",
        "dns",
        "connect_timeout",
        "upgrade_timeout",
        "unacknowledged",
        "unread",
    ] {
        assert_eq!(after(error, said(false)), restarting, "{error}");
        let unannounced = after(error, serde_json::Value::Null);
        assert_ne!(unannounced, restarting, "{error}");
    }
    // A symptom with another cause keeps that cause.
    for error in [
        "certificate_expired",
        "socket_denied",
        "not_http",
        "wants_tls",
    ] {
        assert_ne!(after(error, said(false)), restarting, "{error}");
    }
    for error in ["reset_before_status", "closed_before_status", "tls_cut"] {
        assert_eq!(
            after(error, said(true)),
            "gateway.lifecycle.stopping",
            "{error}"
        );
    }
    assert_eq!(after("refused", said(true)), "gateway.unreachable.refused");
    // Without an announcement, several sessions must have been lost at once.
    let lost = |lost: u32| {
        json!({
            "at": "2026-11-21T09:59:57Z", "announced": false, "lost": lost,
            "restart_expected_ms": null,
        })
    };
    assert_eq!(after("reset_before_status", lost(3)), restarting);
    assert_eq!(
        after("reset_before_status", lost(1)),
        "gateway.silent.reset"
    );
    assert_eq!(after("refused", lost(1)), restarting);
}

#[test]
fn a_wait_that_had_begun_before_the_announcement_has_another_reason() {
    let at = |time: &str| {
        rule_of(&edited("gateway.silent.upgrade", |record| {
            record["context"] = json!({ "going_down": {
                "at": time, "announced": true, "restart_expected_ms": 1500,
            } });
        }))
    };
    let opened = fixture("gateway.silent.upgrade").opened_at;
    let before = crate::session::moment::Moment(opened.0 - jiff::SignedDuration::from_secs(2));
    let after = crate::session::moment::Moment(opened.0 + jiff::SignedDuration::from_secs(2));
    assert_eq!(at(&before.to_string()), "gateway.lifecycle.restarting");
    assert_eq!(at(&after.to_string()), "gateway.silent.upgrade");
}

#[test]
fn what_a_proxy_answers_while_the_gateway_restarts_is_no_fault_of_its() {
    let after = |id: &str, stops: bool| {
        rule_of(&edited(id, |record| {
            record["context"] = json!({ "going_down": {
                "at": "2026-11-21T09:59:57Z", "announced": true, "stops": stops,
                "restart_expected_ms": null,
            } });
        }))
    };
    for id in ["hop.fault.bad_gateway", "hop.fault.http_answer"] {
        assert_eq!(rule_of(&fixture(id)), id);
        assert_eq!(after(id, false), "gateway.lifecycle.restarting");
        assert_eq!(after(id, true), "gateway.lifecycle.stopping");
    }
    // The gateway's own answer says more, and other answers are about something else.
    for id in [
        "gateway.lifecycle.admission_closed",
        "gateway.lifecycle.handlers_unavailable",
        "hop.fault.redirect",
        "gateway.auth.token_mismatch",
    ] {
        if folder().join(format!("{id}.json")).exists() {
            assert_eq!(after(id, false), id);
        }
    }
}

/// How a refusal's body ended says less than the refusal.
#[test]
fn a_refusal_whose_body_is_cut_while_the_gateway_restarts_stays_a_refusal() {
    let cut = |id: &str, status: u16| {
        rule_of(&edited(id, |record| {
            record["gateway"]["status"] = status.into();
            record["answer"]["status"] = status.into();
            record["answer"]["complete"] = false.into();
            record["gateway"]["error"] = json!({ "kind": "body_incomplete", "detail": "cut" });
            record["context"] = json!({ "going_down": {
                "at": "2026-11-21T09:59:57Z", "announced": true, "restart_expected_ms": 1500,
            } });
        }))
    };
    for status in [403, 404] {
        assert_eq!(
            cut("gateway.refused.other", status),
            "gateway.refused.other"
        );
        assert_eq!(cut("http.error.client", status), "http.error.client");
    }
    assert_eq!(cut("gateway.refused.other", 431), "gateway.limit.head");
    // An invalid answer, and a proxy's answer in the gateway's place.
    let restarting = "gateway.lifecycle.restarting";
    assert_eq!(cut("ok.http", 200), restarting);
    for status in [502, 503, 504] {
        assert_eq!(cut("hop.fault.bad_gateway", status), restarting);
    }
}

/// `OpenClaw` sends 503 itself: to `/readyz` while it starts or drains, and without a body where the
/// handler of an upgrade failed.
#[test]
fn a_503_of_the_gateway_itself_is_no_proxys() {
    let after = |id: &str, status: u16, body: &str, server: Option<&str>| {
        rule_of(&edited(id, |record| {
            record["gateway"]["status"] = status.into();
            record["answer"]["status"] = status.into();
            record["gateway"]["body_kind"] = body.into();
            record["gateway"]["server"] = server.into();
            record["context"] = json!({ "going_down": {
                "at": "2026-11-21T09:59:57Z", "announced": true, "restart_expected_ms": 1500,
            } });
        }))
    };
    let restarting = "gateway.lifecycle.restarting";
    for (id, body) in [
        ("http.error.server", "json"),
        ("http.error.server", "empty"),
        ("gateway.refused.other", "empty"),
    ] {
        assert_eq!(after(id, 503, body, None), id, "{body}");
        // It never sends 502, and a mark or a page names another server.
        for (status, body, server) in [
            (502, body, None),
            (503, body, Some("nginx/1.22.1")),
            (503, "html", None),
        ] {
            assert_eq!(after(id, status, body, server), restarting, "{id} {status}");
        }
    }
    // All of its answers to an upgrade are known.
    assert_eq!(
        after("gateway.refused.other", 503, "text", None),
        restarting
    );
    assert_eq!(
        after(
            "gateway.refused.other",
            503,
            "handlers_unavailable",
            Some("nginx")
        ),
        "gateway.lifecycle.handlers_unavailable"
    );
}

/// A container that is stopped hard acknowledges nothing of what goes out on a kept connection.
#[test]
fn what_nobody_acknowledges_after_an_announcement_is_the_restart() {
    let at = |time: &str, announced: bool| {
        rule_of(&edited("network.cut.request", |record| {
            record["context"] = json!({ "going_down": {
                "at": time, "announced": announced, "lost": 3, "restart_expected_ms": null,
            } });
        }))
    };
    let before = "2026-11-21T09:59:57Z";
    assert_eq!(at(before, true), "gateway.lifecycle.restarting");
    // The wait had begun before that, or there was no announcement.
    assert_eq!(at("2026-11-21T10:00:02Z", true), "network.cut.request");
    assert_eq!(at(before, false), "network.cut.request");
}

#[test]
fn a_session_that_the_new_process_let_in_was_not_lost_in_the_restart() {
    let with = |id: &str, at: &str| {
        rule_of(&edited(id, |record| {
            record["context"] = json!({ "going_down": {
                "at": at, "announced": true, "restart_expected_ms": 1500,
            } });
        }))
    };
    let (before, after) = ("2026-11-21T09:59:57Z", "2026-11-21T10:00:01Z");
    let lost = "gateway.lifecycle.lost_in_restart";
    // The dying process accepted the upgrade and sent nothing.
    assert_eq!(with("gateway.left.before_hello", before), lost);
    // It was accepted after the announcement.
    assert_eq!(with("gateway.left.open", before), "gateway.left.open");
    // It was open when the announcement reached others.
    assert_eq!(with("gateway.left.open", after), lost);
    // The client left by itself.
    assert_eq!(with("client.left.open", before), "client.left.open");
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
    // The others are answered sooner: the gateway is not slow.
    let odd = with(4, (900, 4000), 0, Some((5, 40)));
    assert_eq!((&*odd.rule, odd.confidence), (AGAIN, Confidence::Possible));
    assert!(!says(&odd, "equally long"));
    let nobody = with(5, (1000, 1020), 0, None);
    assert!(
        nobody.next.starts_with("nobody was answered"),
        "{}",
        nobody.next
    );
    // It runs, but answers no upgrade.
    let hangs = decide(&edited(AGAIN, |record| {
        let context = &mut record["context"];
        context["survivors"] = json!(2);
        context["cancels"]["others"] = json!(0);
        context["cancels"]["others_ms"] = json!(null);
    }));
    assert_eq!(
        (&*hangs.rule, hangs.confidence),
        (AGAIN, Confidence::Possible)
    );
    assert!(!hangs.next.contains("check that"), "{}", hangs.next);
    // Two cancels are too few, and cancels among successes do not count.
    for (count, answered) in [(1, 0), (2, 0), (3, 1), (9, 2)] {
        let verdict = with(count, (2990, 3005), answered, None);
        assert_eq!(verdict.rule, "client.left.upgrade", "{count} {answered}");
    }
    assert_eq!(cancels(serde_json::Value::Null).rule, "client.left.upgrade");
}
