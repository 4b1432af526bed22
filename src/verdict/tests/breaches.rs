//! Every breach of RFC 6455, by either end, and all possible reactions. The scanner, the counters
//! and the recorder build the records from bytes.

use std::time::{Duration, Instant};

use uuid::Uuid;

use super::*;
use crate::dialect::observer::{Observer, SessionReaders};
use crate::dialect::plain::Plain;
use crate::dialect::{Dialect as _, Ending};
use crate::session::heartbeats::Heartbeats;
use crate::session::moment::Anchor;
use crate::session::party::{Direction, Leg};
use crate::session::record::{
    Class, Confidence, ContextFacts, Frames, GatewayFacts, Kind, Latency, TransportEnd,
};
use crate::session::{Recorder, Tunnelled};
use crate::ws::extensions::Extensions;
use crate::ws::{CloseCode, Violation};

const BOTH: [Leg; 2] = [Leg::Client, Leg::Gateway];

/// A tunnel of `dialect: plain`, driven as by the relay. Times are milliseconds from its start.
struct Tunnel {
    start: Instant,
    to_gateway: Observer,
    to_client: Observer,
    recorder: Recorder,
}

impl Tunnel {
    fn new() -> Self {
        Self::with(Extensions::default())
    }

    fn with(agreed: Extensions) -> Self {
        let start = Instant::now();
        let wall = "2026-11-21T10:00:00Z".parse().unwrap();
        let mut recorder = Recorder::new(Uuid::nil(), Anchor::new(wall, start));
        recorder.facts_mut().kind = Kind::Websocket;
        recorder.facts_mut().gateway = Some(GatewayFacts {
            status: Some(101),
            ..GatewayFacts::default()
        });
        recorder.session_opened();
        Self {
            start,
            to_gateway: Observer::new(Direction::ToGateway, agreed),
            to_client: Observer::new(Direction::ToClient, agreed),
            recorder,
        }
    }

    fn at(&self, ms: u64) -> Instant {
        self.start + Duration::from_millis(ms)
    }

    /// Bytes of one leg, which reach the other leg at once.
    fn sends(mut self, leg: Leg, bytes: &[u8], ms: u64) -> Self {
        let at = self.at(ms);
        let observer = match leg {
            Leg::Client => &mut self.to_gateway,
            Leg::Gateway => &mut self.to_client,
        };
        let (mut dialect, mut heartbeats) = (Plain, Heartbeats::default());
        let mut shared = SessionReaders {
            dialect: &mut dialect,
            heartbeats: &mut heartbeats,
        };
        observer.observe(bytes, at, &mut shared);
        observer.date_breaches(at);
        let recorder = &mut self.recorder;
        if let Some((close, _)) = observer.stats().close()
            && recorder.ending().received(leg).is_none()
        {
            recorder.close_received(leg, &close.clone(), at);
            recorder.written(leg.other(), at);
            recorder.closing();
        }
        self
    }

    fn ends(mut self, leg: Leg, end: TransportEnd, ms: u64) -> Self {
        let at = self.at(ms);
        self.recorder.leg_ended(leg, end, None, at);
        self
    }

    fn over(mut self) -> SessionRecord {
        let now = self.at(3_600_000);
        for leg in BOTH {
            self.recorder.leg_ended_by_tap(leg, now);
        }
        let anchor = *self.recorder.anchor();
        let summary = |observer: &Observer| observer.stats().summary(observer.scanner(), &anchor);
        let (dialect, _) = Plain.facts(&Ending {
            anchor: &anchor,
            now,
            written_to_gateway: 0,
        });
        self.recorder.tunnel_ended(Tunnelled::WebSocket {
            frames: Frames {
                to_gateway: summary(&self.to_gateway),
                to_client: summary(&self.to_client),
            },
            latency: Latency::default(),
            dialect,
        });
        self.recorder.finish(now)
    }
}

/// A valid frame of `leg`; a client's has the mask 0.
fn frame(leg: Leg, first: u8, payload: &[u8]) -> Vec<u8> {
    let mask = leg == Leg::Client;
    let mut bytes = vec![first];
    let bit = if mask { 0x80 } else { 0 };
    if let Ok(length @ ..=125) = u8::try_from(payload.len()) {
        bytes.push(bit | length);
    } else {
        bytes.push(bit | 0x7e);
        bytes.extend(u16::try_from(payload.len()).unwrap().to_be_bytes());
    }
    if mask {
        bytes.extend([0; 4]);
    }
    bytes.extend(payload);
    bytes
}

