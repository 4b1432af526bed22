//! Refused values that are not plain origins, by their kind.

use serde_json::json;

use super::*;

/// The next action for an origin without a normal form.
fn next(kind: &serde_json::Value, error: &str) -> String {
    let record = edited("tap.denied.origin", |record| {
        record["origin"]["value"] = "something".into();
        record["origin"]["normalised"] = json!(null);
        record["origin"]["nearest"] = json!(null);
        record["origin"]["error_kind"] = kind.clone();
        record["origin"]["error"] = error.into();
    });
    let verdict = decide(&record);
    assert_eq!(verdict.rule, "tap.denied.origin");
    verdict.next
}

const FROM_AN_ADDRESS: &str = "open the page from an http or https address";
const REWRITTEN: &str = "what between the browser and the tap rewrites the Origin header";

#[test]
fn the_kind_decides_what_to_do_and_no_word_of_its_text() {
    for words in [
        "",
        "found the opaque origin null",
        "found no host",
        "anything",
    ] {
        for kind in ["null", "no_host"] {
            let next = next(&json!(kind), words);
            assert!(next.contains(FROM_AN_ADDRESS), "{kind}: {next}");
        }
        for kind in [
            "list",
            "several",
            "bytes",
            "too_long",
            "no_scheme",
            "scheme",
            "userinfo",
            "path",
            "host",
            "port",
        ] {
            let next = next(&json!(kind), words);
            assert!(next.contains(REWRITTEN), "{kind}: {next}");
        }
    }
}

/// A record of an older version has no kind: then the advice does not guess.
#[test]
fn without_a_kind_the_advice_is_the_rules_own() {
    let next = next(&json!(null), "found the opaque origin null");
    assert!(
        !next.contains(FROM_AN_ADDRESS) && !next.contains(REWRITTEN),
        "{next}"
    );
    assert!(next.contains("origins.allowed"), "{next}");
}
