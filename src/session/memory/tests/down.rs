//! A gateway that is known to be shutting down.

use super::*;
use crate::session::record::close::TransportEnds;
use crate::session::record::dialect::ShutdownFacts;
use crate::session::record::{GatewayError, GatewayErrorKind};

/// Sessions that were not accepted yet get no event, and their Close comes last.
#[test]
fn a_shutdown_event_says_more_than_a_bare_close() {
    let with_shutdown = |number, ms, expected: Option<Option<u64>>| {
        let mut record = session(number, 0, ms);
        record.close.gateway = Some(CloseSeen {
            code: Some(CloseCode(1012)),
            reason: PeerText::new("service restart", 64),
            at: at(ms),
            breaks: Vec::new(),
        });
        record.dialect = Some(
            OpenClawFacts {
                shutdown: expected.map(|restart_expected_ms| ShutdownFacts {
                    reason: None,
                    restart_expected_ms,
                    at: at(ms - 5),
                }),
                ..OpenClawFacts::default()
            }
            .into(),
        );
        record
    };
    let mut refused = session(9, 12_000, 12_010);
    refused.close.transport = TransportEnds::default();
    let going_down = |said: Option<Option<u64>>| {
        let records = [
            with_shutdown(0, 10_000, said),
            with_shutdown(1, 10_020, None),
            refused.clone(),
        ];
        last_context(&records).going_down.unwrap()
    };
    let stops = |said| (going_down(said).stops, going_down(said).restart_expected_ms);
    assert_eq!(stops(Some(None)), (true, None));
    assert_eq!(stops(Some(Some(1500))), (false, Some(1500)));
    assert_eq!(stops(None), (false, None));
}

#[test]
fn one_loss_just_before_may_be_the_end_of_the_process() {
    let after = |ms: i64| {
        let mut refused = session(1, ms, ms);
        refused.close.transport = TransportEnds::default();
        last_context(&[session(0, 0, 10_000), refused]).going_down
    };
    assert_eq!(after(12_000).unwrap().lost, 1);
    assert_eq!(after(40_000), None);
}

fn surviving(survivors: u32) -> Living {
    Living {
        survivors,
        ..Living::default()
    }
}

fn announcement_at(ms: i64) -> GoingDown {
    announcement(Some((at(ms), Some(1500))), None).unwrap()
}

/// An upgrade that got no 101.
fn unanswered(opened: i64, failed: i64) -> SessionRecord {
    let mut record = session(999, opened, failed);
    record.close.transport = TransportEnds::default();
    record.frames = None;
    record.phase = Phase::Upgrade;
    record.gateway.as_mut().unwrap().error = Some(Box::new(GatewayError {
        kind: GatewayErrorKind::ResetBeforeStatus,
        detail: String::new(),
    }));
    record
}

fn going_down(announced: &[(&str, i64)], record: &SessionRecord) -> Option<GoingDown> {
    let mut memory = Memory::default();
    for (gateway, ms) in announced {
        memory.announce(gateway, None, announcement_at(*ms));
    }
    memory.context(record, &Living::default())?.going_down
}

#[test]
fn what_an_open_session_was_told_is_known_at_once() {
    let caller = unanswered(12_000, 12_020);
    let down = going_down(&[("http://gw", 10_000)], &caller).unwrap();
    assert_eq!(
        (down.at, down.announced, down.stops),
        (at(10_000), true, false)
    );
    // Survivors may still be waiting for their Close.
    let mut memory = Memory::default();
    memory.announce("http://gw", None, announcement_at(10_000));
    assert!(
        memory
            .context(&caller, &surviving(5))
            .unwrap()
            .going_down
            .is_some()
    );
}

#[test]
fn no_announcement_another_gateways_a_later_and_an_old_one_explain_nothing() {
    let caller = unanswered(12_000, 12_020);
    assert_eq!(going_down(&[], &caller), None);
    assert_eq!(going_down(&[("http://other", 10_000)], &caller), None);
    assert_eq!(going_down(&[("http://gw", 12_500)], &caller), None);
    let late = unanswered(75_000, 75_010);
    assert_eq!(going_down(&[("http://gw", 10_000)], &late), None);
}

#[test]
fn a_gateway_that_let_somebody_in_since_is_back() {
    let mut memory = Memory::default();
    memory.announce("http://gw", None, announcement_at(10_000));
    let caller = unanswered(25_000, 25_010);
    let down = |memory: &Memory| {
        memory
            .context(&caller, &Living::default())
            .unwrap()
            .going_down
    };
    assert!(down(&memory).is_some());
    // It was open before the announcement.
    let mut before = session(1, 5000, 24_000);
    before.close.transport.gateway = TransportEnd::Local;
    memory.note(&before);
    assert!(down(&memory).is_some());
    let mut since = session(2, 18_000, 20_000);
    since.close.transport.gateway = TransportEnd::Local;
    memory.note(&since);
    assert_eq!(down(&memory), None);
}

