//! When the gateway is asked.

use std::time::{Duration, Instant};

use super::super::acceptance::{Outcome, Plan};
use super::*;

const MINUTE: Duration = Duration::from_mins(1);

#[test]
fn from_the_start_until_the_first_answer_with_growing_pauses() {
    let mut now = Instant::now();
    let mut plan = Plan::starting(now);
    assert_eq!(plan.due(), Some(now));
    assert_eq!(plan.acceptance(), Acceptance::Unknown);
    let mut pauses = Vec::new();
    for _ in 0..7 {
        assert!(!plan.checked(Outcome::NoAnswer, now));
        let due = plan.due().unwrap();
        pauses.push((due - now).as_millis());
        now = due;
    }
    assert_eq!(pauses, [250, 500, 1000, 2000, 4000, 5000, 5000]);
    assert!(plan.checked(Outcome::Accepted, now));
    assert_eq!(
        (plan.acceptance(), plan.due()),
        (Acceptance::Accepted, None)
    );
}

#[test]
fn once_a_minute_while_it_refuses_and_told_once() {
    let now = Instant::now();
    let mut plan = Plan::starting(now);
    assert!(plan.checked(Outcome::Refused, now));
    assert_eq!(plan.due(), Some(now + MINUTE));
    // The 403s that follow are what we expect.
    plan.contradicted(now);
    assert_eq!(plan.due(), Some(now + MINUTE));
    assert!(!plan.checked(Outcome::Refused, now + MINUTE));
    assert_eq!(plan.due(), Some(now + 2 * MINUTE));
    assert!(plan.checked(Outcome::Accepted, now + 2 * MINUTE));
    assert_eq!(plan.due(), None);
}

#[test]
fn a_contradiction_is_looked_into_at_most_once_a_minute() {
    let now = Instant::now();
    let mut plan = Plan::starting(now);
    plan.checked(Outcome::Accepted, now);
    plan.contradicted(now);
    plan.contradicted(now);
    assert_eq!(plan.due(), Some(now));
    plan.checked(Outcome::Accepted, now);
    for second in [1, 2, 59] {
        plan.contradicted(now + Duration::from_secs(second));
        assert_eq!(plan.due(), Some(now + MINUTE));
    }
    plan.checked(Outcome::Accepted, now + MINUTE);
    let later = now + 3 * MINUTE;
    plan.contradicted(later);
    assert_eq!(plan.due(), Some(later));
}

#[test]
fn a_gateway_that_was_gone_is_asked_at_once_when_it_is_back() {
    for answer in [Outcome::Accepted, Outcome::Refused] {
        let now = Instant::now();
        let mut plan = Plan::starting(now);
        plan.checked(answer, now);
        let known = plan.acceptance();
        let quiet = plan.due();
        let back = now + Duration::from_secs(7);
        plan.reached(back);
        assert_eq!(plan.due(), quiet, "it was not gone");
        plan.lost();
        plan.lost();
        assert_eq!(plan.due(), quiet, "it is not back");
        plan.reached(back);
        assert_eq!(plan.due(), Some(back));
        assert_eq!(plan.acceptance(), known, "the last answer stands");
        // While it starts, the pauses grow again from the shortest.
        plan.checked(Outcome::NoAnswer, back);
        assert_eq!(plan.due(), Some(back + Duration::from_millis(250)));
        plan.reached(back);
        assert_eq!(plan.due(), Some(back + Duration::from_millis(250)));
    }
}

#[test]
fn who_never_asks_is_not_made_to() {
    let now = Instant::now();
    let mut plan = Plan::never();
    plan.contradicted(now);
    plan.lost();
    plan.reached(now);
    assert_eq!(
        (plan.acceptance(), plan.due()),
        (Acceptance::NotChecked, None)
    );
}

#[test]
fn only_the_gateways_own_words_are_an_answer() {
    let refusal = br#"{"error":{"message":"..","type":"proxy_attribution_required"}}"#;
    for (status, body, outcome) in [
        (403, &refusal[..], Outcome::Refused),
        (200, br#"{"ready":true}"#, Outcome::Accepted),
        (200, br#"{"ready":true,"failing":[]}"#, Outcome::Accepted),
        (
            200,
            b"<!doctype html><html data-openclaw-control-ui-x>",
            Outcome::Accepted,
        ),
        (503, br#"{"ready":false}"#, Outcome::NoAnswer),
        (403, b"<html>nginx", Outcome::NoAnswer),
        (200, b"hello", Outcome::NoAnswer),
        (502, &refusal[..], Outcome::NoAnswer),
        (404, b"", Outcome::NoAnswer),
    ] {
        assert_eq!(Outcome::of(status, body), outcome, "{status}");
    }
}