fn close(leg: Leg, code: u16) -> Vec<u8> {
    frame(leg, 0x88, &code.to_be_bytes())
}

/// The breaches that this leg can commit outside of a Close, with the bytes of each.
fn breaches(leg: Leg) -> Vec<(Violation, Vec<u8>)> {
    let wrong_mask = match leg {
        Leg::Client => (Violation::Unmasked, frame(Leg::Gateway, 0x81, b"x")),
        Leg::Gateway => (Violation::Masked, frame(Leg::Client, 0x81, b"x")),
    };
    let short = |first: u8, length: &[u8]| {
        let mut bytes = frame(leg, first, b"");
        bytes[1] |= length[0];
        bytes.splice(2..2, length[1..].iter().copied());
        bytes
    };
    let mut interleaved = frame(leg, 0x01, b"a");
    interleaved.extend(frame(leg, 0x81, b"b"));
    let mut not_minimal = short(0x82, &[126, 0, 1]);
    not_minimal.push(b'x');
    vec![
        wrong_mask,
        (Violation::Rsv, frame(leg, 0xa1, b"x")),
        (Violation::ReservedOpcode, frame(leg, 0x83, b"x")),
        (Violation::ControlTooLong, frame(leg, 0x89, &[b'x'; 126])),
        (Violation::ControlFragmented, frame(leg, 0x09, b"x")),
        (Violation::NonMinimalLength, not_minimal),
        (
            Violation::LengthMsb,
            short(0x82, &[127, 255, 0, 0, 0, 0, 0, 0, 0]),
        ),
        (Violation::UnexpectedContinuation, frame(leg, 0x80, b"x")),
        (Violation::InterleavedData, interleaved),
        (Violation::InvalidUtf8, frame(leg, 0x81, &[0xff])),
    ]
}

fn fault_of(leg: Leg) -> &'static str {
    match leg {
        Leg::Client => "client.fault.violation",
        Leg::Gateway => "gateway.fault.frames",
    }
}

/// What may follow a breach by `by` that came at 100 ms. `true`: the ending follows from the
/// breach.
fn sequels(by: Leg, kind: Violation) -> Vec<(&'static str, Tunnel, bool)> {
    let other = by.other();
    let (_, bytes) = breaches(by)
        .into_iter()
        .find(|(one, _)| *one == kind)
        .unwrap();
    let begun = || Tunnel::new().sends(by, &bytes, 100);
    let minded = !kind.is_overlooked();
    let mut all = Vec::new();
    for code in [1002, 1003, 1007] {
        let answered = |ms| begun().sends(other, &close(other, code), ms);
        all.push(("a Close that says so", answered(102), true));
        all.push(("the same, much later", answered(900_000), true));
    }
    let too_big = begun().sends(other, &close(other, 1009), 102);
    all.push(("Close 1009", too_big, kind == Violation::LengthMsb));
    for code in [1000, 1001, 1008, 1011, 1012, 4000] {
        let closed = begun().sends(other, &close(other, code), 102);
        all.push(("a Close about something else", closed, false));
    }
    let empty = begun().sends(other, &frame(other, 0x88, b""), 102);
    all.push(("an empty Close", empty, false));
    for end in [
        TransportEnd::Fin,
        TransportEnd::Rst,
        TransportEnd::TlsClose,
        TransportEnd::TlsTruncated,
    ] {
        all.push(("the other end cuts", begun().ends(other, end, 102), minded));
        let late = begun().ends(other, end, 6100);
        all.push(("the other end goes six seconds later", late, false));
        all.push(("the sender goes", begun().ends(by, end, 102), false));
        let went = Tunnel::new().ends(other, end, 100).sends(by, &bytes, 102);
        all.push(("the other end had gone before", went, false));
    }
    let timeout = begun().ends(other, TransportEnd::Timeout, 102);
    all.push(("the network gives up", timeout, false));
    let nothing = begun();
    all.push(("nothing, until we end it", nothing, false));
    for code in [1000, 1002, 1007] {
        let closed = begun().sends(by, &close(by, code), 102);
        all.push(("the sender closes", closed, false));
        let before = Tunnel::new()
            .sends(other, &close(other, code), 100)
            .sends(by, &bytes, 102);
        all.push(("the other end had closed before", before, false));
    }
    all
}

