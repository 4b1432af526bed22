//! Cases in which our list and the gateway's own check disagree about an origin.
//!
//! Two lists that differ make the worst kind of fault: one that only some pages see, and only on
//! one path. Each text names the line that would make both agree.

use super::refusal::line;
use crate::session::SessionRecord;
use crate::session::record::dialect::ConnectResult;
use crate::session::record::{Class, OriginDecision};

/// Our list allows it, but the gateway will refuse it according to its configuration.
#[must_use]
pub(crate) fn predicted(origin: &str, file: &str) -> String {
    format!(
        "origins.allowed lets {origin} in and the gateway, by its own list, does not: add \
         \"{origin}\" to gateway.controlUi.allowedOrigins in {file}"
    )
}

/// A disagreement that a finished session has shown: the origin, and what to do. `None` while both
/// agree.
#[must_use]
pub(crate) fn observed(record: &SessionRecord) -> Option<(&str, String)> {
    let facts = record.origin.as_ref()?;
    let origin = facts.normalised.as_deref()?;
    let line = line(origin)?;
    let refused = record
        .verdict
        .as_ref()
        .is_some_and(|verdict| verdict.class == Class::GatewayOrigin);
    let accepted = record.application().result == ConnectResult::Accepted;
    match facts.decision {
        OriginDecision::Allowed if refused => {
            let rule = facts.rule.as_deref().unwrap_or("origins.allowed");
            let text = format!(
                "the gateway has refused {origin}, which we let in (by {rule}): in openclaw.json \
                 add \"{origin}\" to gateway.controlUi.allowedOrigins"
            );
            Some((origin, text))
        }
        OriginDecision::WouldDeny if accepted => {
            let text = format!(
                "the gateway has accepted {origin}, which mode enforce would refuse: add it to \
                 wstap's configuration: {line}"
            );
            Some((origin, text))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::record::dialect::openclaw::OpenClawFacts;
    use crate::session::record::{OriginFacts, Verdict};
    use crate::verdict::registry;

    fn record(decision: OriginDecision, result: ConnectResult, class: Class) -> SessionRecord {
        SessionRecord {
            origin: Some(OriginFacts {
                value: None,
                normalised: Some("https://a.b".to_owned()),
                decision,
                rule: None,
                nearest: None,
                error_kind: None,
                error: None,
            }),
            dialect: Some(
                OpenClawFacts {
                    result,
                    ..OpenClawFacts::default()
                }
                .into(),
            ),
            verdict: Some(Verdict {
                class,
                ..registry::unknown()
            }),
            ..SessionRecord::default()
        }
    }

    #[test]
    fn only_what_differs_is_told_with_the_line_to_add() {
        use ConnectResult::{Accepted, Refused};
        use OriginDecision::{Absent, Allowed, Denied, Off, WouldDeny};
        for (decision, result, class, expected) in [
            (
                Allowed,
                Refused,
                Class::GatewayOrigin,
                Some("gateway.controlUi.allowedOrigins"),
            ),
            (Allowed, Accepted, Class::Ok, None),
            (Allowed, Refused, Class::GatewayAuth, None),
            (
                WouldDeny,
                Accepted,
                Class::Ok,
                Some("origins: { allowed: [\"https://a.b\"] }"),
            ),
            (WouldDeny, Refused, Class::GatewayOrigin, None),
            (WouldDeny, Refused, Class::GatewayAuth, None),
            (Denied, ConnectResult::None, Class::TapDenied, None),
            (Absent, Accepted, Class::Ok, None),
            (Off, Refused, Class::GatewayOrigin, None),
        ] {
            let record = record(decision, result, class);
            let found = observed(&record);
            let at = format!("{decision:?} {result:?} {class:?}: {found:?}");
            assert_eq!(found.is_some(), expected.is_some(), "{at}");
            if let (Some((origin, text)), Some(expected)) = (found, expected) {
                assert_eq!(origin, "https://a.b");
                assert!(text.contains(expected), "{at}");
            }
        }
    }
}
