//! Tests over the whole registry.

use super::*;

#[test]
fn an_empty_record_is_unknown_and_nothing_panics() {
    let verdict = decide(&SessionRecord::default());
    assert!(!verdict.rule.is_empty());
}