#[test]
fn a_breach_explains_what_follows_from_it_and_nothing_else() {
    for by in BOTH {
        for (kind, _) in breaches(by) {
            for (what, tunnel, explains) in sequels(by, kind) {
                let record = tunnel.over();
                let frames = record.frames.as_ref().unwrap();
                let seen = match by {
                    Leg::Client => &frames.to_gateway.violations,
                    Leg::Gateway => &frames.to_client.violations,
                };
                assert_eq!(seen[0].kind, kind);
                let verdict = decide(&record);
                let close = record
                    .close
                    .client
                    .as_ref()
                    .or(record.close.gateway.as_ref());
                let code = close.and_then(|close| close.code).unwrap_or(CloseCode(0));
                let about = format!("{kind:?} by the {}: {what} {code}", by.party().as_str());
                if explains {
                    assert_eq!(verdict.rule, fault_of(by), "{about}");
                    assert_eq!(verdict.party, by.other().party(), "{about}: who ended it");
                } else {
                    let blamed = BOTH.map(fault_of).contains(&verdict.rule.as_str());
                    assert!(!blamed, "{about}: {}", verdict.rule);
                }
                // The breach is always shown, and facts are in chronological order.
                let facts = &verdict.evidence;
                assert!(
                    facts.iter().any(|it| it.fact.contains("RFC 6455")),
                    "{about}"
                );
                assert_in_order(&verdict, &about);
            }
        }
    }
}

fn assert_in_order(verdict: &Verdict, about: &str) {
    let times: Vec<_> = verdict.evidence.iter().filter_map(|it| it.at).collect();
    assert!(times.is_sorted(), "{about}: {:?}", verdict.evidence);
}

/// An endpoint that echoes its input breaks the protocol only because the other end did.
#[test]
fn of_both_ends_breaches_the_first_counts() {
    for first in BOTH {
        let second = first.other();
        for (kind, bytes) in breaches(first) {
            if kind.is_overlooked() {
                continue;
            }
            // A ping of 126 bytes comes back as a pong of that length, other frames as they are.
            let echo = match kind {
                Violation::ControlTooLong => frame(second, 0x8a, &[b'x'; 126]),
                Violation::Unmasked | Violation::Masked => breaches(second)[0].1.clone(),
                kind => {
                    breaches(second)
                        .into_iter()
                        .find(|(one, _)| *one == kind)
                        .unwrap()
                        .1
                }
            };
            let both = || {
                Tunnel::new()
                    .sends(first, &bytes, 100)
                    .sends(second, &echo, 101)
            };
            let endings = [
                both().ends(first, TransportEnd::Fin, 105),
                both().ends(second, TransportEnd::Rst, 105),
                both().sends(first, &close(first, 1002), 105),
                both().sends(second, &close(second, 1002), 105),
            ];
            // After the scanner lost sync, no Close is seen.
            let seen = if kind == Violation::LengthMsb { 2 } else { 4 };
            for (number, ending) in endings.into_iter().take(seen).enumerate() {
                let verdict = decide(&ending.over());
                let about = format!("{kind:?} by the {}, {number}", first.party().as_str());
                assert_eq!(verdict.rule, fault_of(first), "{about}");
                let breach_facts: Vec<_> = verdict
                    .evidence
                    .iter()
                    .filter(|it| it.fact.contains("RFC 6455"))
                    .collect();
                assert!(breach_facts.len() >= 2, "{about}: both are named");
                assert!(
                    breach_facts[0].fact.contains(first.party().as_str()),
                    "{about}"
                );
                assert_in_order(&verdict, &about);
            }
        }
    }
}

/// A breach that was tolerated for a long time does not excuse a later breach by the other end.
#[test]
fn an_old_breach_excuses_no_fresh_one() {
    for old in BOTH {
        let fresh = old.other();
        let tunnel = Tunnel::new()
            .sends(old, &frame(old, 0x8a, &[b'x'; 126]), 100)
            .sends(fresh, &frame(fresh, 0x83, b"x"), 60_000)
            .sends(old, &close(old, 1002), 60_002);
        assert_eq!(decide(&tunnel.over()).rule, fault_of(fresh));
    }
}

