//! A dialect that exists only in tests, from bytes to verdicts: the observer, the recorder and
//! `judge` know only its profile and its rules.

use std::time::{Duration, Instant};

use uuid::Uuid;

use super::*;
use crate::dialect::lantern::{PROFILE, rules};
use crate::dialect::observer::{Observer, SessionReaders};
use crate::dialect::{Choice, Ending, reader};
use crate::session::credential::Fingerprinter;
use crate::session::heartbeats::Heartbeats;
use crate::session::moment::Anchor;
use crate::session::party::{Direction, Leg};
use crate::session::record::dialect::ConnectResult;
use crate::session::record::{Class, Frames, GatewayFacts, Kind, Latency, TransportEnd};
use crate::session::{Recorder, Tunnelled};
use crate::verdict::rules::files;
use crate::ws::extensions::Extensions;
use crate::ws::frame::encode_close;
use crate::ws::{CloseCode, Masking};

const HELLO: (Leg, &str) = (Leg::Client, "HELLO canary-9f8e7d6c5b4a");
const WELCOME: (Leg, &str) = (Leg::Gateway, "WELCOME");
const DENIED: (Leg, &str) = (Leg::Gateway, "DENIED BAD_TICKET it has expired");

/// The record of a session with these messages, 1 ms apart, that the gateway then closes.
fn session(dialect: Choice, messages: &[(Leg, &str)], code: u16) -> SessionRecord {
    let start = Instant::now();
    let wall = "2026-11-21T10:00:00Z".parse().unwrap();
    let anchor = Anchor::new(wall, start);
    let mut recorder = Recorder::new(Uuid::nil(), anchor);
    recorder.facts_mut().kind = Kind::Websocket;
    recorder.facts_mut().gateway = Some(GatewayFacts {
        status: Some(101),
        expects: dialect.profile().name.to_owned(),
        ..GatewayFacts::default()
    });
    recorder.tunnel_opened();
    let key = Fingerprinter::with_key(b"a key for the tests");
    let mut dialect = reader(dialect, &key, "/");
    let mut heartbeats = Heartbeats::default();
    let observer = |direction| Observer::new(direction, Extensions::default());
    let (mut to_gateway, mut to_client) = (
        observer(Direction::ToGateway),
        observer(Direction::ToClient),
    );
    let mut now = start;
    for (leg, text) in messages {
        now += Duration::from_millis(1);
        let mask = if *leg == Leg::Client { 0x80 } else { 0 };
        let mut bytes = vec![0x81, mask | u8::try_from(text.len()).unwrap()];
        bytes.extend(&[0; 4][..usize::from(mask / 0x20)]);
        bytes.extend(text.as_bytes());
        let observer = match leg {
            Leg::Client => &mut to_gateway,
            Leg::Gateway => &mut to_client,
        };
        // Byte by byte: a message may be split anywhere.
        for byte in bytes.chunks(1) {
            let mut shared = SessionReaders {
                dialect: &mut *dialect,
                heartbeats: &mut heartbeats,
            };
            observer.observe(byte, now, &mut shared);
        }
    }
    if dialect.is_open() {
        recorder.session_opened();
    }
    now += Duration::from_millis(1);
    let bytes = encode_close(CloseCode(code), "", Masking::Unmasked);
    let mut shared = SessionReaders {
        dialect: &mut *dialect,
        heartbeats: &mut heartbeats,
    };
    to_client.observe(&bytes, now, &mut shared);
    let close = to_client.stats().close().unwrap().0.clone();
    recorder.close_received(Leg::Gateway, &close, now);
    recorder.written(Leg::Client, now);
    recorder.leg_ended(Leg::Gateway, TransportEnd::Fin, None, now);
    recorder.leg_ended_by_tap(Leg::Client, now);
    let summary = |observer: &Observer| observer.stats().summary(observer.scanner(), &anchor);
    let (facts, credentials) = dialect.facts(&Ending {
        anchor: &anchor,
        now,
        written_to_gateway: u64::MAX,
    });
    recorder.tunnel_ended(Tunnelled::WebSocket {
        frames: Frames {
            to_gateway: summary(&to_gateway),
            to_client: summary(&to_client),
        },
        latency: Latency::default(),
        dialect: facts,
    });
    if let Some(seen) = dialect.seen() {
        recorder.secrets_seen(seen);
    }
    recorder.said_credentials(credentials);
    recorder.finish(now)
}

/// The verdict, with the dialect's rules before the general ones.
fn judged(record: &SessionRecord) -> Verdict {
    let files = files().chain([rules::RULES]);
    let ids = rules::STEPS
        .into_iter()
        .chain(super::super::precedence::ids());
    judge(&registry::in_order(files, ids), record)
}

