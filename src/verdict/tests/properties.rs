//! Generated records: `decide` is total, and leaves no tunnel unexplained.

mod dice;

use proptest::prelude::*;

use self::dice::{Dice, ERRORS};
use super::*;
use crate::session::party::Phase;
use crate::session::record::dialect::{ConnectResult, DialectFacts};
use crate::session::record::verdict::ActOn;
use crate::session::record::{Class, Kind};
use crate::session::text::must_escape;

/// Asserts that the verdict is consistent.
pub(super) fn assert_sound(record: &SessionRecord) -> Class {
    let verdict = decide(record);
    assert_eq!(verdict.layer, verdict.class.layer());
    assert!(!verdict.summary.is_empty() && !verdict.next.is_empty());
    assert!(!verdict.summary.contains('\u{1b}') && !verdict.next.contains("$(reboot)"));
    let facts = verdict.evidence.iter().map(|evidence| &evidence.fact);
    assert!(facts.clone().all(|fact| !fact.chars().any(must_escape)));
    match registry::rule(&verdict.rule) {
        Some(rule) => {
            assert_eq!(rule.class, verdict.class);
            // In a skew, the older of the two has to act.
            let of_skew = matches!(rule.class, Class::GatewayProtocol | Class::Channel);
            let older = of_skew && matches!(verdict.act_on, ActOn::Client | ActOn::Gateway);
            assert!(verdict.act_on == rule.act_on || older, "{verdict:?}");
        }
        None => assert_eq!(verdict.class, Class::Unknown),
    }
    assert_eq!(decide(record), verdict, "the same record, the same verdict");
    verdict.class
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4096, ..ProptestConfig::default() })]

    #[test]
    fn decide_is_total(bytes in prop::collection::vec(any::<u8>(), 0..260)) {
        assert_sound(&Dice(bytes.iter()).record());
    }

    #[test]
    fn no_ending_of_a_tunnel_is_unknown(bytes in prop::collection::vec(any::<u8>(), 0..260)) {
        let mut dice = Dice(bytes.iter());
        let phase = dice.pick(&[Phase::Handshake, Phase::Open, Phase::Closing]);
        let mut record = dice.record();
        record.kind = Kind::Websocket;
        record.phase = phase;
        prop_assert_ne!(assert_sound(&record), Class::Unknown);
    }

    #[test]
    fn a_second_level_verdict_needs_evidence_from_the_gateway(
        bytes in prop::collection::vec(any::<u8>(), 0..260),
    ) {
        let mut record = Dice(bytes.iter()).record();
        record.close.gateway = None;
        match &mut record.dialect {
            Some(DialectFacts::OpenClaw(facts)) => {
                facts.result = ConnectResult::None;
                facts.error = None;
            }
            Some(DialectFacts::Other(facts)) => facts.result = ConnectResult::None,
            Some(DialectFacts::Plain(_)) | None => {}
        }
        let class = assert_sound(&record);
        let second = [
            Class::GatewayAuth,
            Class::GatewayPairing,
            Class::GatewayOrigin,
            Class::GatewayProtocol,
        ];
        prop_assert!(!second.contains(&class), "{}", class);
    }
}

#[test]
fn every_cause_of_a_failed_dial_has_a_rule_of_its_own() {
    let mut seen = std::collections::BTreeSet::new();
    for kind in ERRORS {
        let mut record = fixture("gateway.unreachable.connect");
        record
            .gateway
            .as_mut()
            .unwrap()
            .error
            .as_mut()
            .unwrap()
            .kind = kind;
        let verdict = decide(&record);
        assert_ne!(verdict.class, Class::Unknown, "{kind:?}");
        assert!(seen.insert(verdict.rule), "{kind:?} shares its rule");
    }
}
