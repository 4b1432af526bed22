//! Attempts that their client cancels again and again, and whether the gateway answers meanwhile.

use super::*;
use crate::session::record::PhaseBegan;
use crate::session::record::context::Cancels;

const MINUTE: i64 = 60_000;

/// An attempt that its client cancelled.
fn cancelled(number: u128, opened: i64) -> SessionRecord {
    let mut record = session(number, opened, opened + 3000);
    record.phase = Phase::Upgrade;
    record.duration_ms = 3000.0;
    record.frames = None;
    record.close.transport = crate::session::record::close::TransportEnds::default();
    record.close.transport.client = TransportEnd::Fin;
    record
}

/// An attempt of this address that got this status at that time, after 40 ms, and whose session
/// ended later.
fn answered(number: u128, ip: &str, status: u16, (at_ms, closed): (i64, i64)) -> SessionRecord {
    let mut record = session(number, at_ms - 40, closed);
    record.client.addr = format!("{ip}:4000");
    let gateway = record.gateway.as_mut().unwrap();
    gateway.status = Some(status);
    gateway.upgrade_ms = Some(40.0);
    if status == 101 {
        record.phases = vec![PhaseBegan {
            phase: Phase::Handshake,
            at: at(at_ms),
        }];
    } else {
        record.phase = Phase::Upgrade;
        record.frames = None;
        record.close.transport = crate::session::record::close::TransportEnds::default();
    }
    record
}

const SAME: &str = "203.0.113.9";
const OTHER: &str = "203.0.113.77";

/// The cancels of a third attempt, after two cancelled attempts and these others.
fn third(others: &[SessionRecord], living: &Living) -> Cancels {
    let mut memory = Memory::default();
    let last = cancelled(3, 62 * MINUTE);
    for record in others {
        memory.note(record);
    }
    for record in [
        cancelled(1, 60 * MINUTE),
        cancelled(2, 61 * MINUTE),
        last.clone(),
    ] {
        memory.note(&record);
    }
    let cancels = memory.context(&last, living).unwrap().cancels.unwrap();
    assert_eq!(cancels.count, 3);
    cancels
}

fn seen(others: &[SessionRecord]) -> (u32, u32) {
    let cancels = third(others, &Living::default());
    (cancels.answered, cancels.others)
}

#[test]
fn an_answer_counts_when_it_came_and_not_when_its_session_ended() {
    let now = 61 * MINUTE;
    assert_eq!(seen(&[]), (0, 0));
    assert_eq!(seen(&[answered(7, SAME, 101, (now, now + 10))]), (1, 0));
    assert_eq!(seen(&[answered(7, OTHER, 101, (now, now + 10))]), (0, 1));
    // Its 101 was sent an hour ago.
    assert_eq!(seen(&[answered(7, SAME, 101, (100, now))]), (0, 0));
    assert_eq!(seen(&[answered(7, OTHER, 101, (100, now))]), (0, 0));
}

#[test]
fn every_status_is_an_answer() {
    let now = 61 * MINUTE;
    for status in [302, 401, 403, 503] {
        let answers = [
            answered(7, SAME, status, (now, now)),
            answered(8, OTHER, status, (now, now)),
        ];
        assert_eq!(seen(&answers), (1, 1), "{status}");
        let cancels = third(&answers, &Living::default());
        assert_eq!(cancels.others_ms.unwrap().max, 40, "{status}");
    }
    let mut refused = answered(7, SAME, 403, (now, now));
    refused.gateway.as_mut().unwrap().status = None;
    assert_eq!(seen(&[refused]), (0, 0), "it was no answer of the gateway");
}

#[test]
fn open_sessions_were_answered_too() {
    let with = |same_client, is_tunnel, at_ms| {
        let answers = vec![Answer {
            same_client,
            at: at(at_ms),
            waited_ms: 70,
            is_tunnel,
        }];
        let living = Living {
            answers,
            ..Living::default()
        };
        let cancels = third(&[], &living);
        (cancels.answered, cancels.others)
    };
    let (recent, old) = (61 * MINUTE, MINUTE);
    assert_eq!(with(true, true, recent), (1, 0));
    assert_eq!(with(true, false, recent), (1, 0));
    assert_eq!(with(false, true, recent), (0, 1));
    // A tunnel that is hours old shows that its address is answered, but not how long an answer
    // takes now.
    assert_eq!(with(true, true, old), (1, 0));
    assert_eq!(with(true, false, old), (0, 0));
    assert_eq!(with(false, true, old), (0, 0));
}

/// A browser's spare connection is open for seconds before the request that it is used for.
#[test]
fn the_wait_begins_with_the_request() {
    let mut memory = Memory::default();
    let mut last = SessionRecord::default();
    for number in 1..=3_u8 {
        let opened = i64::from(60 + number) * MINUTE;
        last = cancelled(u128::from(number), opened);
        last.phases = vec![PhaseBegan {
            phase: Phase::Dial,
            at: at(opened + 2800),
        }];
        memory.note(&last);
    }
    let cancels = memory.context(&last, &Living::default()).unwrap().cancels;
    let waited = cancels.unwrap().waited_ms;
    assert_eq!((waited.min, waited.max), (200, 200));
}