fn rule(dialect: Choice, messages: &[(Leg, &str)], code: u16) -> String {
    let record = session(dialect, messages, code);
    // A record that is written and read again gets the same verdict.
    let read = serde_json::from_value(serde_json::to_value(&record).unwrap()).unwrap();
    let verdict = judged(&record);
    assert_eq!(judged(&read), verdict);
    verdict.rule
}

#[test]
fn its_acceptance_refusal_and_close_code_are_judged() {
    let lantern = |messages: &[_], code| rule(Choice::Lantern, messages, code);
    assert_eq!(lantern(&[HELLO, WELCOME], 1000), "ok.gateway_closed");
    assert_eq!(lantern(&[HELLO, DENIED], 1008), rules::STEPS[0]);
    assert_eq!(lantern(&[HELLO, WELCOME], 4700), rules::STEPS[1]);
    let other = (Leg::Gateway, "DENIED FULL come back later");
    assert_eq!(lantern(&[HELLO, other], 1008), "gateway.closed.refused");
    let closing = (Leg::Gateway, "CLOSING 1500");
    let restarts = lantern(&[HELLO, WELCOME, closing], 1012);
    assert_eq!(restarts, "gateway.lifecycle.restart");
}

/// The same bytes in another order, or of another dialect.
#[test]
fn what_it_does_not_say_is_not_heard() {
    let lantern = |messages: &[_], code| rule(Choice::Lantern, messages, code);
    // A refusal before the client's request refuses nothing, and a client that was not let in
    // cannot be moved.
    assert_eq!(lantern(&[DENIED, HELLO], 1008), "gateway.closed.code");
    assert_eq!(lantern(&[WELCOME, HELLO], 4700), "gateway.closed.code");
    assert_eq!(lantern(&[HELLO], 1000), "gateway.closed.before_hello");
    for other in [Choice::Plain, Choice::OpenClaw] {
        for (messages, code) in [([HELLO, DENIED], 1008), ([HELLO, WELCOME], 4700)] {
            let found = rule(other, &messages, code);
            assert!(
                !rules::STEPS.contains(&found.as_str()),
                "{other:?}: {found}"
            );
            assert_eq!(
                session(other, &messages, code).application().result,
                ConnectResult::None
            );
        }
    }
    let openclaw = [
        (Leg::Client, r#"{"type":"req","id":"1","method":"connect"}"#),
        (
            Leg::Gateway,
            r#"{"type":"res","id":"1","ok":true,"payload":{}}"#,
        ),
    ];
    let record = session(Choice::Lantern, &openclaw, 1000);
    assert_eq!(record.application().result, ConnectResult::None);
}

#[test]
fn its_record_has_its_facts_and_no_secret() {
    let record = session(Choice::Lantern, &[HELLO, DENIED], 1008);
    let facts = record.dialect.as_ref().unwrap();
    assert_eq!(facts.name(), "lantern");
    let compared = facts.compared(&record.auth).unwrap();
    assert_eq!(&*compared.place, "frame:HELLO");
    let verdict = judged(&record);
    assert_eq!(
        (verdict.class, verdict.party.as_str()),
        (Class::GatewayAuth, "gateway")
    );
    assert!(
        verdict.summary.contains("it has expired"),
        "{}",
        verdict.summary
    );
    let echo = (Leg::Gateway, "DENIED BAD_TICKET canary-9f8e7d6c5b4a");
    let quoted = session(Choice::Lantern, &[HELLO, echo], 1008);
    let json = serde_json::to_string(&quoted).unwrap();
    assert!(
        json.contains("BAD_TICKET") && !json.contains("canary"),
        "{json}"
    );
}

#[test]
fn its_profile_is_found_by_its_name() {
    assert_eq!(crate::dialect::named("lantern").name, PROFILE.name);
    assert!((PROFILE.ignores_head)("/lantern") && !(PROFILE.ignores_head)("/"));
    assert_eq!(crate::dialect::named("newer").name, "plain");
}

/// A dialect needs only its own folder and a few other files.
#[test]
fn few_files_know_it() {
    const KNOW: [&str; 3] = ["dialect.rs", "verdict/tests.rs", "verdict/tests/lantern.rs"];
    const MOST_LINES: usize = 200;
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let (mut folders, mut know, mut lines) = (vec![src.clone()], Vec::new(), 0);
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let text = std::fs::read_to_string(&path).unwrap_or_default();
            let inner = path.strip_prefix(&src).unwrap().display().to_string();
            if inner.starts_with("dialect/lantern") {
                lines += text.lines().count();
            } else if text.to_ascii_lowercase().contains("lantern") {
                know.push(inner);
            }
        }
    }
    know.sort();
    assert_eq!(know, KNOW);
    assert!((50..=MOST_LINES).contains(&lines), "{lines} lines");
}