#[test]
fn one_announcement_to_many_sessions_is_one() {
    let mut announced = Announced::default();
    let bare = |ms| announcement(None, Some(at(ms))).unwrap();
    for nth in 0..100 {
        announced.note("http://gw", None, bare(10_000 + nth));
    }
    announced.note("http://gw", None, announcement_at(10_100));
    announced.note("http://gw", None, bare(10_120));
    let kept = announced.of("http://gw");
    assert_eq!(kept.len(), 1);
    assert_eq!(kept[0].down.restart_expected_ms, Some(1500));
    for nth in 0..100 {
        announced.note(&format!("http://{nth}"), None, announcement_at(0));
    }
    assert!(announced.of("http://gw").is_empty(), "it is bounded");
}

#[test]
fn a_plain_request_learns_of_a_gateway_that_goes_down_and_of_nothing_else() {
    let mut request = unanswered(12_000, 12_020);
    request.kind = Kind::Http;
    assert!(going_down(&[("http://gw", 10_000)], &request).is_some());
    assert_eq!(
        Memory::default().context(&request, &Living::default()),
        None
    );
    request.gateway.as_mut().unwrap().error = None;
    request.gateway.as_mut().unwrap().status = Some(200);
    assert_eq!(going_down(&[("http://gw", 10_000)], &request), None);
}

#[test]
fn a_process_whose_sessions_are_still_open_has_not_gone_down() {
    let records = [session(0, 0, 10_000), unanswered(12_000, 12_001)];
    assert_eq!(with_survivors(&records, 0).going_down.unwrap().lost, 1);
    assert_eq!(with_survivors(&records, 1).going_down, None);
}

/// If a gateway loses several sessions in any second, three losses are not an event.
#[test]
fn losses_at_a_steady_rate_are_no_crash_of_the_gateway() {
    let mut records: Vec<_> = (0..200_u32)
        .map(|nth| session(u128::from(nth), 0, 5000 + i64::from(nth) * 200))
        .collect();
    records.push(unanswered(45_000, 45_001));
    assert_eq!(last_context(&records).going_down.unwrap().lost, 1);
}

fn let_in(began: i64, let_in: i64) -> Living {
    Living {
        survivors: 1,
        let_in: vec![LetIn {
            began: at(began),
            at: at(let_in),
        }],
        answers: Vec::new(),
    }
}

#[test]
fn an_open_session_that_was_let_in_since_ends_an_announced_restart() {
    let mut memory = Memory::default();
    memory.announce("http://gw", None, announcement_at(10_000));
    let down = |record: &SessionRecord, living| memory.context(record, &living).unwrap().going_down;
    let caller = unanswered(50_000, 50_010);
    let mut lost = session(1, 50_000, 50_300);
    lost.phase = Phase::Handshake;
    for record in [&caller, &lost] {
        assert_eq!(down(record, let_in(17_000, 17_100)), None);
        assert!(down(record, Living::default()).is_some());
        // It was there before the gateway went down.
        assert!(down(record, let_in(9000, 9100)).is_some());
        assert!(down(record, let_in(9000, 17_100)).is_some());
        // The gateway came back while this session waited.
        assert!(down(record, let_in(17_000, 50_005)).is_some());
    }
    // A session that was there before is lost when the gateway has been back for a long time.
    assert_eq!(down(&session(2, 0, 50_000), let_in(17_000, 17_100)), None);
    assert!(down(&session(2, 0, 11_000), let_in(17_000, 17_100)).is_some());
}

#[test]
fn of_two_gateways_behind_one_url_one_does_not_explain_the_losses_of_the_other() {
    let boot = |boot: &str| Some(PeerText::new(boot, 64));
    let mut memory = Memory::default();
    memory.announce("http://gw", boot("A"), announcement_at(10_000));
    let down = |record: &SessionRecord| memory.context(record, &let_in(10_500, 10_600)).unwrap();
    let lost = |boot| down(&of_process(boot, session(1, 0, 12_000))).going_down;
    assert_eq!(lost("B"), None);
    assert!(lost("A").is_some(), "B lets clients in meanwhile");
    assert_eq!(down(&session(1, 0, 12_000)).going_down, None);
    let unknown = session(1, 0, 12_000);
    let context = memory.context(&unknown, &Living::default()).unwrap();
    assert!(context.going_down.is_some(), "it may have been A's");

    // The same, from the record of a session that received the announcement.
    let mut said = of_process("A", session(2, 0, 10_000));
    openclaw(&mut said).shutdown = Some(ShutdownFacts {
        reason: None,
        restart_expected_ms: Some(1500),
        at: at(10_000),
    });
    let after = |boot| {
        let lost = of_process(boot, session(3, 0, 12_000));
        last_context(&[said.clone(), lost]).going_down
    };
    assert!(after("A").is_some_and(|down| down.announced));
    assert!(after("B").is_none_or(|down| !down.announced));

    let mut both = Announced::default();
    both.note("http://gw", boot("A"), announcement_at(10_000));
    both.note("http://gw", boot("B"), announcement_at(10_100));
    both.note("http://gw", None, announcement_at(10_200));
    assert_eq!(both.of("http://gw").len(), 2);
}
