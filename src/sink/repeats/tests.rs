use super::*;
use crate::session::record::Verdict;
use crate::session::record::dialect::openclaw::OpenClawFacts;
use crate::verdict;

/// An ending by this rule, of this client.
fn ending(rule: &str, client: &str, number: u128) -> Arc<SessionRecord> {
    let mut record = SessionRecord {
        id: uuid::Uuid::from_u128(number),
        kind: Kind::Websocket,
        phase: Phase::Admission,
        ..SessionRecord::default()
    };
    record.client.addr = client.to_owned();
    record.verdict = Some(Verdict {
        rule: rule.to_owned(),
        ..verdict::decide(&record)
    });
    Arc::new(record)
}

fn with(
    record: &Arc<SessionRecord>,
    change: impl FnOnce(&mut SessionRecord),
) -> Arc<SessionRecord> {
    let mut record = SessionRecord::clone(record);
    change(&mut record);
    Arc::new(record)
}

/// How many of `count` endings get a record of their own.
fn alone(joiner: &mut Joiner, record: &Arc<SessionRecord>, count: usize, now: Instant) -> usize {
    (0..count).filter(|_| joiner.admit(record, now)).count()
}

/// All held records, as they would be written.
fn rest(joiner: &mut Joiner) -> Vec<Arc<SessionRecord>> {
    std::iter::from_fn(|| joiner.rest()).collect()
}

fn count(record: &SessionRecord) -> u64 {
    record.repeats.map_or(1, |repeats| repeats.count)
}

#[test]
fn the_first_and_the_last_are_recorded_in_full_and_all_are_counted() {
    let (mut joiner, start) = (Joiner::default(), Instant::now());
    let mut for_themselves = Vec::new();
    for number in 0..1000 {
        let second = i64::try_from(number / 100).unwrap();
        let at = Moment(jiff::Timestamp::from_second(second).unwrap());
        let record = with(&ending("a", "192.0.2.1:5", number), |record| {
            (record.opened_at, record.closed_at) = (at, at);
        });
        if joiner.admit(&record, start) {
            for_themselves.push(record.id.as_u128());
        }
    }
    assert_eq!(for_themselves, (0..20).collect::<Vec<_>>());
    assert!(joiner.due(start + WINDOW / 2).is_none());
    let last = joiner.due(start + WINDOW).unwrap();
    assert_eq!(last.id.as_u128(), 999, "the last one");
    let repeats = last.repeats.unwrap();
    assert_eq!(repeats.count, 980);
    assert_eq!(repeats.first_at.0.as_second(), 0);
    assert_eq!(repeats.last_at.0.as_second(), 9);
    assert!(!repeats.many_clients);
    assert!(joiner.due(start + 2 * WINDOW).is_none());
}

#[test]
fn one_that_was_held_alone_does_not_repeat() {
    let (mut joiner, start) = (Joiner::default(), Instant::now());
    assert_eq!(
        alone(&mut joiner, &ending("a", "192.0.2.1:5", 1), 21, start),
        20
    );
    assert_eq!(joiner.due(start + WINDOW).unwrap().repeats, None);
}

#[test]
fn other_rules_kinds_and_clients_have_their_own() {
    let (mut joiner, now) = (Joiner::default(), Instant::now());
    let flood = ending("a", "192.0.2.1:5", 1);
    alone(&mut joiner, &flood, 500, now);
    let other_kind = with(&flood, |record| record.kind = Kind::Connection);
    for other in [
        ending("b", "192.0.2.1:5", 2),
        ending("a", "192.0.2.2:5", 3),
        ending("a", "unix:7", 4),
        other_kind,
    ] {
        assert!(joiner.admit(&other, now));
    }
    // The same client from other ports, and from addresses of one IPv6 /64.
    assert!(!joiner.admit(&ending("a", "192.0.2.1:6", 5), now));
    assert!(!joiner.admit(&ending("a", "[::ffff:192.0.2.1]:7", 5), now));
    let network = |host: u32| ending("a", &format!("[2001:db8::{host:x}]:1"), 6);
    let recorded = (0..100).filter(|host| joiner.admit(&network(*host), now));
    assert_eq!(recorded.count(), 20);
    assert!(joiner.admit(&ending("a", "[2001:db8:0:1::1]:1", 7), now));
}

#[test]
fn a_flood_that_goes_on_has_few_records_a_minute_and_pauses_do_not_help_it() {
    let (mut joiner, start) = (Joiner::default(), Instant::now());
    let flood = ending("a", "192.0.2.1:5", 1);
    let (mut recorded, mut sessions) = (0, 0);
    for second in 0..3600_u64 {
        let now = start + Duration::from_secs(second);
        // Every other minute.
        let times = if second / 60 % 2 == 0 { 10 } else { 0 };
        recorded += alone(&mut joiner, &flood, times, now);
        sessions += times as u64;
        while let Some(record) = joiner.due(now) {
            recorded += 1;
            sessions -= count(&record) - 1;
        }
    }
    recorded += rest(&mut joiner).len();
    assert!(recorded <= 20 + 60 + 31, "{recorded} records in an hour");
    assert!(sessions >= recorded as u64);
}

