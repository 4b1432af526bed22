//! Sessions that are lost within one second, and the gateway's processes.

use super::*;

#[test]
fn sessions_lost_within_a_second_are_lost_together() {
    let records = vec![
        session(0, 0, 10_000),
        session(1, 0, 50_000),
        session(2, 3_000, 50_400),
        session(3, 9_000, 50_900),
    ];
    assert_eq!(last_context(&records).lost_together, 2);
}

#[test]
fn what_was_as_silent_is_counted_among_what_was_lost_together() {
    let silent_since = |number, last: i64| {
        let mut record = session(number, 0, 50_000);
        let frames = record.frames.as_mut().unwrap();
        frames.to_client.last_at = Some(at(last));
        record
    };
    let records = vec![
        silent_since(0, 20_000),
        silent_since(1, 20_300),
        silent_since(2, 49_000),
        silent_since(3, 20_100),
    ];
    let context = last_context(&records);
    assert_eq!((context.lost_together, context.lost_alike), (3, 2));
    // One second of silence does not indicate a timer.
    let busy = last_context(&records[..3]);
    assert_eq!((busy.lost_together, busy.lost_alike), (2, 0));
}

/// Losses at a steady rate, one every so many milliseconds, and then several at once.
fn after_losses_every(gap: i64, at_once: u32) -> ContextFacts {
    let mut records: Vec<_> = (0..200_u32)
        .map(|nth| {
            let opened = i64::from(nth) * gap;
            session(u128::from(nth), opened, opened + 5000)
        })
        .collect();
    let end = 201 * gap + 5000;
    let last = (0..at_once).map(|nth| session(1000 + u128::from(nth), 0, end + i64::from(nth)));
    records.extend(last);
    last_context(&records)
}

#[test]
fn what_is_lost_in_any_second_is_not_lost_together() {
    // At a steady five per second, six in one second are normal.
    let busy = after_losses_every(200, 6);
    assert!(busy.lost_together > 5);
    assert!(busy.lost_together_one_in.unwrap() < 100, "{busy:?}");
    // At one every ten seconds, six at once are not.
    let rare = after_losses_every(10_000, 6);
    assert_eq!(rare.lost_together, 5);
    assert!(
        rare.lost_together_one_in.unwrap() > ONE_EVENT / 100,
        "{rare:?}"
    );
    let more = after_losses_every(10_000, 9);
    assert!(more.lost_together_one_in.unwrap() > ONE_EVENT, "{more:?}");
    // Before the first loss, there is no usual rate.
    let first = last_context(&[
        session(0, 0, 5000),
        session(1, 0, 5010),
        session(2, 0, 5020),
    ]);
    assert_eq!((first.lost_beside, first.lost_together_one_in), (0, None));
}

/// A program that runs for one to three seconds, many times in parallel.
#[test]
fn ends_that_spread_over_two_seconds_are_not_lost_together() {
    let records = |count: u32| -> Vec<_> {
        let gap = 2000 / i64::from(count);
        let mut lives: Vec<_> = (0..count)
            .map(|nth| session(u128::from(nth), 0, 1000 + i64::from(nth) * gap))
            .collect();
        // Judge one from the middle, after all have ended.
        let middle = lives.len() / 2;
        let last = lives.len() - 1;
        lives.swap(middle, last);
        lives
    };
    for count in [4, 10, 1000] {
        let context = last_context(&records(count));
        assert!(context.lost_together_one_in.unwrap() < 100, "{context:?}");
    }
}

/// The first crash must not raise the usual rate and thereby hide the second.
#[test]
fn an_earlier_crash_is_not_a_rate() {
    let records: Vec<_> = (0..9_u32)
        .map(|nth| {
            let end = 100_000 * i64::from(1 + nth / 3) + i64::from(nth % 3);
            session(u128::from(nth), 0, end)
        })
        .collect();
    let context = last_context(&records);
    assert_eq!((context.lost_together, context.lost_beside), (2, 6));
    let one_in = context.lost_together_one_in.unwrap();
    assert!(one_in >= ONE_EVENT, "{context:?}");
}

#[test]
fn a_process_that_lets_somebody_in_afterwards_has_not_ended() {
    let heard = |boot: &str, opened: i64| {
        let records = [
            of_process(boot, session(1, opened, opened + 100)),
            of_process("a", session(0, 0, 50_000)),
        ];
        last_context(&records).process_heard_at
    };
    assert_eq!(heard("a", 50_300), Some(at(50_300)));
    // The other order, or another process.
    assert_eq!(heard("a", 49_000), None);
    assert_eq!(heard("b", 50_300), None);
}

#[test]
fn two_gateways_behind_one_name_alternate() {
    let with = |number: u32, boot: &str| {
        let opened = i64::from(number) * 10_000;
        of_process(boot, session(u128::from(number), opened, opened + 1000))
    };
    let restart = last_context(&[with(0, "a"), with(1, "b"), with(2, "b")]);
    assert_eq!((restart.boots.len(), restart.boots_alternate), (2, false));
    let two = last_context(&[with(0, "a"), with(1, "b"), with(2, "a")]);
    assert!(two.boots_alternate);
}

