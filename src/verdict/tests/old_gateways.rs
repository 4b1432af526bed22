//! Gateways before 2026.8: their differences, and symptoms that must not be mistaken for them.

use serde_json::{Value, json};

use super::*;
use crate::session::record::{Class, Confidence};

const CLOSING: &str = "gateway.lifecycle.admission_closed";

fn header(name: &str, value: &str) -> Value {
    json!({ "name": name, "value": value, "length": value.len() })
}

/// The closing library's 503, with these headers.
fn closing(names: &[&str], edit: impl FnOnce(&mut Value)) -> SessionRecord {
    edited(CLOSING, |record| {
        record["gateway"]["body_kind"] = "library_closing".into();
        record["gateway"]["expects"] = "openclaw".into();
        let headers: Vec<Value> = names.iter().map(|name| header(name, "x")).collect();
        record["gateway"]["response_headers"] = headers.into();
        edit(record);
    })
}

const LIBRARY: [&str; 3] = ["connection", "content-type", "content-length"];

/// Sets the gateway's version, as reported to another session.
fn version(record: &mut Value, version: &str) {
    record["context"]["boots"] = json!([{
        "id": "boot-1", "version": version, "sessions": 1, "first_at": "2026-11-21T09:59:00Z",
        "last_at": "2026-11-21T09:59:30Z",
    }]);
}

#[test]
fn the_closing_library_is_known_by_its_exact_form_alone() {
    let verdict = decide(&closing(&LIBRARY, |_| ()));
    assert_eq!(verdict.rule, CLOSING);
    assert_eq!(verdict.confidence, Confidence::Likely);
    assert_eq!(verdict.class, Class::GatewayLifecycle);

    let others: [&[&str]; 5] = [
        &["content-type", "content-length", "connection"],
        &["connection", "content-type", "content-length", "date"],
        &["connection", "content-type", "content-length", "via"],
        &["connection", "content-type"],
        &[],
    ];
    for names in others {
        let verdict = decide(&closing(names, |_| ()));
        assert_eq!(verdict.rule, "hop.fault.bad_gateway", "{names:?}");
        assert_eq!(verdict.confidence, Confidence::Possible, "{names:?}");
    }
}

#[test]
fn a_gateway_that_has_words_of_its_own_did_not_use_the_librarys() {
    for (known, rule) in [
        ("2026.3.7", CLOSING),
        ("2026.7.35", CLOSING),
        ("dev", CLOSING),
        ("2026.8.2", "hop.fault.bad_gateway"),
        ("2026.9.6", "hop.fault.bad_gateway"),
    ] {
        let record = closing(&LIBRARY, |record| version(record, known));
        assert_eq!(rule_of(&record), rule, "{known}");
    }
}

#[test]
fn the_closing_librarys_status_and_server_count() {
    let other = closing(&LIBRARY, |record| {
        record["gateway"]["status"] = 500.into();
        record["answer"]["status"] = 500.into();
    });
    assert_ne!(rule_of(&other), CLOSING);
    let marked = closing(&LIBRARY, |record| {
        record["gateway"]["server"] = "nginx/1.27.0".into();
        let headers = record["gateway"]["response_headers"]
            .as_array_mut()
            .unwrap();
        headers.push(header("server", "nginx/1.27.0"));
    });
    let verdict = decide(&marked);
    assert_eq!(verdict.rule, "hop.fault.bad_gateway");
    assert_eq!(verdict.confidence, Confidence::Possible);
}

/// An announced shutdown does not make it a proxy's.
#[test]
fn the_closing_library_is_no_proxy_during_a_restart_either() {
    let record = closing(&LIBRARY, |record| {
        record["context"]["going_down"] = json!({
            "at": "2026-11-21T09:59:59.900Z", "announced": true,
            "restart_expected_ms": 1500, "stops": false,
        });
    });
    assert_eq!(rule_of(&record), CLOSING);
}

const NO_HELLO: &str = "gateway.silent.no_hello";
const UNANSWERED: &str = "gateway.lifecycle.unanswered_in_shutdown";

