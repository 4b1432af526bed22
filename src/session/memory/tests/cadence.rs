//! Finds timers among random ends.

use super::*;
use crate::session::record::context::{Cadence, Measure};
use crate::session::record::dialect::ShutdownFacts;

/// Sessions that begin ten seconds apart and have these ages; silent since they began.
fn of_ages(ages: &[i64]) -> Vec<SessionRecord> {
    let mut opened = 0;
    let one = |(number, age): (usize, &i64)| {
        opened += 10_000 + age;
        session(number as u128, opened - age, opened)
    };
    ages.iter().enumerate().map(one).collect()
}

fn cadence_of(records: &[SessionRecord]) -> Option<Cadence> {
    last_context(records).cadence
}

const CUTS: [i64; 8] = [
    60_004, 60_010, 60_001, 60_020, 60_007, 60_012, 60_003, 60_009,
];

#[test]
fn cuts_at_one_age_are_a_cadence_once_they_are_far_more_than_chance() {
    let records = of_ages(&CUTS);
    assert_eq!(cadence_of(&records[..2]), None);
    assert_eq!(
        cadence_of(&records[..3]),
        None,
        "three within 10 ms of 60 s may be chance"
    );
    let found = cadence_of(&records[..6]).unwrap();
    assert_eq!((found.cases, found.known_s), (6, Some(60)));
    assert_eq!((found.measure, found.leg), (Measure::Age, Leg::Gateway));
    assert_eq!((found.compared, found.waves), (6, 0));
    assert!(found.one_in.unwrap() >= FAR_FROM_CHANCE);
    let more = cadence_of(&records).unwrap();
    assert!(more.one_in > found.one_in, "each cut makes it surer");
    assert!((60_001..=60_020).contains(&more.period_ms));
}

#[test]
fn more_precise_cuts_are_known_earlier() {
    let to_the_millisecond = of_ages(&[350_000, 350_000, 350_000, 350_001]);
    assert!(cadence_of(&to_the_millisecond).is_some());
    let within_half_a_second = of_ages(&[60_100, 60_400, 60_000, 60_500, 60_250]);
    assert_eq!(cadence_of(&within_half_a_second), None);
}

#[test]
fn ages_that_are_only_alike_are_no_cadence() {
    let narrow = [
        9800, 10_050, 10_200, 9900, 10_120, 9950, 10_010, 10_300, 9700, 10_080,
    ];
    assert_eq!(cadence_of(&of_ages(&narrow)), None);
}

#[test]
fn a_session_that_is_not_among_the_cuts_has_no_cadence() {
    let mut ages = CUTS.to_vec();
    ages.push(47_000);
    assert_eq!(cadence_of(&of_ages(&ages)), None);
}

/// Vanished peers are all detected after the same silence: that timer is our own.
#[test]
fn what_our_keepalive_gave_up_is_no_cadence() {
    let mut records = of_ages(&CUTS);
    assert!(cadence_of(&records).is_some());
    let given_up = TransportEnd::Timeout;
    records[7].close.transport.gateway = given_up;
    assert_eq!(cadence_of(&records), None);
    records[7].close.transport.gateway = TransportEnd::Fin;
    for record in &mut records[..6] {
        record.close.transport.gateway = given_up;
    }
    assert_eq!(cadence_of(&records), None);
}

#[test]
fn what_was_said_right_before_the_end_does_not_count() {
    let busy = |silence| -> Vec<_> {
        let records = of_ages(&CUTS).into_iter();
        records.map(|record| silent_for(silence, record)).collect()
    };
    assert_eq!(cadence_of(&busy(300)), None);
    assert!(cadence_of(&busy(5000)).is_some());
}

#[test]
fn handshakes_and_announced_ends_do_not_count() {
    let mut records = of_ages(&CUTS);
    for record in &mut records {
        record.phase = Phase::Handshake;
    }
    assert_eq!(cadence_of(&records), None, "health checks end there");
    let mut records = of_ages(&CUTS);
    for record in &mut records {
        record.dialect = Some(
            OpenClawFacts {
                shutdown: Some(ShutdownFacts {
                    reason: None,
                    restart_expected_ms: None,
                    at: record.closed_at,
                }),
                ..OpenClawFacts::default()
            }
            .into(),
        );
    }
    assert_eq!(cadence_of(&records), None);
}

