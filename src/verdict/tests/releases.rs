//! Client and gateway of different releases: who is older, who has to act, and which names a next
//! action uses.

use serde_json::{Value, json};

use super::*;
use crate::session::record::Confidence;
use crate::session::record::dialect::DialectFacts;
use crate::session::record::verdict::ActOn;
use crate::verdict::openclaw::names::Names;

/// A refused session of a client of this version, at a gateway that told another session its release.
fn refused(id: &str, message: &str, client: &str, gateway: Option<&str>) -> SessionRecord {
    edited(id, |record| {
        let dialect = &mut record["dialect"];
        dialect["client"]["version"] = client.into();
        dialect["error"]["message"] = message.into();
        record["close"]["gateway"]["reason"] = message.into();
        record["context"] = gateway.map_or(Value::Null, |version| {
            json!({ "release": {
                "version": version, "protocol": 4, "max_payload": 26_214_400, "has_boot_id": false,
                "at": "2026-11-21T09:00:00.000000Z",
            } })
        });
    })
}

fn says(verdict: &Verdict, text: &str) -> bool {
    verdict.evidence.iter().any(|it| it.fact.contains(text))
}

const PARAMS: &str = "gateway.protocol.invalid_params";
const NEWER: &str = "invalid connect params: at /client: unexpected property 'flavour'";
const OLDER: &str = "invalid connect params: at /device: must have required property 'nonce'";

#[test]
fn an_error_of_the_schema_tells_who_is_older() {
    let newer = decide(&refused(PARAMS, NEWER, "dev", None));
    assert_eq!(
        (newer.rule.as_str(), newer.act_on),
        (PARAMS, ActOn::Gateway)
    );
    assert_eq!(newer.confidence, Confidence::Possible);
    assert!(newer.next.contains("update the gateway"), "{}", newer.next);
    let older = decide(&refused(PARAMS, OLDER, "dev", None));
    assert_eq!((older.rule.as_str(), older.act_on), (PARAMS, ActOn::Client));
    assert!(older.next.contains("update the client"), "{}", older.next);
    // Neither is shown to be older.
    let other = "invalid connect params: at /device/nonce: must not have fewer than 1 characters";
    let neither = decide(&refused(PARAMS, other, "dev", None));
    assert_eq!(neither.act_on, ActOn::Client);
    assert_eq!(neither.confidence, Confidence::Certain);
    assert!(neither.next.contains("/device/nonce"), "{}", neither.next);
}

#[test]
fn versions_outvote_the_schema_and_both_are_shown() {
    let verdict = decide(&refused(PARAMS, NEWER, "2026.3.7", Some("2026.9.6")));
    assert_eq!(verdict.act_on, ActOn::Client);
    assert!(says(&verdict, "version \"2026.3.7\"") && says(&verdict, "version \"2026.9.6\""));
    assert!(verdict.next.contains("(2026.3.7)") && verdict.next.contains("(2026.9.6)"));
    let reverse = decide(&refused(PARAMS, OLDER, "2026.9.6", Some("2026.3.7")));
    assert_eq!(reverse.act_on, ActOn::Gateway);
}

#[test]
fn one_release_on_both_sides_is_no_skew() {
    let verdict = decide(&refused(PARAMS, NEWER, "2026.9.6", Some("2026.9.6")));
    assert_eq!(
        (verdict.rule.as_str(), verdict.act_on),
        (PARAMS, ActOn::Client)
    );
    assert!(!verdict.summary.contains("older"), "{}", verdict.summary);
    assert!(!verdict.next.contains("pin"), "{}", verdict.next);
    assert!(verdict.next.contains("/client"), "{}", verdict.next);
}

#[test]
fn a_program_with_versions_of_its_own_is_no_newer_client() {
    let verdict = decide(&refused(PARAMS, NEWER, "1.4.0", Some("2026.9.6")));
    assert_eq!(
        (verdict.rule.as_str(), verdict.act_on),
        (PARAMS, ActOn::Client)
    );
    assert!(!verdict.summary.contains("older"), "{}", verdict.summary);
    assert!(verdict.next.contains("/client"), "{}", verdict.next);
}

#[test]
fn a_device_token_that_the_schema_does_not_know_is_a_skew() {
    let message = "invalid connect params: at /auth: unexpected property 'deviceToken'";
    let verdict = decide(&refused(PARAMS, message, "2026.5.7", Some("dev")));
    assert_eq!(
        (verdict.rule.as_str(), verdict.act_on),
        (PARAMS, ActOn::Gateway)
    );
    assert!(
        verdict.summary.contains("device tokens"),
        "{}",
        verdict.summary
    );
    assert!(says(&verdict, "version \"dev\""));
}

