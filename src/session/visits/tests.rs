use jiff::Timestamp;

use super::*;
use crate::session::party::Phase;
use crate::session::record::{FirstBytes, Kind, TimerFact, TimerKey, TransportEnd};

const CERTIFICATE: &str = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";

fn moment(ms: i64) -> Moment {
    Moment(Timestamp::from_millisecond(1_795_000_000_000 + ms).unwrap())
}

fn client(addr: &str, certificate: Option<&str>) -> ClientFacts {
    ClientFacts {
        addr: addr.to_owned(),
        tls: Some(ClientTls {
            certificate: certificate.map(str::to_owned),
            ..ClientTls::default()
        }),
        ..ClientFacts::default()
    }
}

/// A client that completes TLS and leaves.
fn leaves(addr: &str, at: i64) -> SessionRecord {
    let mut record = SessionRecord {
        kind: Kind::Connection,
        phase: Phase::Request,
        opened_at: moment(at),
        closed_at: moment(at + 3),
        client: client(addr, Some(CERTIFICATE)),
        ..SessionRecord::default()
    };
    record.close.transport.client = TransportEnd::Fin;
    record
}

fn silent(addr: &str, at: i64) -> SessionRecord {
    let mut record = leaves(addr, at);
    record.client.first_bytes = Some(FirstBytes::None);
    record.close.transport.client = TransportEnd::Local;
    record.close.timer = Some(TimerFact {
        key: TimerKey::RequestHead,
        limit_ms: 10_000,
        observed_ms: 10_000.0,
        at: moment(at + 10_000),
    });
    record
}

fn visit(visits: &mut Visits, record: &SessionRecord) -> VisitFacts {
    let context = visits.context(record).expect("it asked for nothing");
    *context.visits.expect("its visits")
}

/// The visit facts after the last of these visits.
fn after(times: impl IntoIterator<Item = i64>) -> VisitFacts {
    let mut visits = Visits::default();
    let all = times.into_iter();
    let facts = all.map(|at| visit(&mut visits, &leaves("192.0.2.7:50000", at)));
    facts.last().expect("a visit")
}

#[test]
fn a_client_that_tries_again_is_counted() {
    let mut visits = Visits::default();
    let first = visit(&mut visits, &leaves("192.0.2.7:50000", 0));
    assert_eq!((first.left_at_certificate, first.steady), (1, None));
    assert_eq!((first.asked_at, first.accepted_at), (None, None));
    let other = visit(&mut visits, &leaves("192.0.2.8:50000", 1000));
    assert_eq!(other.left_at_certificate, 1, "another address");
    let again = visit(&mut visits, &leaves("192.0.2.7:50001", 1300));
    assert_eq!(again.left_at_certificate, 2, "another port");
    let late = visit(&mut visits, &leaves("192.0.2.7:50002", 1300 + RETRY_MS));
    assert_eq!(
        late.left_at_certificate, 2,
        "the first one was too long ago"
    );
}

#[test]
fn who_asked_through_the_certificate_accepts_it() {
    let mut visits = Visits::default();
    visit(&mut visits, &leaves("192.0.2.7:50000", 0));
    visits.asked(&client("192.0.2.7:50001", Some(CERTIFICATE)), moment(500));
    let facts = visit(&mut visits, &leaves("192.0.2.7:50002", 1000));
    assert_eq!(facts.accepted_at, Some(moment(500)));
    assert_eq!(facts.left_at_certificate, 1, "it was trusted since");
    let facts = visit(&mut visits, &leaves("192.0.2.7:50002", 500 + REACH_MS));
    assert_eq!((facts.asked_at, facts.accepted_at), (None, None));
}