#[test]
fn a_handshake_that_a_shutdown_left_waiting_is_not_a_proxys_or_a_stuck_gateways() {
    let verdict = decide(&fixture(UNANSWERED));
    assert_eq!(verdict.class, Class::GatewayLifecycle);
    let alone = edited(UNANSWERED, |record| {
        record["context"]["going_down"] = Value::Null;
    });
    assert_eq!(rule_of(&alone), NO_HELLO);
    // Other lost sessions are not an announcement.
    let lost = edited(UNANSWERED, |record| {
        record["context"]["going_down"]["announced"] = false.into();
    });
    assert_eq!(rule_of(&lost), NO_HELLO);
    let without_challenge = edited("gateway.silent.no_challenge", |record| {
        record["context"] = serde_json::to_value(fixture(UNANSWERED)).unwrap()["context"].clone();
    });
    assert_eq!(rule_of(&without_challenge), UNANSWERED);
}

/// A change of the token restarts gateways before 2026.4.
#[test]
fn a_restart_for_a_changed_token_is_the_gateways_life() {
    for id in [
        "gateway.lifecycle.restart",
        "gateway.lifecycle.restart_or_stop",
    ] {
        let record = edited(id, |record| {
            record["dialect"]["client"]["version"] = "2026.3.7".into();
        });
        assert_eq!(decide(&record).class, Class::GatewayLifecycle, "{id}");
    }
}

const FIRST: &str = "gateway.limit.first_frame";
const SMALLER: &str = "gateway.limit.smaller_limit";

/// A first message of this size was closed with 1009 by a gateway of this version.
fn too_big(size: u64, known: Option<&str>) -> SessionRecord {
    edited(FIRST, |record| {
        record["frames"]["to_gateway"]["in_progress"] = Value::Null;
        record["frames"]["to_gateway"]["largest"] = json!({
            "size": size, "opcode": "text", "at": "2026-11-21T10:00:00.003Z",
        });
        if let Some(known) = known {
            version(record, known);
        }
    })
}

#[test]
fn the_limit_of_first_frames_is_that_of_the_version() {
    const KIB: u64 = 1024;
    for (size, known, rule, names) in [
        (80 * KIB, None, FIRST, None),
        (80 * KIB, Some("dev"), FIRST, None),
        (80 * KIB, Some("2026.4.29"), FIRST, Some("64.0 KiB")),
        (80 * KIB, Some("2026.9.6"), FIRST, Some("64.0 KiB")),
        // These versions take more, so the limit is not the gateway's.
        (80 * KIB, Some("2026.1.24"), SMALLER, None),
        (80 * KIB, Some("2026.3.7"), SMALLER, None),
        (600 * KIB, Some("2026.3.7"), SMALLER, None),
        (600 * KIB, Some("2026.1.24"), FIRST, Some("512.0 KiB")),
        (26 * KIB * KIB, Some("2026.3.7"), FIRST, Some("25.0 MiB")),
        // No version takes less.
        (60 * KIB, None, SMALLER, None),
    ] {
        let verdict = decide(&too_big(size, known));
        assert_eq!(verdict.rule, rule, "{size} {known:?}");
        if rule == FIRST {
            let has_fact = |words: &str| verdict.evidence.iter().any(|it| it.fact.contains(words));
            assert_eq!(
                has_fact("takes at most"),
                names.is_some(),
                "{size} {known:?}"
            );
            let right = names.is_none_or(has_fact);
            assert!(right, "{size} {known:?}: {:?}", verdict.evidence);
        }
    }
}

/// A token that was refused with this message, without a code; the client sent values under these
/// keys.
fn refused(message: &str, keys: &[&str]) -> SessionRecord {
    edited("gateway.auth.token_mismatch", |record| {
        record["dialect"]["error"]["details_code"] = Value::Null;
        record["dialect"]["error"]["details_reason"] = Value::Null;
        record["dialect"]["error"]["message"] = message.into();
        record["close"]["gateway"]["reason"] = message.into();
        let sent = keys.iter().map(|key| {
            json!({
                "place": format!("frame:connect.params.auth.{key}"), "length": 48,
                "fingerprint": "sha256:1a2b3c4d", "shape": [], "effective": true,
            })
        });
        record["auth"] = sent.collect::<Vec<_>>().into();
    })
}

