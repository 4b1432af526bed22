//! Messages are the same however they are cut.

use proptest::prelude::*;

use super::*;
use crate::dialect::{Ending, Message};
use crate::session::credential::{Credential, Fingerprinter};
use crate::session::moment::Anchor;
use crate::session::record::DialectFacts;
use crate::session::record::dialect::PlainFacts;
use crate::ws::inflate::InflateStop;
use crate::ws::masking::apply_mask;

/// Wants the first `wants` bytes of every message and keeps what it got.
#[derive(Default)]
struct Listener {
    wants: usize,
    heard: Vec<(Opcode, Vec<u8>, bool)>,
}

impl Dialect for Listener {
    fn wants(&self, _: Direction, _: Opcode) -> usize {
        self.wants
    }
    fn message(&mut self, _: Direction, message: &Message<'_>, _: Instant) {
        self.heard
            .push((message.opcode, message.bytes.to_vec(), message.whole));
    }
    fn is_open(&self) -> bool {
        true
    }
    fn facts(&self, _: &Ending<'_>) -> (DialectFacts, Vec<Credential>) {
        (DialectFacts::Plain(PlainFacts), Vec::new())
    }
}

fn listen(wants: usize, pieces: &[&[u8]]) -> Vec<(Opcode, Vec<u8>, bool)> {
    let mut listener = Listener {
        wants,
        ..Listener::default()
    };
    let mut heartbeats = Heartbeats::default();
    let mut observer = Observer::new(Direction::ToGateway, Extensions::default());
    for piece in pieces {
        let mut shared = SessionReaders {
            dialect: &mut listener,
            heartbeats: &mut heartbeats,
        };
        observer.observe(piece, Instant::now(), &mut shared);
    }
    listener.heard
}

/// `hello world` as a masked text in two fragments with a ping between.
fn fragments() -> Vec<u8> {
    let mut bytes = Vec::new();
    for (first, part, key) in [
        (0x01, "hello ", [1, 2, 3, 4]),
        (0x89, "?", [9, 9, 9, 9]),
        (0x80, "world", [5, 6, 7, 8]),
    ] {
        let mut body = part.as_bytes().to_vec();
        apply_mask(&mut body, key, 0);
        bytes.extend([first, 0x80 | u8::try_from(body.len()).unwrap()]);
        bytes.extend(key);
        bytes.extend(body);
    }
    bytes
}

#[test]
fn fragments_are_unmasked_and_put_together() {
    let heard = listen(64, &[&fragments()]);
    assert_eq!(heard, [(Opcode::Text, b"hello world".to_vec(), true)]);
}

#[test]
fn only_the_wanted_front_is_kept() {
    assert_eq!(
        listen(8, &[&fragments()]),
        [(Opcode::Text, b"hello wo".to_vec(), false)]
    );
    assert_eq!(listen(0, &[&fragments()]), []);
}

proptest! {
    #[test]
    fn any_chunking_gives_the_same_message(size in 1usize..24, wants in 1usize..16) {
        let bytes = fragments();
        let pieces: Vec<&[u8]> = bytes.chunks(size).collect();
        prop_assert_eq!(listen(wants, &pieces), listen(wants, &[&bytes]));
    }
}

/// Messages of a compressed session: each as one to three fragments, compressed or not.
fn compressed(texts: &[String], plain: &[bool], takeover: bool, masked: bool) -> Vec<u8> {
    let mut raw = flate2::Compress::new(flate2::Compression::default(), false);
    let mut wire = Vec::new();
    for (at, text) in texts.iter().enumerate() {
        let as_it_is = plain[at % plain.len()];
        let mut body = text.as_bytes().to_vec();
        if !as_it_is {
            if !takeover {
                raw.reset();
            }
            body = Vec::with_capacity(text.len() + 256);
            let flush = flate2::FlushCompress::Sync;
            raw.compress_vec(text.as_bytes(), &mut body, flush).unwrap();
            body.truncate(body.len() - 4);
        }
        let parts: Vec<&[u8]> = body.chunks((body.len() / (1 + at % 3)).max(1)).collect();
        for (part, bytes) in parts.iter().enumerate() {
            let opcode = u8::from(part == 0);
            let rsv1 = if part == 0 && !as_it_is { 0x40 } else { 0 };
            let fin = if part + 1 == parts.len() { 0x80 } else { 0 };
            wire.push(fin | rsv1 | opcode);
            let mask = if masked { 0x80 } else { 0 };
            wire.extend([mask | 0x7e]);
            wire.extend(u16::try_from(bytes.len()).unwrap().to_be_bytes());
            let mut bytes = bytes.to_vec();
            if masked {
                wire.extend([1, 2, 3, 4]);
                apply_mask(&mut bytes, [1, 2, 3, 4], 0);
            }
            wire.extend(bytes);
        }
    }
    wire
}