#[test]
fn another_certificate_and_another_address_say_nothing() {
    let mut visits = Visits::default();
    visits.asked(&client("192.0.2.7:50001", Some("another")), moment(0));
    visits.asked(&client("192.0.2.8:50001", Some(CERTIFICATE)), moment(0));
    // Over plain HTTP, and in a resumed session.
    visits.asked(&client("192.0.2.7:50001", None), moment(1));
    let facts = visit(&mut visits, &leaves("192.0.2.7:50002", 1000));
    assert_eq!(facts.accepted_at, None);
    assert_eq!(facts.asked_at, Some(moment(1)));
}

#[test]
fn a_name_that_no_certificate_has_is_accepted_for_itself_alone() {
    let mut visits = Visits::default();
    let under = |name: &str, found: SniMatch| {
        let mut client = client("192.0.2.7:50001", Some(CERTIFICATE));
        let tls = client.tls.as_mut().unwrap();
        tls.sni = Some(crate::session::text::PeerText::new(name, 255));
        tls.sni_match = Some(found);
        client
    };
    visits.asked(&under("claw.lan", SniMatch::Exact), moment(0));
    let mut record = leaves("192.0.2.7:50002", 1000);
    record.client = under("other.lan", SniMatch::Default);
    assert_eq!(visit(&mut visits, &record).accepted_at, None);
    visits.asked(&under("other.lan", SniMatch::Default), moment(2000));
    record.opened_at = moment(3000);
    assert_eq!(visit(&mut visits, &record).accepted_at, Some(moment(2000)));
}

#[test]
fn a_silent_client_is_no_visit_but_its_requests_count() {
    let mut visits = Visits::default();
    // A browser opens its spare connection before the request goes out on another one.
    visits.asked(&client("192.0.2.7:50001", None), moment(50));
    let facts = visit(&mut visits, &silent("192.0.2.7:50002", 0));
    assert_eq!(facts.asked_at, Some(moment(50)));
    assert_eq!((facts.left_at_certificate, facts.steady), (0, None));
    let facts = visit(&mut visits, &leaves("192.0.2.7:50002", 1000));
    assert_eq!(facts.left_at_certificate, 1);
    let mut with_bytes = silent("192.0.2.7:50002", 0);
    with_bytes.client.bytes_read = Some(3);
    assert_eq!(visits.context(&with_bytes), None);
    let mut request = leaves("192.0.2.7:50002", 0);
    request.kind = Kind::Http;
    assert_eq!(visits.context(&request), None);
}

#[test]
fn a_health_check_comes_at_even_intervals() {
    let facts = after((0..5).map(|number| number * 2000 + number % 2 * 3));
    let steady = facts.steady.expect("even intervals");
    assert_eq!((steady.every_ms, steady.intervals), (2003, 4));
    assert!(steady.chance < 1e-6, "{steady:?}");
    let facts = after((0..8).map(|number| number * 30_000 + number % 3 * 200));
    assert!(facts.steady.is_some_and(|it| it.chance < 1e-6));
    assert_eq!(after([0, 2000, 4000]).steady, None, "two intervals");
    // The tap was restarted, so earlier visits are forgotten.
    let facts = after([0, 2000, 4000, 11_000, 13_000, 15_000, 17_000, 19_000]);
    assert_eq!(facts.steady.map(|it| it.intervals), Some(4));
}

#[test]
fn a_client_that_waits_longer_each_time_is_no_health_check() {
    let backoff = [
        1, 2, 4, 8, 16, 30, 30, 30, 30, 30, 30, 30, 30, 30, 30, 30, 30,
    ];
    let mut at = 0;
    let times = backoff.map(|seconds| {
        at += seconds * 1000;
        at
    });
    assert_eq!(after(times).steady, None);
    // Retries at once, again and again.
    assert_eq!(after((0..12).map(|number| number * 40)).steady, None);
}