#[test]
fn the_expected_protocol_tells_who_is_older() {
    let of = |min: u64, max: u64, expected: Option<u64>, client: &str| {
        decide(&edited("gateway.protocol.version", |record| {
            let dialect = &mut record["dialect"];
            dialect["protocol"] = json!({ "min": min, "max": max });
            dialect["error"]["expected_protocol"] = expected.into();
            dialect["client"] = json!({ "id": client, "mode": "cli", "version": "dev" });
            record["context"] = Value::Null;
        }))
    };
    let old = of(3, 3, Some(4), "cli");
    assert_eq!(
        (old.act_on, old.confidence),
        (ActOn::Client, Confidence::Certain)
    );
    assert!(says(&old, "expects protocol 4"));
    let new = of(4, 4, Some(3), "cli");
    assert_eq!(
        (new.act_on, new.confidence),
        (ActOn::Gateway, Confidence::Certain)
    );
    // The gateway's own number within the range, or none: nothing is known.
    for unknown in [of(3, 4, Some(4), "cli"), of(3, 3, None, "cli")] {
        assert_eq!(unknown.act_on, ActOn::Client);
        assert!(unknown.next.contains("compare"), "{}", unknown.next);
        assert!(!unknown.summary.contains("older"), "{}", unknown.summary);
    }
    for page in ["openclaw-control-ui", "clawdbot-control-ui"] {
        let page = of(3, 3, Some(4), page);
        assert_eq!(page.act_on, ActOn::Client);
        assert!(page.next.starts_with("reload"), "{}", page.next);
    }
}

#[test]
fn a_signature_of_the_third_form_is_a_skew_and_a_bad_one_is_none() {
    const SKEW: &str = "gateway.protocol.device_signature";
    const BAD: &str = "gateway.auth.device_signature";
    let words = "device signature invalid";
    let of = |client: &str, gateway: Option<&str>| refused(SKEW, words, client, gateway);
    for (client, gateway, rule) in [
        ("2026.5.7", None, SKEW),
        ("2026.5.7", Some("dev"), SKEW),
        ("dev", None, SKEW),
        ("2026.2.17", None, BAD),
        ("2026.1.24-3", Some("dev"), BAD),
        ("2026.5.7", Some("2026.3.7"), BAD),
    ] {
        assert_eq!(rule_of(&of(client, gateway)), rule, "{client} {gateway:?}");
    }
    assert_eq!(decide(&of("2026.5.7", None)).confidence, Confidence::Likely);
    assert_eq!(decide(&of("dev", None)).confidence, Confidence::Possible);
    let with_code = edited(SKEW, |record| {
        record["dialect"]["error"]["details_code"] = "DEVICE_AUTH_SIGNATURE_INVALID".into();
    });
    assert_eq!(rule_of(&with_code), BAD);
}

/// An open session whose only request failed in this way, at a gateway of this version.
fn failed(gateway: &str, client: &str, failure: &Value, dialect: &Value) -> SessionRecord {
    edited("channel.invalid_requests", |record| {
        let facts = record["dialect"].as_object_mut().unwrap();
        facts["server"] = json!({ "version": gateway });
        facts["client"] = json!({ "id": "cli", "mode": "cli", "version": client });
        for (key, value) in dialect.as_object().unwrap() {
            facts.insert(key.clone(), value.clone());
        }
        let one = &mut facts["rpc"]["failures"][0];
        for (key, value) in failure.as_object().unwrap() {
            one[key] = value.clone();
        }
    })
}

fn scope(scope: &str) -> Value {
    json!({
        "code": "INVALID_REQUEST", "message": format!("missing scope: {scope}"),
        "missing_scope": scope,
    })
}

#[test]
fn a_missing_scope_without_a_code_is_one() {
    let device =
        json!({ "device": { "present": true, "id": "d1" }, "scopes_granted": ["operator.read"] });
    let verdict = decide(&failed(
        "2026.7.35",
        "2026.7.35",
        &scope("operator.write"),
        &device,
    ));
    assert_eq!(verdict.rule, "channel.missing_scope");
    assert!(verdict.next.contains("operator.write"), "{}", verdict.next);
    // Any other INVALID_REQUEST is not a skew.
    let other = json!({ "message": "invalid agent.run params: at root: unexpected property 'x'" });
    let verdict = decide(&failed("2026.7.35", "2026.7.35", &other, &device));
    assert_eq!(verdict.rule, "channel.invalid_requests");
    assert!(
        says(&verdict, "unexpected property"),
        "the message is evidence"
    );
}