proptest! {
    #[test]
    fn compressed_and_fragmented_messages_are_read_in_any_chunking(
        texts in proptest::collection::vec("[a-f]{1,120}", 1..6),
        plain in proptest::collection::vec(any::<bool>(), 1..4),
        takeover: bool,
        to_gateway: bool,
        size in 1usize..60,
        wants in 1usize..200,
    ) {
        let direction = if to_gateway { Direction::ToGateway } else { Direction::ToClient };
        let bytes = compressed(&texts, &plain, takeover, to_gateway);
        let agreed = Extensions {
            permessage_deflate: true,
            client_no_context_takeover: !takeover,
            server_no_context_takeover: !takeover,
        ..Extensions::default()
        };
        let mut observer = Observer::new(direction, agreed);
        let mut listener = Listener { wants, ..Listener::default() };
        let mut heartbeats = Heartbeats::default();
        for piece in bytes.chunks(size) {
            let mut shared = SessionReaders { dialect: &mut listener, heartbeats: &mut heartbeats };
            observer.observe(piece, Instant::now(), &mut shared);
        }
        let wanted: Vec<_> = texts
            .iter()
            .map(|text| {
                let front = text.as_bytes()[..text.len().min(wants)].to_vec();
                (Opcode::Text, front, text.len() <= wants)
            })
            .collect();
        prop_assert_eq!(listener.heard, wanted);
    }
}

#[test]
fn what_cannot_be_inflated_is_told_and_not_shown() {
    let hear = |wire: &[u8], agreed: bool| {
        let extensions = Extensions {
            permessage_deflate: agreed,
            ..Extensions::default()
        };
        let mut observer = Observer::new(Direction::ToClient, extensions);
        let mut listener = Listener {
            wants: 99,
            ..Listener::default()
        };
        let mut heartbeats = Heartbeats::default();
        let mut shared = SessionReaders {
            dialect: &mut listener,
            heartbeats: &mut heartbeats,
        };
        observer.observe(wire, Instant::now(), &mut shared);
        let anchor = Anchor::new("2026-11-21T00:00:00Z".parse().unwrap(), Instant::now());
        (listener.heard, observer.inflated(&anchor))
    };
    // Garbage, then a valid message that refers to a window that is lost.
    let (heard, inflated) = hear(
        b"\xc1\x02\xff\xff\xc1\x07\xf2\x48\xcd\xc9\xc9\x07\x00",
        true,
    );
    assert_eq!(heard, vec![(Opcode::Text, Vec::new(), false); 2]);
    let inflated = inflated.unwrap();
    assert_eq!(inflated.stopped, Some(InflateStop::Broken));
    assert!(inflated.stopped_at.is_some());
    // RSV1 without the extension: a violation, and nothing to read.
    let (heard, inflated) = hear(b"\xc1\x02{}", false);
    assert_eq!(heard.len(), 1);
    assert_eq!(inflated, None);
}

/// A session as the relay passes it on: each direction in slices of one size, in turns of one
/// message.
fn session(calls: &[(u8, bool)], takeover: bool, plain: &[bool], size: usize) -> DialectFacts {
    let agreed = Extensions {
        permessage_deflate: true,
        client_no_context_takeover: !takeover,
        server_no_context_takeover: !takeover,
        ..Extensions::default()
    };
    let mut asked = vec![r#"{"type":"req","id":"c","method":"connect","params":{}}"#.to_owned()];
    let mut answered =
        vec![r#"{"type":"res","id":"c","ok":true,"payload":{"type":"hello-ok"}}"#.to_owned()];
    for (at, (method, ok)) in calls.iter().enumerate() {
        let filler = "x".repeat(at * 40);
        asked.push(format!(
            r#"{{"method":"m{method}","id":"{}","type":"req","params":"{filler}"}}"#,
            at % 5
        ));
        answered.push(format!(
            r#"{{"id":"{}","ok":{ok},"type":"res","payload":"{filler}"}}"#,
            at % 3
        ));
    }
    let anchor = Anchor::new("2026-11-21T00:00:00Z".parse().unwrap(), Instant::now());
    let now = anchor.opened();
    let key = Fingerprinter::with_key(b"a key for the tests");
    let mut dialect = crate::dialect::reader(crate::dialect::Choice::OpenClaw, &key, "/");
    let mut heartbeats = Heartbeats::default();
    for (direction, texts) in [
        (Direction::ToGateway, &asked),
        (Direction::ToClient, &answered),
    ] {
        let masked = direction == Direction::ToGateway;
        let mut observer = Observer::new(direction, agreed);
        for piece in compressed(texts, plain, takeover, masked).chunks(size) {
            let mut shared = SessionReaders {
                dialect: &mut *dialect,
                heartbeats: &mut heartbeats,
            };
            observer.observe(piece, now, &mut shared);
        }
    }
    let ending = Ending {
        anchor: &anchor,
        now,
        written_to_gateway: u64::MAX,
    };
    let facts = dialect.facts(&ending).0;
    let rpc = facts.application().requests.expect("it was accepted");
    assert_eq!(rpc.requests, calls.len() as u64);
    facts
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn requests_are_the_same_in_any_chunking(
        calls in proptest::collection::vec((0u8..4, any::<bool>()), 0..24),
        plain in proptest::collection::vec(any::<bool>(), 1..4),
        takeover: bool,
        size in 1usize..200,
    ) {
        let whole = session(&calls, takeover, &plain, usize::MAX);
        prop_assert_eq!(session(&calls, takeover, &plain, size), whole);
    }
}