#[test]
fn a_stranger_pushes_out_nobody() {
    let mut visits = Visits::default();
    let mine = client("[2001:db8:1::7]:50000", Some(CERTIFICATE));
    visits.asked(&mine, moment(0));
    visit(&mut visits, &leaves("[2001:db8:1::7]:50000", 0));
    for number in 0..10_000 {
        let stranger = format!("[2001:db8:666::{number:x}]:50000");
        visits.asked(&client(&stranger, Some(CERTIFICATE)), moment(number));
        visit(&mut visits, &leaves(&stranger, number));
    }
    let facts = visit(&mut visits, &leaves("[2001:db8:1::7]:50001", 20_000));
    assert_eq!(facts.accepted_at, Some(moment(0)));
    assert!(visits.asked.entries.len() <= 1 + MAX_OF_NETWORK);
    assert!(visits.left.entries.len() <= 1 + MAX_OF_NETWORK);

    // Clients that connect and leave do not evict those that send requests.
    for number in 0..5000_u32 {
        let stranger = std::net::Ipv4Addr::from(0x0a00_0000 + number);
        visit(&mut visits, &leaves(&format!("{stranger}:1"), 30_000));
    }
    assert_eq!(visits.left.entries.len(), MAX);
    let facts = visit(&mut visits, &leaves("[2001:db8:1::7]:50001", 40_000));
    assert_eq!(facts.accepted_at, Some(moment(0)));
}

#[test]
fn what_is_kept_of_one_address_is_bounded() {
    let mut visits = Visits::default();
    for number in 0..100 {
        let certificate = number.to_string();
        visits.asked(&client("192.0.2.7:1", Some(&certificate)), moment(number));
        visit(&mut visits, &leaves("192.0.2.7:1", number));
    }
    let asked = visits.asked.entries.values().next().unwrap();
    assert_eq!(asked.1.through.len(), MAX_CERTIFICATES);
    let left = visits.left.entries.values().next().unwrap();
    assert_eq!(left.1.at.len(), MAX_VISITS);
    // The counter matches the stored entries.
    let facts = visit(&mut visits, &leaves("192.0.2.7:1", 200));
    assert_eq!(facts.left_at_certificate as usize, MAX_VISITS);
}

/// Distribution of random times.
#[derive(Clone, Copy, Debug)]
enum Law {
    Uniform,
    Exponential,
    LogUniform,
}

fn interval(law: Law, random: f64) -> i64 {
    let ms = match law {
        Law::Uniform => 60_000.0 * random,
        Law::Exponential => -20_000.0 * (1.0 - random).ln(),
        Law::LogUniform => 1200.0 * 50.0_f64.powf(random),
    };
    #[expect(clippy::cast_possible_truncation, reason = "at most some minutes")]
    let ms = ms as i64;
    ms
}

/// The same numbers in every run: a one-in-a-million case must not fail the test now and then.
struct Random(u64);

impl Random {
    /// `SplitMix64`, from 0 up to 1.
    fn next(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        f64::from(u32::try_from((mixed ^ (mixed >> 31)) >> 32).unwrap())
            / (f64::from(u32::MAX) + 1.0)
    }
}

#[test]
fn random_times_are_no_schedule() {
    for law in [Law::Uniform, Law::Exponential, Law::LogUniform] {
        for seed in 0..1000 {
            let mut random = Random(seed);
            let mut visits = Visits::default();
            let mut at = 0;
            for _ in 0..30 {
                at += interval(law, random.next());
                let facts = visit(&mut visits, &leaves("192.0.2.7:50000", at));
                let chance = facts.steady.map_or(1.0, |steady| steady.chance);
                assert!(chance >= 1e-6, "{law:?} {seed}: {facts:?}");
            }
        }
    }
}

#[test]
fn a_schedule_that_is_a_little_late_each_time_is_found() {
    for every in [1000, 2000, 5000, 10_000, 30_000, 60_000, 300_000] {
        for seed in 0..200 {
            let mut random = Random(seed);
            let late = every / 100;
            let facts = after((0..8).map(|number| {
                number * every + interval(Law::Uniform, random.next()) * late / 60_000
            }));
            let chance = facts.steady.map_or(1.0, |steady| steady.chance);
            assert!(chance < 1e-6, "{every} {seed}: {facts:?}");
        }
    }
}