#[test]
fn which_token_was_wrong_is_told_by_what_was_sent() {
    const WORDS: &str = "unauthorized: device token mismatch (rotate/reissue device token)";
    const SHARED: &str = "gateway.auth.token_mismatch";
    const DEVICE: &str = "gateway.auth.device_token_mismatch";
    for (keys, rule, confidence) in [
        (&["token"][..], SHARED, Confidence::Likely),
        (&["deviceToken"], DEVICE, Confidence::Certain),
        (&["token", "deviceToken"], DEVICE, Confidence::Certain),
        (&[], DEVICE, Confidence::Certain),
    ] {
        let verdict = decide(&refused(WORDS, keys));
        assert_eq!(
            (&*verdict.rule, verdict.confidence),
            (rule, confidence),
            "{keys:?}"
        );
    }
    // With a code, the gateway says which token it compared.
    let coded = edited(DEVICE, |record| {
        record["auth"][0]["place"] = "frame:connect.params.auth.token".into();
    });
    assert_eq!(rule_of(&coded), DEVICE);
}

const SECURE: &str = "control ui requires HTTPS or localhost (secure context)";

/// A refusal of an origin with the message of 2026.2 and 2026.3; `sent` is the request's Origin.
fn origin(sent: Value, normalised: Value) -> SessionRecord {
    edited("gateway.origin.not_allowed", |record| {
        record["dialect"]["error"]["details_code"] = Value::Null;
        record["dialect"]["error"]["details_reason"] = Value::Null;
        record["request"]["origin"] = sent.clone();
        record["origin"]["value"] = sent;
        record["origin"]["normalised"] = normalised;
    })
}

#[test]
fn nobody_is_told_to_add_an_origin_that_is_none() {
    let named = |record: &SessionRecord| decide(record).next.contains("allowedOrigins");
    let page = origin(json!("http://evil.example"), json!("http://evil.example"));
    assert_eq!(rule_of(&page), "gateway.origin.not_allowed");
    assert!(named(&page));
    for sent in [
        Value::Null,
        json!(""),
        json!("null"),
        json!("http://a.example/page"),
    ] {
        let record = origin(sent.clone(), Value::Null);
        assert_eq!(rule_of(&record), "gateway.origin.invalid", "{sent}");
        assert!(!named(&record), "{sent}: {}", decide(&record).next);
        // The same after hello-ok, and if the gateway gives a reason.
        for id in [
            "gateway.origin.changed",
            "gateway.origin.not_allowed",
            "gateway.origin.invalid",
        ] {
            let record = edited(id, |record| {
                record["request"]["origin"] = sent.clone();
                record["origin"]["value"] = sent.clone();
                record["origin"]["normalised"] = Value::Null;
            });
            assert!(!named(&record), "{id}, {sent}: {}", decide(&record).next);
        }
    }
}

/// Only 2026.1 and 2026.2 send this message: their pages need a secure context.
#[test]
fn the_old_words_show_that_the_page_is_old() {
    let with = |client: &str, words: &str| {
        decide(&edited("gateway.auth.control_ui_insecure", |record| {
            record["dialect"]["error"]["message"] = words.into();
            record["dialect"]["error"]["details_code"] = Value::Null;
            record["close"]["gateway"]["reason"] = words.into();
            record["dialect"]["client"]["version"] = client.into();
        }))
    };
    let insecure = "gateway.auth.control_ui_insecure";
    let verdict = with("dev", SECURE);
    assert_eq!(
        (&*verdict.rule, verdict.confidence),
        (insecure, Confidence::Likely)
    );
    let later = with(
        "dev",
        "control ui requires device identity (use HTTPS or localhost)",
    );
    assert_eq!(
        (&*later.rule, later.confidence),
        (insecure, Confidence::Possible)
    );
    let newer = with("2026.9.6", SECURE);
    assert_eq!(newer.rule, "gateway.auth.control_ui_no_device");
}