/// Other sessions that end in the same second have another cause, and so has a replaced process.
#[test]
fn a_crash_is_not_blamed_on_a_breach() {
    let cut = Tunnel::new()
        .sends(Leg::Client, &frame(Leg::Client, 0x83, b"x"), 100)
        .ends(Leg::Gateway, TransportEnd::Fin, 200);
    let mut record = cut.over();
    assert_eq!(rule_of(&record), fault_of(Leg::Client));
    record.context = Some(ContextFacts {
        lost_together: 3,
        ..ContextFacts::default()
    });
    assert_eq!(rule_of(&record), "gateway.lifecycle.crash");
}

/// A gateway that goes down ends sessions whatever was sent in them.
#[test]
fn an_announced_end_is_not_blamed_on_a_breach() {
    let ended = |edit: &dyn Fn(&mut serde_json::Value)| {
        rule_of(&edited("client.fault.violation", |record| {
            record["close"] = serde_json::json!({
                "first": "gateway",
                "transport": {
                    "client": "local", "gateway": "fin", "gateway_at": "2026-11-21T10:00:00.900Z",
                },
            });
            edit(record);
        }))
    };
    let breach = "client.fault.violation";
    assert_eq!(ended(&|_| {}), breach);
    let event = |at: &'static str, expected: Option<u64>| {
        ended(&|record| {
            record["dialect"]["shutdown"] = serde_json::json!({
                "reason": "gateway restarting", "at": at, "restart_expected_ms": expected,
            });
        })
    };
    // Before the breach or after it, but before the end.
    for at in ["2026-11-21T10:00:00.020Z", "2026-11-21T10:00:00.500Z"] {
        assert_eq!(event(at, Some(1500)), "gateway.lifecycle.restart");
        assert_eq!(event(at, None), "gateway.lifecycle.stop");
    }
    assert_eq!(event("2026-11-21T10:00:01Z", Some(1500)), breach);
    let others = |at: &'static str, announced: bool| {
        ended(&|record| {
            record["context"] = serde_json::json!({ "going_down": {
                "at": at, "announced": announced, "lost": 1, "restart_expected_ms": 1500,
            } });
        })
    };
    let announced_at = "2026-11-21T10:00:00.500Z";
    assert_eq!(
        others(announced_at, true),
        "gateway.lifecycle.lost_in_restart"
    );
    assert_eq!(others(announced_at, false), breach);
    // The new process had let it in.
    assert_eq!(others("2026-11-21T09:59:50Z", true), breach);
}

/// Close frames of `leg` that break the protocol themselves.
fn broken_closes(leg: Leg) -> Vec<(Violation, Vec<u8>)> {
    let wrong_mask = match leg {
        Leg::Client => (Violation::Unmasked, close(Leg::Gateway, 1000)),
        Leg::Gateway => (Violation::Masked, close(Leg::Client, 1000)),
    };
    let mut long = 1000_u16.to_be_bytes().to_vec();
    long.resize(126, b'x');
    vec![
        wrong_mask,
        (Violation::CloseBody1, frame(leg, 0x88, b"\x03")),
        (Violation::InvalidCloseCode, close(leg, 1005)),
        (Violation::InvalidCloseCode, close(leg, 999)),
        (Violation::InvalidUtf8, frame(leg, 0x88, b"\x03\xe8\xff")),
        (
            Violation::InvalidUtf8,
            frame(leg, 0x88, b"\x03\xf0pairing required\xc3"),
        ),
        (Violation::ControlTooLong, frame(leg, 0x88, &long)),
        (Violation::ControlFragmented, frame(leg, 0x08, b"\x03\xe8")),
        (Violation::Rsv, frame(leg, 0xa8, b"\x03\xe8")),
    ]
}

fn close_fault(leg: Leg, kind: Violation) -> String {
    let name = match kind {
        Violation::InvalidCloseCode => "close_code",
        _ => "close_frame",
    };
    format!("{}.fault.{name}", leg.party().as_str())
}

#[test]
fn a_close_that_breaks_the_protocol_is_its_senders_fault_whatever_is_answered() {
    for by in BOTH {
        let other = by.other();
        for (kind, bytes) in broken_closes(by) {
            let closed = || Tunnel::new().sends(by, &bytes, 100);
            let (_, echo) = broken_closes(other).swap_remove(1);
            let answers = vec![
                closed(),
                closed().sends(other, &close(other, 1000), 102),
                closed().sends(other, &close(other, 1002), 102),
                closed().sends(other, &frame(other, 0x88, b""), 102),
                closed().sends(other, &echo, 102),
                closed().ends(other, TransportEnd::Fin, 102),
                closed().ends(other, TransportEnd::Rst, 102),
                closed().ends(by, TransportEnd::Fin, 102),
                closed().sends(by, &frame(by, 0x81, b"x"), 102),
            ];
            for (number, answer) in answers.into_iter().enumerate() {
                let verdict = decide(&answer.over());
                let about = format!("{kind:?} by the {}, {number}", by.party().as_str());
                assert_eq!(verdict.rule, close_fault(by, kind), "{about}");
                assert_eq!(verdict.party, by.party(), "{about}");
                assert_eq!(verdict.confidence, Confidence::Certain, "{about}");
                assert_in_order(&verdict, &about);
            }
        }
    }
}