#[test]
fn many_clients_have_one_budget_and_one_record() {
    let (mut joiner, start) = (Joiner::default(), Instant::now());
    let mut recorded = 0;
    for number in 0..50_000_u32 {
        let addr = std::net::Ipv4Addr::from_bits(0x0a00_0000 + number);
        let record = ending("a", &format!("{addr}:1"), number.into());
        recorded += u64::from(joiner.admit(&record, start));
        assert!(joiner.clients <= MAX_CLIENTS);
    }
    // The first ending of each client that has a counter, and the budget that all clients share.
    assert_eq!(recorded, 1024 + 200);
    // Another rule is not affected.
    assert!(joiner.admit(&ending("b", "192.0.2.1:5", 2), start));
    let last = rest(&mut joiner);
    assert_eq!(last.len(), 1);
    let repeats = last[0].repeats.unwrap();
    assert!(repeats.many_clients);
    assert_eq!(recorded + repeats.count, 50_000);
    // After they are dropped, there is room for others.
    let later = start + Duration::from_hours(1);
    let client = ending("a", "192.0.2.1:5", 3);
    assert_eq!(alone(&mut joiner, &client, 100, later), 20);
    assert!(joiner.clients < 10, "{}", joiner.clients);
}

/// A few addresses cannot use up the budget for the first endings of others: neither for a
/// stranger's refusals, nor for tunnels to a gateway whose application is not known.
#[test]
fn a_few_clients_cannot_wash_out_the_first_ending_of_another() {
    for phase in [Phase::Admission, Phase::Open] {
        let (mut joiner, start) = (Joiner::default(), Instant::now());
        let of = |client: &str, number| {
            with(&ending("a", client, number), |record| record.phase = phase)
        };
        let flood = |joiner: &mut Joiner, now| {
            let each = (0..12).map(|host| {
                let record = of(&format!("192.0.2.{host}:1"), 1);
                alone(joiner, &record, 1000, now)
            });
            each.sum::<usize>()
        };
        let most = if phase == Phase::Open { 1000 } else { 200 };
        assert!(flood(&mut joiner, start) <= most + 12);
        // Many clients, each for the first time.
        for host in 0..200 {
            let client = of(&format!("198.51.100.{host}:1"), 2);
            assert_eq!(alone(&mut joiner, &client, 3, start), 1, "{host}");
        }
        // Control: an ending that continued a minute ago is not a first one, and one after hours
        // is.
        let minute = start + Duration::from_mins(1);
        flood(&mut joiner, minute);
        let client = of("198.51.100.1:1", 3);
        assert!(!joiner.admit(&client, minute));
        let hours = start + Duration::from_hours(5);
        flood(&mut joiner, hours);
        assert!(joiner.admit(&client, hours));
        assert!(!joiner.admit(&client, hours));
    }
}

/// A flood of addresses that goes on for hours: the number of its records stays bounded.
#[test]
fn first_endings_are_bounded_as_well() {
    let (mut joiner, start) = (Joiner::default(), Instant::now());
    let mut recorded = 0;
    for number in 0..15_000_u32 {
        let addr = std::net::Ipv4Addr::from_bits(0x0a00_0000 + number);
        let record = ending("a", &format!("{addr}:1"), number.into());
        let now = start + Duration::from_millis(960 * u64::from(number));
        recorded += u64::from(joiner.admit(&record, now));
        assert!(joiner.clients <= MAX_CLIENTS);
    }
    let minutes = 4 * 60;
    assert!(recorded <= 1024 + 200 + minutes * 20 + 2, "{recorded}");
    assert!(recorded >= minutes * 20, "{recorded}");
}

#[test]
fn what_the_application_let_in_is_joined_far_later_and_never_across_clients() {
    let (mut joiner, now) = (Joiner::default(), Instant::now());
    let admitted = |client: &str| {
        with(&ending("a", client, 1), |record| {
            record.phase = Phase::Open;
            record.dialect = Some(
                OpenClawFacts {
                    result: ConnectResult::Accepted,
                    ..OpenClawFacts::default()
                }
                .into(),
            );
        })
    };
    // A stranger's flood of the same rule does not reduce their budget.
    alone(&mut joiner, &ending("a", "192.0.2.1:5", 1), 1000, now);
    let mut recorded = 0;
    for host in 0..=255 {
        let record = admitted(&format!("192.0.2.{host}:1"));
        recorded += alone(&mut joiner, &record, 20, now);
    }
    assert_eq!(recorded, 256 * 20);
    // Nor do they use the budget for the first endings of strangers.
    assert_eq!(joiner.rules[&Kind::Websocket]["a"].firsts.used, ONE);
    assert_eq!(
        alone(&mut joiner, &admitted("198.51.100.1:1"), 1000, now),
        500
    );
}

#[test]
fn every_ending_is_recorded_or_counted() {
    let (mut joiner, start) = (Joiner::default(), Instant::now());
    let (mut seen, mut state) = (0, 7_u64);
    for number in 0..20_000_u64 {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        let now = start + Duration::from_millis(number * 20);
        let (rule, host) = (
            ["a", "b", "c"][(state >> 33) as usize % 3],
            (state >> 40) % 50,
        );
        let mut record = ending(rule, &format!("192.0.2.{host}:1"), number.into());
        if state >> 50 & 1 == 1 {
            record = with(&record, |record| record.phase = Phase::Open);
        }
        seen += u64::from(joiner.admit(&record, now));
        while let Some(record) = joiner.due(now) {
            seen += count(&record);
        }
    }
    seen += rest(&mut joiner)
        .iter()
        .map(|record| count(record))
        .sum::<u64>();
    assert_eq!(seen, 20_000);
}
