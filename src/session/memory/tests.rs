//! Sessions that explain each other.

use super::*;
use crate::session::record::close::TransportEnds;
use crate::session::record::dialect::ShutdownFacts;
use crate::session::record::{CloseSeen, DialectFacts, GatewayFacts, TransportEnd};
use crate::ws::CloseCode;

fn at(ms: i64) -> Moment {
    Moment(jiff::Timestamp::from_millisecond(1_795_000_000_000 + ms).unwrap())
}

/// A session that opened and closed then (in milliseconds), lost by the gateway's leg.
fn session(number: u128, opened: i64, closed: i64) -> SessionRecord {
    let mut record = SessionRecord {
        id: uuid::Uuid::from_u128(number + 1),
        kind: Kind::Websocket,
        opened_at: at(opened),
        closed_at: at(closed),
        phase: crate::session::Phase::Open,
        gateway: Some(GatewayFacts {
            url: "http://gw".to_owned(),
            ..GatewayFacts::default()
        }),
        frames: Some(crate::session::record::Frames::default()),
        ..SessionRecord::default()
    };
    record.client.addr = format!("203.0.113.9:{}", 1000 + number);
    record.close.transport.gateway = TransportEnd::Fin;
    record.close.transport.gateway_at = Some(at(closed));
    assert!(lost(&record).is_some(), "the test's session had a tunnel");
    record
}

fn last_context(records: &[SessionRecord]) -> ContextFacts {
    let mut memory = Memory::default();
    for record in records {
        memory.note(record);
    }
    memory.context(records.last().unwrap()).unwrap()
}

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
fn another_gateways_sessions_say_nothing() {
    let mut other = session(0, 0, 50_000);
    other.gateway.as_mut().unwrap().url = "http://other".to_owned();
    let context = last_context(&[other, session(1, 0, 50_100)]);
    assert_eq!((context.remembered, context.lost_together), (0, 0));
}

#[test]
fn three_of_the_same_age_are_a_cadence_and_two_are_not() {
    let lives: [(i64, i64); 3] = [(0, 60_000), (70_000, 130_500), (140_000, 199_800)];
    let records: Vec<_> = (0..)
        .zip(lives)
        .map(|(n, (a, b))| session(n, a, b))
        .collect();
    assert_eq!(last_context(&records[..2]).cadence, None);
    let cadence = last_context(&records).cadence.unwrap();
    assert_eq!((cadence.cases, cadence.known_s), (3, Some(60)));
    assert_eq!(cadence.measure, Measure::Age);
    let odd = [
        session(0, 0, 60_000),
        session(1, 0, 71_000),
        session(2, 0, 90_000),
    ];
    assert_eq!(last_context(&odd).cadence, None);
}

/// Peers that vanished are all found after the same silence: that timer is our own.
#[test]
fn what_our_keepalive_gave_up_is_no_cadence() {
    let lives: [(i64, i64); 4] = [
        (0, 60_000),
        (70_000, 130_500),
        (140_000, 199_800),
        (210_000, 270_000),
    ];
    let mut records: Vec<_> = (0..)
        .zip(lives)
        .map(|(n, (a, b))| session(n, a, b))
        .collect();
    assert!(last_context(&records).cadence.is_some());
    let given_up = TransportEnd::Timeout;
    records[3].close.transport.gateway = given_up;
    assert_eq!(last_context(&records).cadence, None);
    records[3].close.transport.gateway = TransportEnd::Fin;
    for record in &mut records[..2] {
        record.close.transport.gateway = given_up;
    }
    assert_eq!(last_context(&records).cadence, None);
}

#[test]
fn deaths_of_one_moment_are_no_cadence() {
    let records: Vec<_> = (0..5).map(|n| session(n, 0, 60_000)).collect();
    let context = last_context(&records);
    assert_eq!((context.cadence, context.lost_together), (None, 4));
}

#[test]
fn other_credentials_of_the_same_client_what_works_first() {
    use crate::session::credential::{Credential, Fingerprinter};
    let fingerprinter = Fingerprinter::with_key(b"a key for the tests");
    let with = |number, secret: &str, result| {
        let mut record = session(number, 0, 1000 + i64::try_from(number).unwrap());
        let place = "frame:connect.params.auth.token";
        let mut credential = Credential::observe(&fingerprinter, place, secret.as_bytes());
        credential.effective = Some(true);
        record.auth = vec![credential];
        record.dialect = Some(DialectFacts {
            result,
            ..DialectFacts::default()
        });
        record
    };
    let records = vec![
        with(0, "right", ConnectResult::Accepted),
        with(1, "older", ConnectResult::Refused),
        with(2, "wrong", ConnectResult::Refused),
        with(3, "wrong", ConnectResult::Refused),
    ];
    let others = last_context(&records).other_credentials;
    let works: Vec<bool> = others.iter().map(|other| other.accepted).collect();
    assert_eq!(works, [true, false]);
    let right = fingerprinter.fingerprint(b"right");
    assert_eq!(others[0].fingerprint, right.as_str());
}

