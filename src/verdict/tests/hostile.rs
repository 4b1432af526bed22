//! Peers' texts must neither fool a rule nor reach a terminal or a command line unescaped.

use serde_json::{Value, json};

use super::*;
use crate::session::record::Class;

#[test]
fn what_a_client_says_never_makes_an_authentication_verdict() {
    let reasons = [
        "unauthorized",
        "unauthorized: gateway token mismatch",
        "pairing required: device is not approved yet",
        "origin not allowed",
        "protocol mismatch",
        "device token mismatch",
        "slow consumer",
        "gateway starting",
    ];
    for base in ["client.closed.code", "client.left.cancelled"] {
        for reason in reasons {
            for code in [1008, 4001, 3000, 4008, 1000] {
                let record = edited(base, |record| {
                    record["close"]["client"]["code"] = code.into();
                    record["close"]["client"]["reason"] = reason.into();
                });
                let verdict = decide(&record);
                assert!(
                    matches!(
                        verdict.class,
                        Class::ClientClosed | Class::ClientLeft | Class::Ok
                    ),
                    "{base} {code} {reason}: {}",
                    verdict.rule
                );
            }
        }
    }
}

#[test]
fn the_approve_command_carries_only_a_plain_id() {
    let verdict = decide(&fixture("gateway.pairing.not_paired"));
    assert!(
        verdict
            .next
            .contains("openclaw devices approve 7d0c2a1e-3f4b-4a6d-9a51-0d3b1d2ac3bd"),
        "{}",
        verdict.next
    );
    for hostile in [
        "$(reboot)",
        "a;reboot",
        "-rf",
        "`reboot`",
        "a b",
        "",
        "a\nreboot",
        "a'b",
    ] {
        let record = edited("gateway.pairing.not_paired", |record| {
            record["dialect"]["error"]["request_id"] = hostile.into();
        });
        let next = decide(&record).next;
        assert!(
            next.contains("openclaw devices list"),
            "{hostile:?}: {next}"
        );
    }
}

#[test]
fn the_origin_line_is_exact_and_only_for_plain_origins() {
    let verdict = decide(&fixture("gateway.origin.not_allowed"));
    assert!(
        verdict
            .next
            .contains("\"allowedOrigins\": [\"https://claw.example.com\"]"),
        "{}",
        verdict.next
    );
    let record = edited("gateway.origin.not_allowed", |record| {
        record["origin"]["normalised"] = "https://x\"],\"evil\":[\"".into();
    });
    assert!(!decide(&record).next.contains("evil"));
}

#[test]
fn hostile_text_stays_inert() {
    let hostile = "\u{1b}[2J\u{202e}\r\n$(reboot)`reboot`\";reboot;\u{0}";
    for rule in rules() {
        let record = edited(rule.id, |record| poison(record, hostile));
        let verdict = decide(&record);
        let evidence = verdict
            .evidence
            .iter()
            .map(|evidence| evidence.fact.as_str());
        for text in [verdict.summary.as_str(), verdict.next.as_str()]
            .into_iter()
            .chain(evidence)
        {
            assert!(
                !text.chars().any(crate::session::text::must_escape),
                "{}: {text:?}",
                verdict.rule
            );
        }
        assert!(
            !verdict.next.contains("reboot"),
            "{}: {}",
            verdict.rule,
            verdict.next
        );
        assert!(
            verdict.summary.chars().count() <= 200,
            "{}: {}",
            verdict.rule,
            verdict.summary
        );
    }
}

/// Replaces every text of a peer by hostile text.
fn poison(record: &mut Value, hostile: &str) {
    const PEERS: [&str; 30] = [
        "reason",
        "message",
        "request_id",
        "details_reason",
        "next_step",
        "id",
        "mode",
        "version",
        "role",
        "host",
        "path",
        "user_agent",
        "sni",
        "server",
        "conn_id",
        "build_id",
        "boot_id",
        "subprotocol",
        "alpn",
        "place",
        "fingerprint",
        "detail",
        "fault",
        "url",
        "addr",
        "local_addr",
        "listener",
        "normalised",
        "client_cause",
        "gateway_cause",
    ];
    match record {
        Value::Object(fields) => {
            for (key, value) in fields {
                if PEERS.contains(&key.as_str()) && value.is_string() && !is_fixed(key, value) {
                    *value = hostile.into();
                } else if matches!(key.as_str(), "scopes_asked" | "brought") {
                    *value = json!([hostile]);
                } else {
                    poison(value, hostile);
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| poison(item, hostile)),
        _ => {}
    }
}

/// Fields of the tap's own that share a name with a peer's.
fn is_fixed(key: &str, value: &Value) -> bool {
    let text = value.as_str().unwrap_or_default();
    match key {
        "id" => text.starts_with("019ab1c2-"),
        "version" => text.starts_with("TLSv") || text == "0.1.0",
        "mode" => matches!(
            text,
            "pass" | "overwrite" | "none" | "inline" | "attached" | "probe"
        ),
        _ => false,
    }
}