#[test]
fn a_method_that_an_older_gateway_does_not_know_is_a_skew() {
    let device =
        json!({ "device": { "present": true, "id": "d1" }, "scopes_granted": ["operator.read"] });
    let skewed = decide(&failed(
        "2026.5.7",
        "2026.9.6",
        &scope("operator.admin"),
        &device,
    ));
    assert_eq!(skewed.rule, "channel.missing_scope");
    assert_eq!(
        (skewed.act_on, skewed.confidence),
        (ActOn::Gateway, Confidence::Likely)
    );
    let same = decide(&failed(
        "2026.9.6",
        "2026.9.6",
        &scope("operator.admin"),
        &device,
    ));
    assert_eq!(same.rule, "channel.missing_scope");
    assert_eq!(
        (same.act_on, same.confidence),
        (ActOn::Client, Confidence::Certain)
    );
    let unknown = json!({ "code": "INVALID_REQUEST", "message": "unknown method: agent.run" });
    let verdict = decide(&failed("dev", "2026.9.6", &unknown, &device));
    assert_eq!(verdict.rule, "channel.invalid_requests");
    assert_eq!(verdict.act_on, ActOn::Gateway);
    let verdict = decide(&failed("2026.9.6", "2026.9.6", &unknown, &device));
    assert_eq!(verdict.act_on, ActOn::Client);
    assert!(
        verdict.next.contains("mend the request"),
        "{}",
        verdict.next
    );
    // A newer client would not send a request with a missing property: somebody wrote it by hand.
    let lacking = "invalid agent.run params: at root: must have required property 'x'";
    let verdict = decide(&failed(
        "2026.5.7",
        "2026.9.6",
        &json!({ "message": lacking }),
        &device,
    ));
    assert_eq!(verdict.rule, "channel.invalid_requests");
    assert_eq!(verdict.act_on, ActOn::Client);
    assert!(!verdict.summary.contains("older"), "{}", verdict.summary);
    assert!(verdict.next.contains("compare"), "{}", verdict.next);
}

#[test]
fn locality_explains_missing_scopes_only_where_local_clients_have_some() {
    let none = json!({
        "device": { "present": false, "id": null }, "scopes_asked": ["operator.pairing"],
        "scopes_granted": [],
    });
    let of = |gateway: &str| {
        decide(&failed(
            gateway,
            "2026.9.6",
            &scope("operator.pairing"),
            &none,
        ))
    };
    assert_eq!(of("2026.9.6").rule, "channel.locality_lost");
    assert_eq!(of("2026.7.35").rule, "channel.locality_lost");
    let older = of("2026.6.11");
    assert_eq!(
        (older.rule.as_str(), older.act_on),
        ("channel.missing_scope", ActOn::Gateway)
    );
    assert!(says(&older, "wherever it is"));
}

#[test]
fn an_origin_that_is_missing_is_no_entry_for_the_list() {
    let of = |origin: Value, reason: Value| {
        rule_of(&edited("gateway.origin.not_allowed", |record| {
            record["request"]["origin"] = origin;
            record["origin"] = Value::Null;
            record["dialect"]["error"]["details_code"] = Value::Null;
            record["dialect"]["error"]["details_reason"] = reason;
        }))
    };
    assert_eq!(of(Value::Null, Value::Null), "gateway.origin.invalid");
    assert_eq!(of("null".into(), Value::Null), "gateway.origin.invalid");
    assert_eq!(
        of("https://a.example".into(), Value::Null),
        "gateway.origin.not_allowed"
    );
    assert_eq!(
        of("null".into(), "origin not allowed".into()),
        "gateway.origin.not_allowed"
    );
}

/// Every next action that names a command, a variable or a file has the predecessor's names for it.
#[test]
fn a_gateway_of_the_predecessor_gets_its_own_names() {
    let names_it = |text: &str| {
        ["`openclaw", "OPENCLAW_", "~/.openclaw", "openclaw.json"]
            .iter()
            .any(|name| text.replace("__OPENCLAW_REDACTED__", "").contains(name))
    };
    let mut count = 0;
    for rule in rules() {
        let fixture = fixture(rule.id);
        let next = decide(&fixture).next;
        for text in [rule.action.to_owned(), next] {
            count += usize::from(names_it(&text));
            let before = Names::Clawdbot.apply(text.clone());
            assert!(!names_it(&before), "{}: {before}", rule.id);
            assert_eq!(Names::OpenClaw.apply(text.clone()), text);
        }
        // End to end: a gateway that reported its release to another session.
        let of = |version: &str, max_payload: u64| {
            let mut record = fixture.clone();
            if let Some(DialectFacts::OpenClaw(facts)) = &mut record.dialect {
                facts.server = None;
                facts.max_payload = None;
            }
            let context = record.context.get_or_insert_default();
            context.boots.clear();
            context.release = serde_json::from_value(json!({
                "version": version, "protocol": 3, "max_payload": max_payload,
            }))
            .unwrap();
            decide(&record).next
        };
        for predecessor in [of("2026.1.24-3", 524_288), of("dev", 524_288)] {
            assert!(!names_it(&predecessor), "{}: {predecessor}", rule.id);
        }
        for later in [of("2026.2.17", 26_214_400), of("dev", 26_214_400)] {
            assert!(!later.contains("clawdbot"), "{}: {later}", rule.id);
        }
    }
    assert!(count > 30, "{count} texts name something");
}