#[test]
fn two_gateways_behind_one_name_alternate() {
    let with = |number, boot: &str| {
        let mut record = session(number, 0, 1000);
        let server = crate::session::record::dialect::ServerIdentity {
            boot_id: Some(PeerText::new(boot, 64)),
            ..Default::default()
        };
        record.dialect = Some(DialectFacts {
            server: Some(server),
            ..DialectFacts::default()
        });
        record
    };
    let restart = last_context(&[with(0, "a"), with(1, "b"), with(2, "b")]);
    assert_eq!((restart.boots.len(), restart.boots_alternate), (2, false));
    let two = last_context(&[with(0, "a"), with(1, "b"), with(2, "a")]);
    assert!(two.boots_alternate);
}

#[test]
fn the_memory_is_bounded() {
    let mut memory = Memory::default();
    for number in 0..3000 {
        memory.note(&session(number, 0, 1000));
    }
    assert_eq!(memory.sessions.len(), MAX);
    memory.note(&session(4000, 0, REACH_MS + 2000));
    assert_eq!(memory.sessions.len(), 1, "what is too old goes");
    let gateway = memory.texts.of("http://gw");
    assert_eq!(memory.sessions[0].gateway, gateway);
    let mut elsewhere = session(4001, 0, 2 * REACH_MS + 4000);
    elsewhere.gateway = None;
    memory.note(&elsewhere);
    assert_eq!(
        memory.texts.of("http://gw"),
        Number::FOREIGN,
        "what it held goes with it"
    );
}

#[test]
fn clients_that_a_proxy_speaks_for_are_not_one_client() {
    use crate::session::record::gateway::{Acceptance, ForwardedFacts};
    let behind = |number| {
        let mut record = session(number, 0, 1000);
        record.gateway.as_mut().unwrap().forwarded = Some(ForwardedFacts {
            mode: ForwardedMode::Pass,
            why: None,
            brought: vec![PeerText::new("x-forwarded-for", 64)],
            sent: Vec::new(),
            acceptance: Acceptance::Unknown,
        });
        record
    };
    assert_eq!(last_context(&[behind(0), behind(1)]).attempts, 1);
    assert_eq!(
        last_context(&[session(0, 0, 1000), session(1, 0, 1000)]).attempts,
        2
    );
    assert_eq!(client_ip(&behind(0)), None);
}

#[test]
fn deaths_of_one_moment_count_once() {
    // Three that were opened together die together, again and again.
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
    // A second of silence is no sign of a timer.
    let busy = last_context(&records[..3]);
    assert_eq!((busy.lost_together, busy.lost_alike), (2, 0));
}

#[test]
fn of_a_thousand_values_few_are_told() {
    use crate::session::credential::{Credential, Fingerprinter};
    use crate::session::record::dialect::ServerIdentity;
    let fingerprinter = Fingerprinter::with_key(b"a key for the tests");
    let full = |values: u128| {
        let mut memory = Memory::default();
        for number in 0..1024 {
            let value = number % values;
            let mut record = session(number, 0, 50_000);
            let secret = format!("secret {value}");
            let place = "frame:connect.params.auth.token";
            let credential = Credential::observe(&fingerprinter, place, secret.as_bytes());
            record.auth.push(credential.with_effective(true));
            record.dialect = Some(DialectFacts {
                result: ConnectResult::Accepted,
                server: Some(ServerIdentity {
                    boot_id: Some(PeerText::new(&secret, 64)),
                    ..ServerIdentity::default()
                }),
                ..DialectFacts::default()
            });
            memory.note(&record);
            if number == 1023 {
                return memory.context(&record).unwrap();
            }
        }
        unreachable!("there are 1024 of them")
    };
    let context = full(1);
    assert_eq!(context.same_credential.unwrap().sessions, 1023);
    let context = full(1024);
    assert_eq!(context.other_credentials.len(), MAX_TOLD);
    assert_eq!(context.boots.len(), MAX_TOLD);
    assert_eq!(context.boots.last().unwrap().id.as_str(), "secret 1023");
    assert_eq!(context.working.unwrap().sessions, 1);
}

