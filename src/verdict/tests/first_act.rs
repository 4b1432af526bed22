//! Who ended a session first: all code that uses the answer agrees, whatever happened.

use std::time::{Duration, Instant};

use proptest::prelude::*;
use uuid::Uuid;

use super::*;
use crate::session::first_act::Unrecorded;
use crate::session::memory::lost;
use crate::session::party::{Leg, Party, Phase};
use crate::session::record::close::{ActKind, FirstAct};
use crate::session::record::{Kind, TimerKey, TransportEnd};
use crate::session::{Anchor, Recorder};
use crate::verdict::view::{Decisive, View};
use crate::ws::CloseFrame;

/// Something that happens at the end of a tunnel.
#[derive(Clone, Copy, Debug)]
enum Event {
    Close(Leg),
    Written(Leg),
    End(Leg, TransportEnd),
    Timer,
    Drain,
    Fault,
}

impl Event {
    /// The same event with the ends swapped.
    fn mirrored(self) -> Self {
        match self {
            Self::Close(leg) => Self::Close(leg.other()),
            Self::Written(leg) => Self::Written(leg.other()),
            Self::End(leg, end) => Self::End(leg.other(), end),
            same => same,
        }
    }
}

fn events() -> impl Strategy<Value = Vec<(u64, Event)>> {
    let leg = || prop_oneof![Just(Leg::Client), Just(Leg::Gateway)];
    let end = prop_oneof![
        Just(TransportEnd::Fin),
        Just(TransportEnd::Rst),
        Just(TransportEnd::TlsClose),
        Just(TransportEnd::TlsTruncated),
        Just(TransportEnd::Timeout),
        Just(TransportEnd::Local),
    ];
    let event = prop_oneof![
        leg().prop_map(Event::Close),
        leg().prop_map(Event::Written),
        (leg(), end).prop_map(|(leg, end)| Event::End(leg, end)),
        Just(Event::Timer),
        Just(Event::Drain),
        Just(Event::Fault),
    ];
    // Microseconds: many events at the same moment.
    prop::collection::vec((0..4_u64, event), 0..10)
}

/// The record of a tunnel that ended with these events.
fn record(events: &[(u64, Event)]) -> SessionRecord {
    let start = Instant::now();
    let wall = "2026-12-01T00:00:00Z".parse().unwrap();
    let mut recorder = Recorder::new(Uuid::nil(), Anchor::new(wall, start));
    recorder.facts_mut().kind = Kind::Websocket;
    recorder.facts_mut().phase = Phase::Open;
    let mut at = start + Duration::from_secs(1);
    for (later, event) in events {
        at += Duration::from_micros(*later);
        match *event {
            Event::Close(leg) => recorder.close_received(leg, &CloseFrame::parse(&[3, 232]), at),
            Event::Written(leg) => recorder.written(leg, at),
            Event::End(leg, end) => recorder.leg_ended(leg, end, None, at),
            Event::Timer => {
                let limit = Duration::from_secs(1);
                recorder.timer_fired(TimerKey::Idle, limit, limit, at);
            }
            Event::Drain => recorder.drained(at),
            Event::Fault => recorder.faulted("a bug".to_owned(), at),
        }
    }
    recorder.finish(at + Duration::from_secs(1))
}

fn party(decisive: Decisive) -> Option<Party> {
    match decisive {
        Decisive::Refusal | Decisive::GatewayClose | Decisive::GatewayTransport => {
            Some(Party::Gateway)
        }
        Decisive::ClientClose | Decisive::ClientTransport => Some(Party::Client),
        Decisive::Tap => Some(Party::Tap),
        Decisive::Nothing => None,
    }
}

/// The answers of all users of this record.
fn assert_one_answer(record: &SessionRecord) {
    let act = record.close.first_act;
    assert_eq!(record.first_act(), act, "reading finds what was stored");
    assert_eq!(record.close.first, act.map(|act| act.party));
    let view = View::new(record);
    assert_eq!(party(view.decisive()), act.map(|act| act.party));
    assert_eq!(view.decided_at(), act.map(|act| act.at));
    if let Some((leg, at)) = lost(record) {
        let (party, kind) = (leg.party(), ActKind::Transport);
        assert_eq!(act, Some(FirstAct { party, kind, at }));
    }
    let close = &record.close;
    let times = [&close.client, &close.gateway, &close.tap]
        .into_iter()
        .flatten()
        .map(|close| close.at)
        .chain(close.timer.map(|timer| timer.at));
    for at in times {
        assert!(act.is_some_and(|act| act.at <= at), "{act:?} is not first");
    }
    // Records of older versions lack the answer; it is derived from the other fields.
    let mut older = record.clone();
    older.close.first_act = None;
    let derived = older.first_act();
    if close.fault.is_none() && !close.drained {
        assert_eq!(derived, act);
    } else if close.fault.is_some() && close.first == Some(Party::Tap) {
        assert_eq!(
            derived.map(|act| (act.party, act.kind)),
            act.map(|act| (act.party, act.kind))
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4096, ..ProptestConfig::default() })]

    #[test]
    fn everyone_who_asks_gets_the_same_answer(events in events()) {
        assert_one_answer(&record(&events));
    }

    #[test]
    fn with_the_ends_exchanged_so_is_the_answer(events in events()) {
        let mirrored: Vec<_> = events.iter().map(|(later, event)| (*later + 1, event.mirrored())).collect();
        let events: Vec<_> = events.iter().map(|(later, event)| (*later + 1, *event)).collect();
        let exchanged = |party| match party {
            Party::Client => Party::Gateway,
            Party::Gateway => Party::Client,
            same => same,
        };
        let (one, other) = (record(&events).close.first, record(&mirrored).close.first);
        prop_assert_eq!(one.map(exchanged), other);
    }
}

#[test]
fn nobody_ended_what_has_not_ended() {
    let record = record(&[
        (0, Event::Written(Leg::Client)),
        (0, Event::End(Leg::Client, TransportEnd::Local)),
    ]);
    assert_one_answer(&record);
    assert_eq!(record.close.first, None);
}

/// An application that refuses has ended the session, even if the client is the first to close it.
#[test]
fn a_refusal_comes_before_the_close_that_it_brings_about() {
    let mut refused = fixture("gateway.auth.token_mismatch");
    let at = refused.application().answered_at.unwrap();
    refused.note_first_act(Unrecorded::default());
    let act = refused.close.first_act.unwrap();
    assert_eq!(
        (act.party, act.kind, act.at),
        (Party::Gateway, ActKind::Refusal, at)
    );
    assert_one_answer(&refused);
}