#[test]
fn another_leg_does_not_count() {
    let mut records: Vec<_> = of_ages(&CUTS).into_iter().map(by_client).collect();
    assert_eq!(cadence_of(&records).unwrap().clients, 8);
    let last = of_ages(&CUTS).pop().unwrap();
    *records.last_mut().unwrap() = last;
    assert_eq!(cadence_of(&records), None);
}

/// `timeout 60 COMMAND` is not a proxy.
#[test]
fn a_lone_client_whose_sessions_last_equally_long_has_a_limit_of_its_own() {
    let one_client = |silences: &[i64]| -> Vec<_> {
        let records = of_ages(&CUTS).into_iter().zip(silences.iter().cycle());
        records
            .map(|(record, silence)| {
                let mut record = by_client(silent_for(*silence, record));
                record.client.addr = "203.0.113.9:40000".to_owned();
                record
            })
            .collect()
    };
    let chatty = one_client(&[2000, 9000, 4000, 15_000, 6500, 3000, 11_000, 22_000]);
    assert_eq!(cadence_of(&chatty), None);
    // Proxies measure silence.
    let found = cadence_of(&one_client(&[59_990])).unwrap();
    assert_eq!((found.measure, found.clients), (Measure::Silence, 1));
}

#[test]
fn deaths_of_one_moment_are_no_cadence() {
    let records: Vec<_> = (0..5).map(|n| session(n, 0, 60_000)).collect();
    let context = last_context(&records);
    assert_eq!((context.cadence, context.lost_together), (None, 4));
}

#[test]
fn deaths_of_one_moment_count_once() {
    // Three sessions that opened together are lost together, again and again.
    let rounds = (0..3_i64).flat_map(|round| (0..3_i64).map(move |nth| (round, nth)));
    let records: Vec<_> = (0..)
        .zip(rounds)
        .map(|(number, (round, nth))| {
            let start = round * 70_000 + nth * 10;
            session(number, start, start + 60_000)
        })
        .collect();
    assert_eq!(last_context(&records[..3]).cadence, None);
    assert_eq!(last_context(&records[..6]).cadence, None);
    assert_eq!(last_context(&records).cadence.unwrap().cases, 3);
}

/// Three sessions that begin together and are lost together, after this silence.
fn wave(first: u128, end: i64, silence: i64, boot: Option<&str>) -> Vec<SessionRecord> {
    let one = |nth: u32| {
        let begin = end - silence - 500;
        let late = i64::from(nth);
        let record = session(first + u128::from(nth), begin, end + late);
        let record = silent_for(silence + late, record);
        match boot {
            Some(boot) => of_process(boot, record),
            None => record,
        }
    };
    (0..3).map(one).collect()
}

#[test]
fn the_second_wave_after_equal_silence_is_a_cadence_if_the_process_went_on() {
    let first = wave(0, 30_000, 20_000, Some("a"));
    assert_eq!(cadence_of(&first), None, "once it may be a crash");
    let then = |second: Vec<SessionRecord>| cadence_of(&[first.clone(), second].concat());
    let found = then(wave(10, 60_000, 20_010, Some("a"))).unwrap();
    assert_eq!((found.waves, found.cases), (2, 2));
    let one_in = found.one_in.unwrap();
    assert!(
        (WAVES_ALIKE..10 * WAVES_ALIKE).contains(&one_in),
        "{one_in}"
    );
    assert_eq!((found.measure, found.leg), (Measure::Silence, Leg::Gateway));
    // Another process, so the first one had ended; or an unknown process.
    assert_eq!(then(wave(10, 60_000, 20_010, Some("b"))), None);
    assert_eq!(then(wave(10, 60_000, 20_010, None)), None);
    // Another silence, or one that is about as equal as chance makes it.
    assert_eq!(then(wave(10, 60_000, 23_000, Some("a"))), None);
    assert_eq!(then(wave(10, 60_000, 20_150, Some("a"))), None);
    // Some sessions lost in that second had not been silent.
    let mut mixed = wave(10, 60_000, 20_010, Some("a"));
    let busy = silent_for(3000, session(20, 50_000, 60_001));
    mixed.insert(0, of_process("a", busy));
    assert_eq!(then(mixed), None);
    // It was already silent when the first wave came, and survived it.
    assert_eq!(then(wave(10, 32_000, 20_010, Some("a"))), None);
}

