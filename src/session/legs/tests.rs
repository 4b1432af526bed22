//! Sequences of events at a session's end, and what each end must have observed.

use super::*;
use crate::session::party::Party;
use crate::session::record::SessionRecord;

struct Story {
    start: Instant,
    ending: Ending,
}

fn story() -> Story {
    Story {
        start: Instant::now(),
        ending: Ending::default(),
    }
}

impl Story {
    fn at(&self, ms: u64) -> Instant {
        self.start + Duration::from_millis(ms)
    }
    fn close(mut self, from: Leg, body: &[u8], ms: u64) -> Self {
        let at = self.at(ms);
        self.ending
            .close_received(from, &CloseFrame::parse(body), at);
        self
    }
    fn written(mut self, to: Leg, ms: u64) -> Self {
        let at = self.at(ms);
        self.ending.written(to, at);
        self
    }
    fn end(mut self, leg: Leg, end: TransportEnd, ms: u64) -> Self {
        let at = self.at(ms);
        self.ending.transport_ended(leg, end, None, at);
        self
    }
    fn facts(&self) -> CloseFacts {
        let wall = "2026-11-21T00:00:00Z".parse().unwrap();
        let anchor = Anchor::new(wall, self.start);
        let mut record = SessionRecord {
            close: self.ending.facts(true, &anchor),
            ..SessionRecord::default()
        };
        record.note_first_act(self.ending.unrecorded(&anchor));
        record.close
    }
}

#[expect(
    clippy::unnecessary_wraps,
    reason = "compared with a field that is an option"
)]
fn saw(code: u16, basis: SawBasis) -> Option<Saw> {
    Some(Saw {
        code: CloseCode(code),
        basis,
    })
}

#[test]
fn a_refusal_that_the_client_echoes() {
    let facts = story()
        .close(Leg::Gateway, b"\x03\xf0no", 0)
        .written(Leg::Client, 0)
        .close(Leg::Client, b"\x03\xf0", 2)
        .written(Leg::Gateway, 2)
        .end(Leg::Gateway, TransportEnd::Fin, 3)
        .end(Leg::Client, TransportEnd::Local, 4)
        .facts();
    assert_eq!(facts.first, Some(Party::Gateway));
    assert_eq!(facts.client_saw, saw(1008, SawBasis::Acked));
    assert_eq!(facts.gateway_saw, saw(1008, SawBasis::Written));
    assert_eq!(facts.gateway.unwrap().reason.as_str(), "no");
}

#[test]
fn an_answer_at_the_same_clock_reading_comes_second() {
    for (from, party) in [(Leg::Client, Party::Client), (Leg::Gateway, Party::Gateway)] {
        let facts = story()
            .close(from, b"\x03\xe8", 0)
            .written(from.other(), 0)
            .close(from.other(), b"\x03\xe8", 0)
            .end(from.other(), TransportEnd::Fin, 0)
            .written(from, 0)
            .facts();
        assert_eq!(facts.first, Some(party));
        let (answered, asked) = match from {
            Leg::Client => (facts.gateway_saw, facts.client_saw),
            Leg::Gateway => (facts.client_saw, facts.gateway_saw),
        };
        assert_eq!(answered, saw(1000, SawBasis::Acked));
        assert_eq!(asked, saw(1000, SawBasis::Written));
        let (client, gateway) = (facts.client.unwrap().at, facts.gateway.unwrap().at);
        assert_eq!(client < gateway, from == Leg::Client);
    }
}

#[test]
fn an_empty_close_is_seen_as_1005() {
    let facts = story()
        .close(Leg::Client, b"", 0)
        .written(Leg::Gateway, 0)
        .close(Leg::Gateway, b"", 1)
        .written(Leg::Client, 1)
        .end(Leg::Gateway, TransportEnd::Fin, 2)
        .facts();
    assert_eq!(facts.first, Some(Party::Client));
    assert_eq!(facts.gateway_saw, saw(1005, SawBasis::Acked));
    assert_eq!(facts.client_saw, saw(1005, SawBasis::Written));
    assert_eq!(facts.client.unwrap().code, None);
}