#[test]
fn the_predecessors_names() {
    for (text, before) in [
        ("run `openclaw devices list`", "run `clawdbot devices list`"),
        ("set OPENCLAW_GATEWAY_TOKEN", "set CLAWDBOT_GATEWAY_TOKEN"),
        (
            "in ~/.openclaw/openclaw.json",
            "in ~/.clawdbot/clawdbot.json",
        ),
        ("in openclaw.json", "in clawdbot.json"),
        ("`__OPENCLAW_REDACTED__`", "`__OPENCLAW_REDACTED__`"),
        (
            "the token (--token, or OPENCLAW_GATEWAY_TOKEN)",
            "the token (in CLAWDBOT_GATEWAY_TOKEN: its command line drops a --token behind `clawdbot gateway call`)",
        ),
        (
            "set gateway.dialect: openclaw",
            "set gateway.dialect: openclaw",
        ),
    ] {
        assert_eq!(Names::Clawdbot.apply(text.to_owned()), before);
    }
}

/// A lost session at a gateway without boot ids, whose process began at ten by its uptime; then a session at
/// one that began at this time.
fn lost_without_boot_id(next_began: Option<&str>) -> Verdict {
    decide(&edited("gateway.left.open", |record| {
        let answered = "2026-11-21T11:00:00.000000Z";
        record["opened_at"] = answered.into();
        record["closed_at"] = "2026-11-21T11:30:00.000000Z".into();
        record["close"]["transport"]["gateway_at"] = "2026-11-21T11:30:00.000000Z".into();
        record["close"]["transport"]["client_at"] = "2026-11-21T11:30:00.100000Z".into();
        record["dialect"]["answered_at"] = answered.into();
        record["dialect"]["conn_id"] = "c0ffee".into();
        record["dialect"]["server"] =
            json!({ "version": "2026.5.7", "uptime_ms": next_began.map(|_| 3_600_000) });
        record["context"] = json!({ "boots": next_began.map_or_else(Vec::new, |began| vec![json!({
            "id": "", "began_at": began, "version": "2026.5.7", "sessions": 1,
            "first_at": "2026-11-21T11:31:00.000000Z", "last_at": "2026-11-21T11:32:00.000000Z",
        })]) });
    }))
}

#[test]
fn a_fresh_process_shows_by_its_uptime_where_there_are_no_boot_ids() {
    let fresh = lost_without_boot_id(Some("2026-11-21T11:30:20.000000Z"));
    assert_eq!(fresh.rule, "gateway.lifecycle.crash");
    assert!(says(&fresh, "by its uptime"), "{fresh:?}");
    // The same one, read a second later; and one that seems to have begun later because its host slept.
    for not_fresh in ["2026-11-21T10:00:01.000000Z", "2026-11-21T10:20:00.000000Z"] {
        let verdict = lost_without_boot_id(Some(not_fresh));
        assert_eq!(verdict.rule, "gateway.left.open", "{not_fresh}");
        assert!(says(&verdict, "no boot ids"), "{verdict:?}");
    }
}

#[test]
fn what_needs_boot_ids_says_that_there_are_none() {
    let verdict = lost_without_boot_id(None);
    assert_eq!(verdict.rule, "gateway.left.open");
    assert!(says(&verdict, "reported no uptime") && says(&verdict, "conn=c0ffee"));
    let with = decide(&fixture("gateway.left.open"));
    assert!(!says(&with, "no boot ids"), "{with:?}");
}

/// An attached tap judges like any other; only the names of its settings differ.
#[test]
fn an_attached_tap_gives_the_same_verdicts_in_the_words_of_its_flags() {
    let mut reworded = 0;
    for rule in rules() {
        let inline = decide(&fixture(rule.id));
        let attached = decide(&edited(rule.id, |record| {
            record["tap"]["mode"] = "attached".into();
        }));
        assert_eq!(inline.rule, attached.rule);
        assert_eq!(inline.evidence, attached.evidence, "{}", rule.id);
        assert!(!attached.next.contains("gateway.url"), "{}", attached.next);
        if inline.next.contains("gateway.url") {
            let own = ["--port", "attach again", "has begun to speak TLS"];
            let has_own = own.iter().any(|words| attached.next.contains(words));
            assert!(has_own, "{}", attached.next);
            reworded += 1;
        } else {
            let next = inline
                .next
                .replace("gateway.dialect: plain", "`wstap attach --dialect plain`")
                .replace(
                    "connect again once the tap is back",
                    "connect again: new connections go straight to the gateway",
                );
            assert_eq!(next, attached.next);
        }
    }
    assert!(reworded > 5, "{reworded} name gateway.url");
}