#[test]
fn each_further_wave_makes_a_timer_surer() {
    let waves: Vec<_> = (0..4_u32)
        .zip([20_000, 20_008, 20_003, 20_006])
        .flat_map(|(nth, silence)| {
            let (first, end) = (u128::from(nth) * 10, i64::from(nth) * 700_000);
            wave(first, end, silence, Some("a"))
        })
        .collect();
    let found = [2, 3, 4].map(|count| {
        let found = cadence_of(&waves[..count * 3]).unwrap();
        (found.waves, found.one_in.unwrap())
    });
    assert_eq!(found.map(|(waves, _)| waves), [2, 3, 4]);
    assert!(
        found[0].1 < found[1].1 && found[1].1 < found[2].1,
        "{found:?}"
    );
    assert!(found[2].1 >= FAR_FROM_CHANCE, "{found:?}");
}

#[test]
fn the_more_waves_there_were_the_likelier_one_is_alike_by_chance() {
    let alike = [
        wave(0, 0, 20_000, Some("a")),
        wave(10, 70_000, 20_002, Some("a")),
    ];
    let before = |count: u32| -> Vec<_> {
        let other = |nth: u32| {
            let nth = i64::from(nth) + 1;
            let number = 100 + 10 * nth.unsigned_abs();
            wave(number.into(), -700_000 * nth, 3000 + 1000 * nth, Some("a"))
        };
        (0..count).rev().flat_map(other).collect()
    };
    let one_in = |count| {
        let records = [before(count), alike.concat()].concat();
        cadence_of(&records).and_then(|found| found.one_in)
    };
    assert!(one_in(0) > one_in(1) && one_in(1).is_some());
    assert_eq!(one_in(8), None);
}

/// All open sessions get the gateway's ticks at the same moment.
#[test]
fn equal_silence_where_several_end_in_any_second_is_no_wave() {
    let tick = |end: i64| end % 25_000;
    let records: Vec<_> = (0..400_u32)
        .map(|nth| {
            let end = 10_000 + i64::from(nth) * 250;
            of_process("a", silent_for(tick(end), session(u128::from(nth), 0, end)))
        })
        .collect();
    for count in 3..records.len() {
        assert_eq!(cadence_of(&records[..count]), None, "{count}");
    }
}

#[test]
fn waves_of_clients_need_several_clients() {
    let waves = [
        wave(0, 30_000, 20_000, Some("a")),
        wave(10, 60_000, 20_010, Some("a")),
    ];
    let many: Vec<_> = waves.concat().into_iter().map(by_client).collect();
    let found = cadence_of(&many).unwrap();
    assert_eq!((found.waves, found.clients, found.leg), (2, 3, Leg::Client));
    let mut one = many;
    for record in &mut one {
        record.client.addr = "203.0.113.9:40000".to_owned();
    }
    assert_eq!(
        cadence_of(&one),
        None,
        "a program that ends takes its sessions along"
    );
}

/// If data is sent only at the start, ages are as alike as silences.
#[test]
fn where_silence_and_age_are_as_alike_silence_is_told_and_age_named() {
    let with = |silence: &dyn Fn(usize, i64) -> i64| {
        let records = of_ages(&CUTS).into_iter().enumerate();
        let records: Vec<_> = records
            .map(|(nth, record)| silent_for(silence(nth, CUTS[nth]), record))
            .collect();
        cadence_of(&records).unwrap()
    };
    let both = with(&|_, age| age - 300);
    assert_eq!(both.measure, Measure::Silence);
    assert_eq!(both.same_age_ms, Some(60_009));
    // One session whose silence differs does not make it a limit on a connection's lifetime.
    let nearly = with(&|nth, age| if nth == 2 { age - 9000 } else { age - 300 });
    assert_eq!(
        (nearly.measure, nearly.cases, nearly.same_age_ms),
        (Measure::Silence, 7, Some(60_009))
    );
    // If silence explains few of them, only age is reported.
    let silences = [2000, 9000, 4000, 15_000, 6500, 3000, 11_000, 22_000];
    let age = with(&|nth, _| silences[nth]);
    assert_eq!((age.measure, age.same_age_ms), (Measure::Age, None));
    // If only silence is alike, only silence is reported.
    let ages: Vec<i64> = silences.iter().map(|more| 60_000 + 7 * more).collect();
    let records = of_ages(&ages).into_iter();
    let records: Vec<_> = records
        .zip(CUTS)
        .map(|(record, silence)| silent_for(silence, record))
        .collect();
    let silence = cadence_of(&records).unwrap();
    assert_eq!(
        (silence.measure, silence.same_age_ms),
        (Measure::Silence, None)
    );
}
