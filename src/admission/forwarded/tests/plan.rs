//! When the gateway is checked.

use std::time::{Duration, Instant};

use super::super::acceptance::{Answer, Outcome, Plan};
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
fn now_and_then_while_its_answers_show_nothing_and_told_once() {
    let now = Instant::now();
    let mut plan = Plan::starting(now);
    assert!(!plan.is_unproven(), "there is no answer yet");
    assert!(plan.checked(Outcome::Unproven, now));
    assert_eq!(plan.acceptance(), Acceptance::Unknown);
    assert!(plan.is_unproven());
    let slow = Duration::from_mins(10);
    assert_eq!(plan.due(), Some(now + slow));
    assert!(!plan.checked(Outcome::Unproven, now + slow));
    assert_eq!(plan.due(), Some(now + 2 * slow));
    // A 403 shows that it is another gateway now: that is checked, once a minute.
    plan.contradicted(now + slow);
    assert_eq!(plan.due(), Some(now + slow));
    assert!(!plan.checked(Outcome::Unproven, now + slow));
    plan.contradicted(now + slow);
    assert_eq!(plan.due(), Some(now + slow + MINUTE));
    assert!(plan.checked(Outcome::Refused, now + slow + MINUTE));
    assert!(!plan.is_unproven());
    // Acceptance does not outlive an answer that shows nothing.
    assert!(plan.checked(Outcome::Accepted, now + 2 * slow));
    assert!(plan.checked(Outcome::Unproven, now + 3 * slow));
    assert_eq!(plan.acceptance(), Acceptance::Unknown);
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
    for answer in [Outcome::Accepted, Outcome::Refused, Outcome::Unproven] {
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
    let dialect = crate::dialect::openclaw::PROFILE
        .attribution
        .as_ref()
        .unwrap();
    for (status, body, outcome) in [
        (403, &refusal[..], Answer::Refused),
        (200, br#"{"ready":true}"#, Answer::Taken),
        (200, br#"{"ready":true,"failing":[]}"#, Answer::Taken),
        (
            200,
            b"<!doctype html><html data-openclaw-control-ui-x>",
            Answer::Taken,
        ),
        // 2026.1 and 2026.2 do not know the path.
        (
            200,
            b"<!doctype html><title>Clawdbot Control</title>",
            Answer::Taken,
        ),
        (503, br#"{"ready":false}"#, Answer::None),
        (403, b"<html>nginx", Answer::None),
        (200, b"hello", Answer::None),
        (502, &refusal[..], Answer::None),
        (404, b"", Answer::None),
    ] {
        assert_eq!(Answer::of(dialect, status, body), outcome, "{status}");
    }
}

/// A gateway before 2026.8 answers every request of this kind; one that checks refuses a request
/// that names nobody, whichever proxies it trusts.
#[test]
fn belief_is_shown_only_by_a_gateway_that_refuses_to_believe_anything() {
    use Answer::{None as Nothing, Refused, Taken};
    for (named, nobody, outcome) in [
        (Taken, Some(Refused), Outcome::Accepted),
        (Taken, Some(Taken), Outcome::Unproven),
        (Taken, Some(Nothing), Outcome::NoAnswer),
        (Taken, None, Outcome::NoAnswer),
        (Refused, None, Outcome::Refused),
        (Refused, Some(Taken), Outcome::Refused),
        (Nothing, None, Outcome::NoAnswer),
    ] {
        assert_eq!(Outcome::of(named, nobody), outcome, "{named:?}, {nobody:?}");
    }
}
