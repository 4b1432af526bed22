//! The credential that a verdict on a refusal names, and its oddities.

use serde_json::json;

use super::*;
use crate::session::record::Confidence;

#[test]
fn odd_forms_of_a_token_come_before_comparing_it() {
    for (shape, word) in [
        ("empty", "empty"),
        ("newline", "line break"),
        ("quoted", "quotes"),
        ("placeholder", "placeholder"),
        ("redacted", "in the place of a secret"),
        ("scheme", "`Bearer `"),
        ("assignment", "NAME=value"),
        ("url", "URL"),
        // The gateway trims blanks, so they are not the cause.
        ("whitespace", "does not match"),
    ] {
        let record = edited("gateway.auth.token_mismatch", |record| {
            record["auth"][0]["shape"] = json!([shape]);
        });
        let verdict = decide(&record);
        assert_eq!(verdict.rule, "gateway.auth.token_mismatch");
        assert!(verdict.summary.contains(word), "{}", verdict.summary);
    }
    let plain = decide(&fixture("gateway.auth.token_mismatch"));
    assert!(
        plain.summary.contains("sha256:1a2b3c4d"),
        "{}",
        plain.summary
    );
    // The advice uses only programs that a gateway's host has.
    for words in [
        "`node -e '",
        "| sha256sum | cut -c1-8`",
        "does not print the digits of sha256:1a2b3c4d",
    ] {
        assert!(plain.next.contains(words), "{}", plain.next);
    }
    assert!(!plain.next.contains("wstap"), "{}", plain.next);
}

#[test]
fn a_short_secret_is_compared_under_the_taps_key_or_not_at_all() {
    let next = |fingerprint: &str| {
        let verdict = decide(&edited("gateway.auth.token_mismatch", |record| {
            record["auth"][0]["fingerprint"] = fingerprint.into();
            record["auth"][0]["length"] = 12.into();
        }));
        assert!(!verdict.next.contains("sha256sum"), "{}", verdict.next);
        verdict.next
    };
    let keyed = next("hmac:523a74f8:f028b04b");
    assert!(keyed.contains("--fingerprint-key-file FILE"), "{keyed}");
    assert!(
        keyed.contains("if it is not hmac:523a74f8:f028b04b"),
        "{keyed}"
    );
    let lost = next("hmac:run-523a74f8:f028b04b");
    assert!(
        lost.contains("a value of 12 characters is too short"),
        "{lost}"
    );
    assert!(!lost.contains("hmac:"), "{lost}");
}

#[test]
fn what_is_inside_of_a_copied_line_is_compared_with_what_works() {
    const INNER: &str = "sha256:9f86d081";
    let advice = |context: serde_json::Value| {
        let verdict = decide(&edited("gateway.auth.token_mismatch", |record| {
            record["auth"][0]["shape"] = json!(["assignment"]);
            record["auth"][0]["inner"] = INNER.into();
            record["context"] = context;
        }));
        assert_eq!(verdict.rule, "gateway.auth.token_mismatch");
        assert_eq!(verdict.confidence, Confidence::Certain);
        let works = verdict
            .evidence
            .iter()
            .any(|one| one.fact.contains("without that it is"));
        (works, verdict.next)
    };
    let used = |fingerprint: &str| {
        json!({ "working": {
            "fingerprint": fingerprint, "clients": 2, "sessions": 5, "last_at": "2026-11-21T09:30:00Z",
        } })
    };
    let own = |accepted: bool| {
        json!({ "other_credentials": [{
            "fingerprint": INNER, "sessions": 1, "accepted": accepted,
            "last_at": "2026-11-21T09:30:00Z",
        }] })
    };
    for context in [used(INNER), own(true)] {
        let (works, next) = advice(context);
        assert!(works && next.contains("follows the `=`"), "{next}");
        assert!(!next.contains("compare"), "{next}");
    }
    // Another value works, the inner value was refused as well, or nothing is known.
    for context in [used("sha256:00000000"), own(false), json!({})] {
        let (works, next) = advice(context);
        assert!(!works);
        assert!(
            next.contains(INNER) && next.contains("if the gateway refuses that too"),
            "{next}"
        );
    }
}

#[test]
fn of_several_credentials_the_one_that_was_compared_is_named() {
    // A real client that tries again sends its stored device token beside the shared one.
    let record = edited("gateway.auth.token_mismatch", |record| {
        let token = record["auth"][0].clone();
        let mut device = token.clone();
        device["place"] = "frame:connect.params.auth.deviceToken".into();
        device["fingerprint"] = "sha256:dddddddd".into();
        record["auth"] = json!([device, token]);
    });
    let verdict = decide(&record);
    assert_eq!(verdict.rule, "gateway.auth.token_mismatch");
    for text in [&verdict.summary, &verdict.next] {
        assert!(text.contains("sha256:1a2b3c4d"), "{text}");
        assert!(!text.contains("sha256:dddddddd"), "{text}");
    }
}

#[test]
fn a_fingerprint_that_nobody_can_make_again_is_not_searched_for() {
    let verdict = decide(&edited("gateway.auth.token_two_sources", |record| {
        record["auth"][0]["fingerprint"] = "hmac:run-523a74f8:f028b04b".into();
    }));
    assert_eq!(verdict.rule, "gateway.auth.token_two_sources");
    // Two clients behind one address look the same.
    assert_eq!(verdict.confidence, Confidence::Likely);
    assert!(!verdict.next.contains("hmac:run-"), "{}", verdict.next);
    assert!(verdict.next.contains("sha256:9f86d081"), "{}", verdict.next);
}

#[test]
fn which_source_wins_is_told_by_the_gateways_version() {
    let advice = |version: &str| {
        let verdict = decide(&edited("gateway.auth.token_mismatch", |record| {
            record["context"] = json!({ "boots": [{
                "id": "b", "version": version, "sessions": 1,
                "first_at": "2026-11-21T09:00:00Z", "last_at": "2026-11-21T09:30:00Z",
            }] });
        }));
        let facts = verdict.evidence.into_iter().map(|evidence| evidence.fact);
        facts.collect::<Vec<_>>().join("; ")
    };
    assert!(advice("2026.9.6").contains("in \"2026.9.6\" a flag comes before the configuration"));
    assert!(advice("2026.3.1").contains("is older than 2026.9"));
    assert!(advice("nightly").contains("older guides say the reverse"));
}
