//! How close a certificate is to its expiry.
//!
//! The usual 30, 7 and 1 day, but for a short-lived certificate never more than a fixed part of its
//! life: one that lives for six days is renewed every other day and must not always warn. If it is
//! renewed when a third is left, as ACME clients do, no warning is given.

use jiff::{SignedDuration, Timestamp};

const DAY: SignedDuration = SignedDuration::from_hours(24);

/// How close the end of a certificate's validity is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// Far away.
    Fine,
    /// Less than 30 days and less than a quarter of its life are left.
    Soon,
    /// Less than 7 days and less than a twelfth of its life are left.
    VerySoon,
    /// Less than a day and less than a ninetieth of its life are left.
    Last,
    /// Its validity has not begun.
    NotYet,
    /// It has expired.
    Expired,
}

/// The stage of a certificate at `now`.
#[must_use]
pub fn stage(not_before: Timestamp, not_after: Timestamp, now: Timestamp) -> Stage {
    if now > not_after {
        return Stage::Expired;
    }
    if now < not_before {
        return Stage::NotYet;
    }
    let life = not_after.duration_since(not_before);
    let left = not_after.duration_since(now);
    let within = |days: i32, part: i32| left < (DAY * days).min(life / part);
    if within(1, 90) {
        Stage::Last
    } else if within(7, 12) {
        Stage::VerySoon
    } else if within(30, 4) {
        Stage::Soon
    } else {
        Stage::Fine
    }
}

/// The warning about the certificate, if there is one.
#[must_use]
pub fn warning(not_before: Timestamp, not_after: Timestamp, now: Timestamp) -> Option<String> {
    let left = not_after.duration_since(now);
    Some(match stage(not_before, not_after, now) {
        Stage::Fine => return None,
        Stage::Expired => format!("the certificate expired at {not_after}; clients will refuse it"),
        Stage::NotYet => format!("the certificate is not valid before {not_before}"),
        Stage::Soon | Stage::VerySoon | Stage::Last => {
            let (days, hours) = (left.as_hours() / 24, left.as_hours());
            let left = if days > 1 {
                format!("{days} days")
            } else {
                format!("{hours} hours")
            };
            format!("the certificate expires soon, at {not_after} ({left} left)")
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_lives_warn_by_days_and_short_ones_by_their_parts() {
        let from: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        let at = |life_days: i32, left_hours: i64| {
            let to = from + DAY * life_days;
            stage(from, to, to - SignedDuration::from_hours(left_hours))
        };
        assert_eq!(at(365, 31 * 24), Stage::Fine);
        assert_eq!(at(365, 30 * 24 - 1), Stage::Soon);
        assert_eq!(at(365, 7 * 24 - 1), Stage::VerySoon);
        assert_eq!(at(365, 23), Stage::Last);
        assert_eq!(at(365, -1), Stage::Expired);
        assert_eq!(at(365, 366 * 24), Stage::NotYet);
        // 90 days: an ACME client renews when 30 are left.
        assert_eq!(at(90, 29 * 24), Stage::Fine);
        assert_eq!(at(90, 22 * 24), Stage::Soon);
        // Six days, renewed when two are left.
        assert_eq!(at(6, 2 * 24), Stage::Fine);
        assert_eq!(at(6, 35), Stage::Soon);
        assert_eq!(at(6, 11), Stage::VerySoon);
        assert_eq!(at(6, 1), Stage::Last);
    }

    #[test]
    fn what_is_left_is_told() {
        let from: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        let to: Timestamp = "2027-01-01T00:00:00Z".parse().unwrap();
        let text = warning(from, to, to - SignedDuration::from_hours(10 * 24)).unwrap();
        assert_eq!(
            text,
            "the certificate expires soon, at 2027-01-01T00:00:00Z (10 days left)"
        );
        let text = warning(from, to, to - SignedDuration::from_hours(30)).unwrap();
        assert!(text.ends_with("(30 hours left)"), "{text}");
        assert_eq!(warning(from, to, from), None);
    }
}