#[test]
fn a_close_to_a_client_that_is_gone_is_undelivered() {
    let late_close = |end, written, refuses| {
        let mut story = story()
            .end(Leg::Client, end, 0)
            .close(Leg::Gateway, b"\x03\xf0", 3);
        if written {
            story = story.written(Leg::Client, 3);
        }
        if refuses {
            story.ending.refuses_to_read(Leg::Client, story.at(4));
        }
        let facts = story.facts();
        assert_eq!(facts.first, Some(Party::Client));
        facts.client_saw
    };
    let (undelivered, delivered) = (
        saw(1006, SawBasis::Undelivered),
        saw(1008, SawBasis::Written),
    );
    for (end, written, refuses, expected) in [
        (TransportEnd::Rst, true, false, undelivered),
        (TransportEnd::Timeout, true, false, undelivered),
        // An end that has only sent FIN still reads.
        (TransportEnd::Fin, true, false, delivered),
        (TransportEnd::TlsClose, true, false, delivered),
        (TransportEnd::TlsTruncated, true, false, delivered),
        (TransportEnd::Fin, false, false, undelivered),
        (TransportEnd::Fin, true, true, undelivered),
        (TransportEnd::TlsClose, true, true, undelivered),
    ] {
        let found = late_close(end, written, refuses);
        assert_eq!(found, expected, "{end:?} {written} {refuses}");
    }
}

#[test]
fn a_half_closed_gateway_reads_the_clients_close_too() {
    let story = story()
        .end(Leg::Gateway, TransportEnd::Fin, 0)
        .close(Leg::Client, b"\x03\xe8", 3)
        .written(Leg::Gateway, 3);
    assert_eq!(story.facts().gateway_saw, saw(1000, SawBasis::Written));
}

#[test]
fn a_close_stuck_behind_a_reset_is_undelivered_and_still_first() {
    let facts = story()
        .close(Leg::Gateway, b"\x03\xf0", 0)
        .end(Leg::Client, TransportEnd::Rst, 3)
        .facts();
    assert_eq!(facts.first, Some(Party::Gateway));
    assert_eq!(facts.client_saw, saw(1006, SawBasis::Undelivered));
}

#[test]
fn who_vanishes_first_sees_nothing_and_the_other_sees_1006() {
    let facts = story()
        .end(Leg::Gateway, TransportEnd::Fin, 0)
        .end(Leg::Client, TransportEnd::Local, 1)
        .facts();
    assert_eq!(
        (facts.first, facts.gateway_saw),
        (Some(Party::Gateway), None)
    );
    assert_eq!(facts.client_saw, saw(1006, SawBasis::Written));
}

#[test]
fn a_close_that_nobody_answers_leaves_its_sender_with_1006() {
    let facts = story()
        .close(Leg::Client, b"\x03\xe8", 0)
        .written(Leg::Gateway, 0)
        .end(Leg::Gateway, TransportEnd::Fin, 5)
        .end(Leg::Client, TransportEnd::Local, 6)
        .facts();
    assert_eq!(facts.client_saw, saw(1006, SawBasis::Written));
    assert_eq!(facts.gateway_saw, saw(1000, SawBasis::Written));
}

#[test]
fn our_own_close_is_the_taps_act() {
    let mut story = story();
    let at = story.at(7);
    let close = CloseFrame {
        code: Some(CloseCode::GOING_AWAY),
        reason: b"wstap: idle".to_vec(),
        ..CloseFrame::default()
    };
    story.ending.timer_fired(
        TimerKey::Idle,
        Duration::from_secs(1),
        Duration::from_secs(1),
        at,
    );
    for leg in [Leg::Client, Leg::Gateway] {
        story.ending.close_of_ours(leg, &close, at);
        story.ending.written(leg, at);
    }
    let facts = story.close(Leg::Client, b"\x03\xe9", 9).facts();
    assert_eq!(facts.first, Some(Party::Tap));
    assert_eq!(facts.client_saw, saw(1001, SawBasis::Acked));
    assert_eq!(facts.gateway_saw, saw(1001, SawBasis::Written));
    assert_eq!(facts.tap.unwrap().reason.as_str(), "wstap: idle");
    assert_eq!(facts.timer.unwrap().limit_ms, 1000);
}

#[test]
fn without_a_tunnel_nobody_saw_a_code() {
    let story = story().end(Leg::Client, TransportEnd::Fin, 0);
    let anchor = Anchor::new(jiff::Timestamp::UNIX_EPOCH, story.start);
    let facts = story.ending.facts(false, &anchor);
    assert_eq!((facts.client_saw, facts.gateway_saw), (None, None));
}

/// The transport looks as if we had ended it, and we did: because of a bug.
#[test]
fn a_leg_that_a_bug_ended_is_a_fault_of_ours() {
    let mut story = story();
    let at = story.at(5);
    let bug = EndCause::bug("a wrong length".to_owned());
    story
        .ending
        .transport_ended(Leg::Gateway, TransportEnd::Local, Some(bug), at);
    assert_eq!(story.facts().fault.as_deref(), Some("a wrong length"));
    let peers = EndCause::from("its error".to_owned());
    let mut other = self::story();
    let at = other.at(5);
    other
        .ending
        .transport_ended(Leg::Gateway, TransportEnd::Rst, Some(peers), at);
    assert_eq!(other.facts().fault, None);
}
