//! Many sessions that end at random ages, and a timer, through the program: no verdict blames a
//! party for chance.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::time::Duration;

use tokio::task::JoinSet;
use wstap::session::SessionRecord;
use wstap::session::record::Confidence;

use crate::peers::{Via, echo, leaves_after};
use crate::support::client::connect_from;
use crate::support::dice::Dice;
use crate::support::records::rule;
use crate::support::tap::{Face, Setup, Tap};

const CLIENTS: u16 = 300;

/// Ages between 1.2 s and 8 s, equally many per doubling.
fn random_ages(test: &str) -> Vec<Duration> {
    let mut dice = Dice::seeded(test);
    let one = |_| {
        let part = f64::from(u32::try_from(dice.below(1 << 20)).unwrap()) / f64::from(1 << 20);
        Duration::from_secs_f64(1.2 * (8.0_f64 / 1.2).powf(part))
    };
    (0..CLIENTS).map(one).collect()
}

/// Each client has its own address.
fn address(number: u16) -> Ipv4Addr {
    let [high, low] = number.to_be_bytes();
    Ipv4Addr::new(127, 0, 10 + high, low)
}

/// The rules of all these sessions, with their counts.
async fn rules(tap: &Tap) -> BTreeMap<String, usize> {
    let records = tap.websockets(usize::from(CLIENTS)).await;
    let mut counts = BTreeMap::new();
    for record in &records {
        *counts.entry(rule(record).to_owned()).or_default() += 1;
    }
    counts
}

#[tokio::test]
async fn clients_that_reset_at_random_ages_are_no_cadence() {
    let peer = echo::start(&Via::Plain).await;
    let tap = Setup::before(&peer).start().await;
    let mut clients = JoinSet::new();
    for (number, age) in (0..CLIENTS).zip(random_ages("clients_that_reset_at_random_ages")) {
        let to = tap.addr(Face::Plain);
        clients.spawn(async move {
            let mut conn = connect_from(address(number), to).await;
            conn.open("/").await;
            tokio::time::sleep(age).await;
            conn.abort();
        });
    }
    clients.join_all().await;
    let expected = BTreeMap::from([("client.left.reset".to_owned(), usize::from(CLIENTS))]);
    assert_eq!(rules(&tap).await, expected);
}

#[tokio::test]
async fn sessions_that_the_gateway_resets_at_random_ages_are_no_crash_and_no_cadence() {
    let ages = random_ages("sessions_that_the_gateway_resets_at_random_ages");
    let peer = leaves_after::start(&Via::Plain, ages, true).await;
    let tap = Setup::before(&peer).start().await;
    let mut clients = JoinSet::new();
    for number in 0..CLIENTS {
        let to = tap.addr(Face::Plain);
        clients.spawn(async move {
            let mut conn = connect_from(address(number), to).await;
            conn.open("/").await;
            conn.frames_to_end().await;
        });
    }
    clients.join_all().await;
    let expected = BTreeMap::from([("gateway.left.reset".to_owned(), usize::from(CLIENTS))]);
    assert_eq!(rules(&tap).await, expected);
}

/// Sessions one after the other, each cut at this age.
async fn cut_at(age: Duration, count: u16) -> Vec<SessionRecord> {
    /// Ends within a second of each other count once.
    const APART: Duration = Duration::from_millis(1100);
    let peer = leaves_after::start(&Via::Plain, vec![age], false).await;
    let tap = Setup::before(&peer).start().await;
    let mut clients = JoinSet::new();
    let mut every = tokio::time::interval(APART);
    for number in 0..count {
        every.tick().await;
        let mut conn = connect_from(address(number), tap.addr(Face::Plain)).await;
        clients.spawn(async move {
            conn.open("/").await;
            conn.frames_to_end().await;
        });
    }
    clients.join_all().await;
    tap.websockets(usize::from(count)).await
}

#[tokio::test]
async fn a_timer_is_found_and_says_how_far_it_is_from_chance() {
    const CUTS: u16 = 14;
    let records = cut_at(Duration::from_secs(4), CUTS).await;
    // Judged a second after its end, one may know of the end after it.
    for record in &records[..2] {
        assert_eq!(rule(record), "gateway.left.open");
    }
    let last = records.last().unwrap();
    let verdict = last.verdict.as_ref().unwrap();
    assert_eq!(verdict.rule, "hop.fault.idle_cadence", "{verdict:#?}");
    // It may be a limit of an unknown gateway.
    assert_eq!(verdict.confidence, Confidence::Possible);
    let cadence = last.context.as_ref().unwrap().cadence.unwrap();
    assert_eq!(cadence.compared, u32::from(CUTS));
    assert!(cadence.one_in.unwrap() >= 1_000_000, "{cadence:?}");
    assert_eq!(&wstap::verdict::decide(last), verdict);
}
