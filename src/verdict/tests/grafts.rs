//! Records made of pieces of others, and every combination of two legs' endings: `decide` never
//! panics and gives one sound verdict, whatever the fields contain.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::properties::assert_sound;
use super::*;
use crate::session::moment::Moment;
use crate::session::party::Phase;
use crate::session::record::dialect::{DialectFacts, PlainFacts};
use crate::session::record::{Class, CloseSeen, TimerFact, TimerKey, TransportEnd};
use crate::session::text::PeerText;
use crate::ws::CloseCode;

/// Every fixture with every field, absent ones as `null`.
static WHOLE: LazyLock<Vec<Value>> = LazyLock::new(|| {
    let whole = |rule: &&Rule| serde_json::to_value(fixture(rule.id)).unwrap();
    rules().iter().map(whole).collect()
});

/// Every place in any of them, as a JSON pointer: no field of the schema is left out.
static PLACES: LazyLock<Vec<String>> = LazyLock::new(|| {
    let mut places = BTreeSet::new();
    for record in WHOLE.iter() {
        walk(record, "", &mut places);
    }
    places.into_iter().collect()
});

fn walk(value: &Value, at: &str, places: &mut BTreeSet<String>) {
    let mut child = |name: &str, value| {
        let place = format!("{at}/{name}");
        walk(value, &place, places);
        places.insert(place);
    };
    match value {
        Value::Object(fields) => fields.iter().for_each(|(name, value)| child(name, value)),
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                child(&index.to_string(), item);
            }
        }
        _ => {}
    }
}

/// Extreme values of each type, and values of other types.
fn extremes() -> Vec<Value> {
    vec![
        Value::Null,
        json!(false),
        json!(true),
        json!(0),
        json!(1),
        json!(101),
        json!(1006),
        json!(65_535),
        json!(u32::MAX),
        json!(u64::MAX),
        json!(-1.0),
        json!(1e300),
        json!(-1e300),
        json!(""),
        json!("openclaw"),
        json!("plain"),
        json!("x".repeat(5000)),
        json!("\u{1b}[2J\u{202e}"),
        json!("rst"),
        json!("timeout"),
        json!("-009999-01-02T00:00:00Z"),
        json!("9999-12-30T22:00:00Z"),
        json!("2026-11-21T10:00:00.5Z"),
        json!([]),
        json!({}),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1024, ..ProptestConfig::default() })]

    #[test]
    fn pieces_of_other_records(
        base in any::<prop::sample::Index>(),
        edits in prop::collection::vec(any::<[prop::sample::Index; 3]>(), 1..12),
    ) {
        let extremes = extremes();
        let mut record = base.get(&WHOLE).clone();
        for [place, donor, extreme] in edits {
            let place = place.get(&PLACES);
            // Take pieces of other records as often as extreme values.
            let piece = match donor.index(2 * WHOLE.len()) {
                other if other < WHOLE.len() => WHOLE[other].pointer(place).cloned(),
                _ => Some(extreme.get(&extremes).clone()),
            };
            let mut edited = record.clone();
            if let (Some(old), Some(piece)) = (edited.pointer_mut(place), piece) {
                *old = piece;
                // An edit that is no longer a record cannot be judged.
                if serde_json::from_value::<SessionRecord>(edited.clone()).is_ok() {
                    record = edited;
                }
            }
        }
        assert_sound(&serde_json::from_value(record).unwrap());
    }
}

/// Without this test, the property above could pass without any valid record.
#[test]
fn pieces_reach_every_part_of_a_record() {
    for part in [
        "/context/cadence/cases",
        "/context/other_credentials/0/accepted",
        "/dialect/rpc/unanswered/0/written",
        "/close/timer/observed_ms",
        "/close/gateway_saw/basis",
        "/gateway/tcp/retries",
        "/client/tls/failure/alert",
        "/frames/to_client/in_progress/declared",
        "/latency/blocked_ms/to_client",
        "/origin/decision",
        "/answer/body_bytes",
        "/auth/0/shape/0",
    ] {
        assert!(PLACES.iter().any(|place| place == part), "{part}");
    }
}

#[test]
fn every_combination_of_endings_has_a_verdict() {
    const ENDS: [TransportEnd; 7] = [
        TransportEnd::None,
        TransportEnd::Local,
        TransportEnd::Fin,
        TransportEnd::Rst,
        TransportEnd::TlsClose,
        TransportEnd::TlsTruncated,
        TransportEnd::Timeout,
    ];
    // Whether there is one, and its code.
    const CLOSES: [(bool, Option<u16>); 4] = [
        (false, None),
        (true, None),
        (true, Some(1000)),
        (true, Some(1008)),
    ];
    const TIMERS: [Option<TimerKey>; 4] = [
        None,
        Some(TimerKey::Idle),
        Some(TimerKey::HalfClose),
        Some(TimerKey::Close),
    ];
    let mut record = fixture("gateway.left.open");
    record.context = None;
    let start = record.opened_at.0.as_millisecond();
    let at = |ms: i64| Moment(jiff::Timestamp::from_millisecond(start + ms).unwrap());
    let close = |(came, code): (bool, Option<u16>), ms| {
        came.then(|| CloseSeen {
            code: code.map(CloseCode),
            reason: PeerText::new("", 1),
            at: at(ms),
            breaks: Vec::new(),
        })
    };
    let mut count = 0;
    let openclaw = record.dialect.clone().unwrap();
    assert_eq!(openclaw.name(), "openclaw");
    for dialect in [openclaw, DialectFacts::Plain(PlainFacts)] {
        record.dialect = Some(dialect);
        for phase in [Phase::Handshake, Phase::Open, Phase::Closing] {
            record.phase = phase;
            for (client, gateway) in ENDS.iter().flat_map(|c| ENDS.map(|g| (*c, g))) {
                for (by_client, by_gateway) in CLOSES.iter().flat_map(|c| CLOSES.map(|g| (*c, g))) {
                    for timer in TIMERS {
                        // Either leg may be first in either way.
                        let early = i64::from(count % 2);
                        record.close.transport.client = client;
                        record.close.transport.gateway = gateway;
                        record.close.transport.client_at = Some(at(40 + early));
                        record.close.transport.gateway_at = Some(at(41 - early));
                        record.close.client = close(by_client, 38 + early);
                        record.close.gateway = close(by_gateway, 39 - early);
                        record.close.timer = timer.map(|key| TimerFact {
                            key,
                            limit_ms: 30_000,
                            observed_ms: 30_000.0,
                            at: at(37 + 4 * early),
                        });
                        let class = assert_sound(&record);
                        assert_ne!(class, Class::Unknown, "{:?}", record.close);
                        count += 1;
                    }
                }
            }
        }
    }
    assert_eq!(count, 2 * 3 * 49 * 16 * 4);
}