/// The record of a client that is slow to close comes after the records of the next process.
#[test]
fn the_order_of_records_makes_no_two_gateways() {
    let records = vec![
        of_process("a", session(0, 0, 10_000)),
        of_process("b", session(1, 17_000, 18_000)),
        of_process("a", session(2, 2000, 40_000)),
        of_process("b", session(3, 41_000, 42_000)),
    ];
    let context = last_context(&records);
    let ids: Vec<&str> = context.boots.iter().map(|boot| boot.id.as_str()).collect();
    assert_eq!((ids, context.boots_alternate), (vec!["a", "b"], false));
}

#[test]
fn processes_that_end_one_after_the_other_are_counted() {
    let of = |number: u32, boot: &str| {
        let at = i64::from(number) * 20_000;
        of_process(boot, session(u128::from(number), at, at + 2_100))
    };
    let crashes = last_context(&[of(0, "a"), of(1, "b"), of(2, "c")]);
    assert_eq!(crashes.processes_lost, 3);
    let cuts = last_context(&[of(0, "a"), of(1, "a"), of(2, "a")]);
    assert_eq!(cuts.processes_lost, 1);
    // Two gateways that answer in turn have not ended.
    let two = last_context(&[of(0, "a"), of(1, "b"), of(2, "a")]);
    assert_eq!(two.processes_lost, 0);
}

/// A process that lost one session and went on, or that announced its shutdown, did not crash.
#[test]
fn processes_that_went_on_or_said_so_did_not_end_in_a_loop() {
    let of = |number: u128, boot: &str, opened: i64, closed: i64| {
        of_process(boot, session(number, opened, closed))
    };
    let went_on = |boot: &str, number, opened| {
        let mut later = of(number, boot, opened, opened + 3000);
        later.close.transport.gateway = TransportEnd::Local;
        later
    };
    let records = vec![
        of(0, "a", 0, 2000),
        went_on("a", 1, 5000),
        of(2, "b", 20_000, 22_000),
        went_on("b", 3, 25_000),
        of(4, "c", 40_000, 42_000),
    ];
    assert_eq!(last_context(&records).processes_lost, 1);
    let announced = |boot: &str, number, opened| {
        let mut announced = of(number, boot, opened, opened + 1000);
        announced.close.gateway = Some(CloseSeen {
            code: Some(CloseCode(1012)),
            reason: PeerText::new("service restart", 64),
            at: announced.closed_at,
            breaks: Vec::new(),
        });
        announced
    };
    let records = vec![
        of(0, "a", 0, 2000),
        announced("a", 1, 1000),
        of(2, "b", 20_000, 22_000),
        announced("b", 3, 21_000),
        of(4, "c", 40_000, 42_000),
    ];
    assert_eq!(last_context(&records).processes_lost, 1);
}

/// A session at a gateway without boot ids, whose process began at this time according to its
/// uptime.
fn of_uptime(began: i64, mut record: SessionRecord) -> SessionRecord {
    record = of_process("", record);
    let opened = record.opened_at;
    let dialect = openclaw(&mut record);
    let uptime = opened.millis_since(at(began));
    let server = dialect.server.as_mut().unwrap();
    server.boot_id = None;
    server.version = Some(PeerText::new("2026.5.7", 64));
    server.uptime_ms = Some(u64::try_from(uptime).unwrap());
    dialect.protocol.agreed = Some(3);
    record
}

#[test]
fn processes_without_boot_ids_are_told_apart_by_their_uptime() {
    // Read over the network, the uptime is slightly off.
    let one = [
        of_uptime(0, session(0, 60_000, 61_000)),
        of_uptime(800, session(1, 70_000, 71_000)),
        of_uptime(200, session(2, 80_000, 81_000)),
    ];
    let context = last_context(&one);
    assert_eq!((context.boots.len(), context.boots_alternate), (1, false));
    assert_eq!(context.boots[0].sessions, 3);
    assert!(context.boots[0].is(None, Some(at(1500))));
    assert!(!context.boots[0].is(None, Some(at(65_000))));
    let restarted = [
        of_uptime(0, session(0, 60_000, 61_000)),
        of_uptime(65_000, session(1, 70_000, 71_000)),
        of_uptime(65_000, session(2, 80_000, 81_000)),
    ];
    let context = last_context(&restarted);
    assert_eq!((context.boots.len(), context.boots_alternate), (2, false));
    let two = [
        of_uptime(0, session(0, 60_000, 61_000)),
        of_uptime(30_000, session(1, 70_000, 71_000)),
        of_uptime(0, session(2, 80_000, 81_000)),
    ];
    assert!(last_context(&two).boots_alternate);
}

#[test]
fn a_process_without_boot_id_that_answers_afterwards_has_not_ended() {
    let lost = of_uptime(0, session(0, 60_000, 61_000));
    let later = of_uptime(100, session(1, 62_000, 63_000));
    let mut memory = Memory::default();
    memory.note(&lost);
    memory.note(&later);
    let context = memory.context(&lost, &Living::default()).unwrap();
    assert_eq!(context.process_heard_at, Some(at(62_000)));
}

#[test]
fn the_gateways_release_is_remembered_without_boot_ids_and_uptimes() {
    let mut known = of_uptime(0, session(0, 60_000, 61_000));
    let server = openclaw(&mut known).server.as_mut().unwrap();
    server.uptime_ms = None;
    let refused = session(1, 70_000, 71_000);
    let release = last_context(&[known, refused]).release.unwrap();
    assert_eq!(release.version.unwrap().as_str(), "2026.5.7");
    assert_eq!((release.protocol, release.has_boot_id), (Some(3), false));
    let alone = last_context(&[session(0, 0, 1000)]);
    assert_eq!(alone.release, None);
}
