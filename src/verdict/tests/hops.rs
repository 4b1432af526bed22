//! Proxies are named if something shows them, and only then.

use serde_json::json;

use super::*;
use crate::session::record::Confidence;

fn header(name: &str, value: Option<&str>, length: usize) -> serde_json::Value {
    json!({ "name": name, "value": value, "length": length })
}

fn next_of(record: &SessionRecord) -> String {
    decide(record).next
}

#[test]
fn the_proxy_behind_a_cadence_is_told_its_own_line() {
    let by = |server: serde_json::Value| {
        next_of(&edited("hop.fault.idle_cadence", |record| {
            record["gateway"]["server"] = server;
        }))
    };
    assert!(by("nginx/1.27.2".into()).starts_with("in nginx's location"));
    assert!(by("haproxy".into()).contains("`timeout tunnel 1h`"));
    let envoy = by("envoy".into());
    assert_eq!(
        envoy,
        "raise the idle timeout of Envoy between tap and gateway"
    );
    let nobody = by(serde_json::Value::Null);
    assert!(nobody.contains("(nginx: proxy_read_timeout 1h; HAProxy: timeout tunnel 1h)"));
}

#[test]
fn where_the_age_is_as_alike_as_the_silence_both_are_told() {
    let with = |age: Option<u64>| {
        decide(&edited("hop.fault.idle_cadence", |record| {
            record["context"]["cadence"]["same_age_ms"] = serde_json::json!(age);
        }))
    };
    let both = with(Some(62_300));
    assert!(
        both.next
            .ends_with("look for its limit of about 62.3 s on a connection's lifetime"),
        "{}",
        both.next
    );
    let named = |verdict: &Verdict| {
        let facts = verdict.evidence.iter();
        facts
            .filter(|it| it.fact.contains("as alike in age"))
            .count()
    };
    assert_eq!(named(&both), 1);
    let silence = with(None);
    assert!(
        !silence.next.contains("connection's lifetime"),
        "{}",
        silence.next
    );
    assert_eq!(named(&silence), 0);
}

#[test]
fn a_proxy_in_front_is_told_by_what_only_it_adds() {
    let with = |line: serde_json::Value, version: &str| {
        decide(&edited("hop.fault.upgrade_stripped", |record| {
            record["request"]["http_version"] = version.into();
            let lines = record["request"]["headers"].as_array_mut().unwrap();
            lines.push(line);
        }))
    };
    let cloudflare = with(header("CF-Ray", None, 20), "HTTP/1.1");
    let words = "a proxy between client and tap (Cloudflare is in the path) stripped";
    assert!(
        cloudflare.summary.starts_with(words),
        "{}",
        cloudflare.summary
    );
    // Every proxy adds these.
    let anyone = with(header("X-Forwarded-For", None, 9), "HTTP/1.1");
    assert!(
        anyone
            .summary
            .starts_with("a proxy between client and tap stripped")
    );
    let old = with(header("Accept", Some("*/*"), 3), "HTTP/1.0");
    assert!(old.summary.contains("most likely nginx"), "{}", old.summary);
    assert!(old.next.starts_with("in nginx's location"), "{}", old.next);
    let via = with(header("Via", Some("1.1 varnish"), 11), "HTTP/1.1");
    let says = |fact: &str| via.evidence.iter().any(|it| it.fact.contains(fact));
    assert!(says("it came with the header Via: \"1.1 varnish\""));
}

/// nginx adds its Server header to the gateway's answers, too.
#[test]
fn a_page_proves_more_than_a_head() {
    let by = |page: serde_json::Value| {
        decide(&edited("hop.fault.foreign_answer", |record| {
            record["gateway"]["server"] = "nginx/1.27.2".into();
            record["gateway"]["body_kind"] = "json".into();
            record["gateway"]["page_by"] = page;
        }))
    };
    let head = by(serde_json::Value::Null);
    assert_eq!(head.confidence, Confidence::Likely);
    let own = by("nginx".into());
    assert_eq!(own.confidence, Confidence::Certain);
    // HAProxy, behind nginx, answered.
    let other = by("haproxy".into());
    assert!(
        other.summary.starts_with("HAProxy answered"),
        "{}",
        other.summary
    );
}

#[test]
fn a_crash_that_a_timer_would_look_like_says_so() {
    let alike = |lost_alike: u32| {
        decide(&edited("gateway.lifecycle.crash", |record| {
            record["context"]["lost_together"] = 3.into();
            record["context"]["lost_alike"] = lost_alike.into();
        }))
    };
    let sure = alike(2);
    assert_eq!(sure.rule, "gateway.lifecycle.crash");
    assert_eq!(sure.confidence, Confidence::Likely);
    let unsure = alike(3);
    assert_eq!(unsure.rule, "gateway.lifecycle.crash");
    assert_eq!(unsure.confidence, Confidence::Possible);
    assert!(
        unsure
            .next
            .contains("if it did not, raise the idle timeout")
    );
}

#[test]
fn attribution_headers_that_we_did_not_send_came_from_behind() {
    let rule = |mode: &str, sent: serde_json::Value, server: serde_json::Value| {
        rule_of(&edited("gateway.refused.attribution", |record| {
            record["gateway"]["forwarded"]["mode"] = mode.into();
            record["gateway"]["forwarded"]["sent"] = sent;
            record["gateway"]["server"] = server;
        }))
    };
    let ours = json!([{ "name": "x-forwarded-for", "value": "203.0.113.7" }]);
    let (nobody, nginx) = (serde_json::Value::Null, "nginx".into());
    let behind = "gateway.refused.attribution_behind";
    assert_eq!(
        rule("overwrite", ours.clone(), nobody.clone()),
        "gateway.refused.attribution"
    );
    assert_eq!(rule("overwrite", ours, nginx), behind);
    assert_eq!(rule("none", json!([]), nobody), behind);
}