#[test]
fn of_several_credentials_the_one_that_was_compared_is_remembered() {
    use crate::session::credential::{Credential, Fingerprinter};
    use crate::session::record::dialect::DialectError;
    let fingerprinter = Fingerprinter::with_key(b"a key for the tests");
    let with = |number, result, code: Option<&str>| {
        let mut record = session(number, 0, 1000);
        for key in ["deviceToken", "password", "token"] {
            let place = format!("frame:connect.params.auth.{key}");
            let credential = Credential::observe(&fingerprinter, &place, key.as_bytes());
            record.auth.push(credential.with_effective(true));
        }
        record.dialect = Some(DialectFacts {
            result,
            error: code.map(|code| DialectError {
                details_code: Some(PeerText::new(code, 64)),
                ..DialectError::default()
            }),
            ..DialectFacts::default()
        });
        credential(&record).map(|(place, _)| place.rsplit('.').next().unwrap().to_owned())
    };
    let refused = |code| with(0, ConnectResult::Refused, Some(code)).unwrap();
    assert_eq!(refused("AUTH_TOKEN_MISMATCH"), "token");
    assert_eq!(refused("AUTH_PASSWORD_MISMATCH"), "password");
    assert_eq!(refused("AUTH_DEVICE_TOKEN_MISMATCH"), "deviceToken");
    assert_eq!(with(1, ConnectResult::Accepted, None), None);
}

/// Sessions that were not accepted yet get no event, and their Close comes last.
#[test]
fn a_shutdown_event_says_more_than_a_bare_close() {
    let told = |number, ms, expected: Option<Option<u64>>| {
        let mut record = session(number, 0, ms);
        record.close.gateway = Some(CloseSeen {
            code: Some(CloseCode(1012)),
            reason: PeerText::new("service restart", 64),
            at: at(ms),
            breaks: Vec::new(),
        });
        record.dialect = Some(DialectFacts {
            shutdown: expected.map(|restart_expected_ms| ShutdownFacts {
                reason: None,
                restart_expected_ms,
                at: at(ms - 5),
            }),
            ..DialectFacts::default()
        });
        record
    };
    let mut refused = session(9, 12_000, 12_010);
    refused.close.transport = TransportEnds::default();
    let going_down = |said: Option<Option<u64>>| {
        let records = [
            told(0, 10_000, said),
            told(1, 10_020, None),
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
fn processes_that_end_one_after_the_other_are_counted() {
    let of = |number: u128, boot: &str| {
        let at = i64::try_from(number).unwrap() * 20_000;
        let mut record = session(number, at, at + 2_100);
        record.dialect = Some(DialectFacts {
            server: Some(crate::session::record::dialect::ServerIdentity {
                boot_id: Some(PeerText::new(boot, 64)),
                ..Default::default()
            }),
            ..DialectFacts::default()
        });
        record
    };
    let crashes = last_context(&[of(0, "a"), of(1, "b"), of(2, "c")]);
    assert_eq!(crashes.processes_lost, 3);
    let cuts = last_context(&[of(0, "a"), of(1, "a"), of(2, "a")]);
    assert_eq!((cuts.processes_lost, cuts.cadence.unwrap().cases), (1, 3));
    // Two gateways in turn do not end.
    let two = last_context(&[of(0, "a"), of(1, "b"), of(2, "a")]);
    assert_eq!(two.processes_lost, 0);
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

#[test]
fn a_device_that_was_removed_is_not_one_that_was_lost() {
    let of = |number, result, reason: Option<&str>| {
        let mut record = session(number, 0, 1000 + i64::try_from(number).unwrap());
        record.dialect = Some(DialectFacts {
            result,
            device: crate::session::record::dialect::DeviceFacts {
                present: true,
                id: Some(PeerText::new("d1", 64)),
            },
            ..DialectFacts::default()
        });
        record.close.gateway = reason.map(|reason| CloseSeen {
            code: Some(CloseCode(4001)),
            reason: PeerText::new(reason, 64),
            at: at(1000),
            breaks: Vec::new(),
        });
        record
    };
    let refused = of(5, ConnectResult::Refused, None);
    let after = |reason| {
        let records = [of(0, ConnectResult::Accepted, reason), refused.clone()];
        last_context(&records).device_accepted_at
    };
    assert!(after(None).is_some() && after(Some("gateway auth changed")).is_some());
    assert_eq!(after(Some("device removed")), None);
}