#[test]
fn a_broken_close_that_came_second_changes_nothing() {
    for first in BOTH {
        for (kind, bytes) in broken_closes(first.other()) {
            let tunnel = Tunnel::new().sends(first, &close(first, 1000), 100).sends(
                first.other(),
                &bytes,
                102,
            );
            let verdict = decide(&tunnel.over());
            assert_eq!(verdict.class, Class::Ok, "{kind:?}: {}", verdict.rule);
            let has_fact = verdict
                .evidence
                .iter()
                .any(|it| it.fact.contains("RFC 6455"));
            assert!(has_fact, "{kind:?}");
        }
    }
}

#[test]
fn a_close_within_the_protocol_is_nobodys_fault() {
    for by in BOTH {
        let mut longest = 1000_u16.to_be_bytes().to_vec();
        longest.resize(125, b'x');
        for bytes in [
            close(by, 1000),
            frame(by, 0x88, b""),
            frame(by, 0x88, b"\x03\xe8d\xc3\xa9j\xc3\xa0 vu"),
            frame(by, 0x88, &longest),
        ] {
            let verdict = decide(&Tunnel::new().sends(by, &bytes, 100).over());
            let fault = [Class::ClientFault, Class::GatewayFault].contains(&verdict.class);
            assert!(!fault, "{bytes:?}: {}", verdict.rule);
        }
    }
}

/// A breach by one end, and a Close by the other end for it that breaks the protocol as well.
#[test]
fn a_breach_beats_the_broken_close_that_answers_it() {
    for by in BOTH {
        let mut answer = close(by.other(), 1002);
        answer[0] = 0xa8;
        let tunnel =
            Tunnel::new()
                .sends(by, &frame(by, 0x83, b"x"), 100)
                .sends(by.other(), &answer, 102);
        assert_eq!(decide(&tunnel.over()).rule, fault_of(by));
    }
}

#[test]
fn what_an_agreed_extension_allows_is_no_breach() {
    let compressed = |leg| frame(leg, 0xc1, &[0xff, 0x01]);
    for (offer, breach) in [
        ("", true),
        ("permessage-deflate", false),
        ("x-webkit-deflate-frame", false),
        ("deflate-frame; no_context_takeover", false),
        ("x-unknown", false),
    ] {
        let agreed = Extensions::from_response([offer.as_bytes()]);
        for by in BOTH {
            let record = Tunnel::with(agreed)
                .sends(by, &compressed(by), 100)
                .ends(by.other(), TransportEnd::Fin, 102)
                .over();
            let blamed = rule_of(&record) == fault_of(by);
            assert_eq!(blamed, breach, "{offer:?}: {}", rule_of(&record));
        }
    }
}

#[test]
fn a_reason_is_quoted_whole_and_a_longer_one_is_named() {
    for (length, mark) in [(123, ""), (1000, "…(+877)")] {
        let mut body = 1011_u16.to_be_bytes().to_vec();
        body.resize(2 + length, b'x');
        let bytes = frame(Leg::Gateway, 0x88, &body);
        let verdict = decide(&Tunnel::new().sends(Leg::Gateway, &bytes, 100).over());
        let quoted = format!("\"{}{mark}\"", "x".repeat(123));
        let has_fact = verdict.evidence.iter().any(|it| it.fact.contains(&quoted));
        assert!(has_fact, "{:?}", verdict.evidence);
        if mark.is_empty() {
            assert_eq!(verdict.rule, "gateway.fault.internal");
            assert!(verdict.summary.contains(&quoted), "{}", verdict.summary);
        } else {
            assert_eq!(verdict.rule, "gateway.fault.close_frame");
            assert!(
                verdict.summary.contains("longer than 125 bytes"),
                "{}",
                verdict.summary
            );
        }
    }
}
