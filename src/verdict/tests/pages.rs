//! How the Control UI's page was loaded is read only from its Origin.

use serde_json::json;

use super::*;
use crate::session::record::Confidence;

fn refused(origin: serde_json::Value, version: &str, tls: bool) -> Verdict {
    decide(&edited("gateway.auth.control_ui_insecure", |record| {
        record["request"]["origin"] = origin.clone();
        record["origin"]["value"] = origin;
        record["dialect"]["client"]["version"] = version.into();
        if tls {
            record["client"]["tls"] = json!({ "version": "TLSv1.3" });
        }
    }))
}

const INSECURE: &str = "gateway.auth.control_ui_insecure";
const NO_DEVICE: &str = "gateway.auth.control_ui_no_device";

#[test]
fn only_a_plain_origin_on_another_host_was_opened_over_plain_http() {
    for tls in [false, true] {
        // A page loaded over plain http may connect to wss://, but it is still a plain http page.
        let plain = refused("http://192.168.1.20:8080".into(), "2026.7.35", tls);
        assert_eq!(plain.rule, INSECURE);
        assert_eq!(plain.confidence, Confidence::Likely);
        for origin in [
            "https://claw.example.com",
            "https://192.168.1.20:8080",
            "http://localhost:18789",
            "http://127.0.0.1:18789",
            "http://[::1]:18789",
            "http://ui.localhost",
            "null",
            "chrome-extension://abcdef",
        ] {
            let verdict = refused(origin.into(), "2026.7.35", tls);
            assert_eq!(verdict.rule, NO_DEVICE, "{origin}");
            for text in [&verdict.summary, &verdict.next] {
                assert!(!text.contains("plain http"), "{origin}: {text}");
            }
        }
        // Browsers always send an Origin.
        let none = refused(json!(null), "2026.7.35", tls);
        assert_eq!(none.rule, NO_DEVICE);
        assert!(
            none.summary.contains("without an Origin"),
            "{}",
            none.summary
        );
    }
}

#[test]
fn what_proxies_write_says_nothing_of_the_page() {
    let record = edited(INSECURE, |record| {
        let lines = record["request"]["headers"].as_array_mut().unwrap();
        lines.push(json!({ "name": "x-forwarded-proto", "value": "https", "length": 5 }));
    });
    assert_eq!(rule_of(&record), INSECURE);
}

#[test]
fn a_control_ui_that_needs_no_secure_context_was_not_refused_for_want_of_one() {
    let origin = || json!("http://192.168.1.20:8080");
    for (version, rule, confidence) in [
        ("2026.1.24-3", INSECURE, Confidence::Likely),
        ("2026.7.35", INSECURE, Confidence::Likely),
        ("2026.8.4", INSECURE, Confidence::Possible),
        ("dev", INSECURE, Confidence::Possible),
        // A version that is not a release does not show when it was made.
        ("1.0.3", INSECURE, Confidence::Possible),
        ("2026.9.6", NO_DEVICE, Confidence::Certain),
        ("2027.1.2", NO_DEVICE, Confidence::Certain),
    ] {
        let verdict = refused(origin(), version, false);
        assert_eq!(
            (&*verdict.rule, verdict.confidence),
            (rule, confidence),
            "{version}"
        );
    }
}

#[test]
fn gateways_before_codes_say_it_in_other_words() {
    let record = edited(INSECURE, |record| {
        let words = "control ui requires HTTPS or localhost (secure context)";
        record["dialect"]["error"]["message"] = words.into();
        record["dialect"]["error"]["details_code"] = json!(null);
        record["close"]["gateway"]["reason"] = words.into();
        record["dialect"]["client"]["version"] = "2026.2.17".into();
    });
    assert_eq!(rule_of(&record), INSECURE);
}
