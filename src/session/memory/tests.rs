//! Sessions that explain each other.

mod cadence;
mod cancels;
mod down;
mod together;

use super::credentials::MAX_REPORTED;
use super::numbers::Number;
use super::remembered::{client_ip, credential};
use super::*;
use crate::session::moment::Moment;
use crate::session::party::{Leg, Phase};
use crate::session::record::dialect::ConnectResult;
use crate::session::record::dialect::openclaw::{DialectError, OpenClawFacts, ServerIdentity};
use crate::session::record::gateway::ForwardedMode;
use crate::session::record::{CloseSeen, DialectFacts, GatewayFacts, TransportEnd};
use crate::ws::CloseCode;

fn at(ms: i64) -> Moment {
    Moment(jiff::Timestamp::from_millisecond(1_795_000_000_000 + ms).unwrap())
}

/// A session that opened and closed at these times (in milliseconds), lost by the gateway's leg.
fn session(number: u128, opened: i64, closed: i64) -> SessionRecord {
    let mut record = SessionRecord {
        id: uuid::Uuid::from_u128(number + 1),
        kind: Kind::Websocket,
        opened_at: at(opened),
        closed_at: at(closed),
        phase: Phase::Open,
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

/// A session that this process of the gateway accepted at the session's start.
fn of_process(boot: &str, mut record: SessionRecord) -> SessionRecord {
    record.dialect = Some(
        OpenClawFacts {
            result: ConnectResult::Accepted,
            answered_at: Some(record.opened_at),
            server: Some(ServerIdentity {
                boot_id: Some(PeerText::new(boot, 64)),
                ..ServerIdentity::default()
            }),
            ..OpenClawFacts::default()
        }
        .into(),
    );
    record
}

/// The facts of a session, for changes.
fn openclaw(record: &mut SessionRecord) -> &mut OpenClawFacts {
    match record.dialect.as_mut() {
        Some(DialectFacts::OpenClaw(facts)) => facts,
        other => panic!("{other:?}"),
    }
}

/// Its last byte came this long before its end.
fn silent_for(ms: i64, mut record: SessionRecord) -> SessionRecord {
    let last = record.closed_at.0 - jiff::SignedDuration::from_millis(ms);
    record.frames.as_mut().unwrap().to_client.last_at = Some(Moment(last));
    record
}

/// The client's leg was lost instead, and each session has its own client address.
fn by_client(mut record: SessionRecord) -> SessionRecord {
    let ends = &mut record.close.transport;
    ends.client_at = ends.gateway_at.take();
    ends.client = std::mem::take(&mut ends.gateway);
    let number = record.id.as_u128();
    record.client.addr = format!("203.0.{}.{}:40000", number / 250, number % 250);
    record
}

fn last_context(records: &[SessionRecord]) -> ContextFacts {
    with_survivors(records, 0)
}

fn with_survivors(records: &[SessionRecord], survivors: u32) -> ContextFacts {
    let mut memory = Memory::default();
    for record in records {
        memory.note(record);
    }
    let living = Living {
        survivors,
        ..Living::default()
    };
    memory.context(records.last().unwrap(), &living).unwrap()
}

#[test]
fn another_gateways_sessions_say_nothing() {
    let mut other = session(0, 0, 50_000);
    other.gateway.as_mut().unwrap().url = "http://other".to_owned();
    let context = last_context(&[other, session(1, 0, 50_100)]);
    assert_eq!((context.remembered, context.lost_together), (0, 0));
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
        record.dialect = Some(
            OpenClawFacts {
                result,
                ..OpenClawFacts::default()
            }
            .into(),
        );
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
fn of_a_thousand_values_few_are_told() {
    use crate::session::credential::{Credential, Fingerprinter};
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
            record.dialect = Some(
                OpenClawFacts {
                    result: ConnectResult::Accepted,
                    server: Some(ServerIdentity {
                        boot_id: Some(PeerText::new(&secret, 64)),
                        ..ServerIdentity::default()
                    }),
                    ..OpenClawFacts::default()
                }
                .into(),
            );
            memory.note(&record);
            if number == 1023 {
                return memory.context(&record, &Living::default()).unwrap();
            }
        }
        unreachable!("there are 1024 of them")
    };
    let context = full(1);
    assert_eq!(context.same_credential.unwrap().sessions, 1023);
    let context = full(1024);
    assert_eq!(context.other_credentials.len(), MAX_REPORTED);
    assert_eq!(context.boots.len(), MAX_REPORTED);
    assert_eq!(context.boots.last().unwrap().id.as_str(), "secret 1023");
    assert_eq!(context.working.unwrap().sessions, 1);
}

#[test]
fn of_several_credentials_the_one_that_was_compared_is_remembered() {
    use crate::session::credential::{Credential, Fingerprinter};
    let fingerprinter = Fingerprinter::with_key(b"a key for the tests");
    let with = |number, result, code: Option<&str>| {
        let mut record = session(number, 0, 1000);
        for key in ["deviceToken", "password", "token"] {
            let place = format!("frame:connect.params.auth.{key}");
            let credential = Credential::observe(&fingerprinter, &place, key.as_bytes());
            record.auth.push(credential.with_effective(true));
        }
        record.dialect = Some(
            OpenClawFacts {
                result,
                error: code.map(|code| DialectError {
                    details_code: Some(PeerText::new(code, 64)),
                    ..DialectError::default()
                }),
                ..OpenClawFacts::default()
            }
            .into(),
        );
        credential(&record).map(|(place, _)| place.rsplit('.').next().unwrap().to_owned())
    };
    let refused = |code| with(0, ConnectResult::Refused, Some(code)).unwrap();
    assert_eq!(refused("AUTH_TOKEN_MISMATCH"), "token");
    assert_eq!(refused("AUTH_PASSWORD_MISMATCH"), "password");
    assert_eq!(refused("AUTH_DEVICE_TOKEN_MISMATCH"), "deviceToken");
    assert_eq!(with(1, ConnectResult::Accepted, None), None);
}

/// Gateways before 2026.3 give no code, and 2026.2 calls every wrong token sent with a device a
/// wrong device token.
#[test]
fn a_wrong_token_is_noticed_without_a_code_too() {
    use crate::session::credential::{Credential, Fingerprinter};
    const DEVICE: &str = "unauthorized: device token mismatch (rotate/reissue device token)";
    let fingerprinter = Fingerprinter::with_key(b"a key for the tests");
    let mismatch = |message: &str, code: Option<&str>, keys: &[&str]| {
        let sent = keys.iter().map(|key| {
            let place = format!("frame:connect.params.auth.{key}");
            Credential::observe(&fingerprinter, &place, b"a value").with_effective(true)
        });
        let error = DialectError {
            details_code: code.map(|code| PeerText::new(code, 64)),
            message: Some(PeerText::new(message, 120)),
            ..DialectError::default()
        };
        let facts = OpenClawFacts {
            error: Some(error),
            ..OpenClawFacts::default()
        };
        DialectFacts::from(facts).is_mismatch(&sent.collect::<Vec<_>>())
    };
    let shared = "unauthorized: gateway token mismatch (set gateway.remote.token)";
    assert!(mismatch(shared, None, &["token"]));
    assert!(mismatch("x", Some("AUTH_TOKEN_MISMATCH"), &["token"]));
    assert!(mismatch(DEVICE, None, &["token"]));
    assert!(!mismatch(DEVICE, None, &["deviceToken"]));
    assert!(!mismatch(DEVICE, None, &["token", "deviceToken"]));
    assert!(!mismatch(
        DEVICE,
        Some("AUTH_DEVICE_TOKEN_MISMATCH"),
        &["token"]
    ));
    assert!(!mismatch("device identity required", None, &["token"]));
}

#[test]
fn a_device_that_was_removed_is_not_one_that_was_lost() {
    let of = |number, result, reason: Option<&str>| {
        let mut record = session(number, 0, 1000 + i64::try_from(number).unwrap());
        record.dialect = Some(
            OpenClawFacts {
                result,
                device: crate::session::record::dialect::openclaw::DeviceFacts {
                    present: true,
                    id: Some(PeerText::new("d1", 64)),
                },
                ..OpenClawFacts::default()
            }
            .into(),
        );
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
