//! Records cut at every byte, several at once, broken ones, new keys: always the same plaintext.

mod hostile;
mod updates;

use std::io::{Read as _, Write as _};

use proptest::prelude::*;
use rustls::{AlertDescription, ClientConnection, Error};

use super::*;
use crate::transport::tls::ListenerTlsState;
use crate::transport::tls::tests::{Server, VERSIONS};

/// An engine, and a client whose records the test carries to it.
struct Pair {
    engine: TlsEngine,
    client: ClientConnection,
    plain: Vec<u8>,
    out: Out,
}

impl Pair {
    fn begun(
        version: &'static rustls::SupportedProtocolVersion,
        change: impl FnOnce(&mut rustls::ClientConfig),
    ) -> Self {
        let server = Server::new();
        let terminator = server.terminator("", &ListenerTlsState::new(None).unwrap());
        let (config, _) = terminator.for_one_handshake();
        let mut client = server.client(version);
        change(Arc::make_mut(&mut client));
        let name = "gw.example".try_into().unwrap();
        Self {
            engine: TlsEngine::new(config, Vec::new()).unwrap(),
            client: ClientConnection::new(client, name).unwrap(),
            plain: Vec::new(),
            out: Out::default(),
        }
    }

    fn new(version: &'static rustls::SupportedProtocolVersion) -> Self {
        let mut pair = Self::begun(version, |_| {});
        pair.shake(usize::MAX);
        pair
    }

    /// The `Records` of the engine; only with TLS 1.3, after the library's part.
    fn records(&mut self) -> &mut Records {
        match &mut self.engine.layer {
            Layer::Records(records) => records,
            Layer::Library(_) => panic!("not settled"),
        }
    }

    /// Does the handshake in pieces of `piece` bytes.
    fn shake(&mut self, piece: usize) {
        while self.client.is_handshaking() || self.engine.is_handshaking() {
            for bytes in self.unsent().chunks(piece) {
                self.feed(bytes);
                self.answer().unwrap();
            }
        }
        self.settle();
        assert!(self.engine.kept().is_empty() && self.engine.kept.capacity() == 0);
    }

    /// Does the handshake until the client has only its last message left to send.
    fn shake_but_the_last(&mut self) {
        while self.client.is_handshaking() {
            let bytes = self.unsent();
            self.feed(&bytes);
            self.answer().unwrap();
        }
    }

    /// Settles the engine, as a stream does at its start.
    fn settle(&mut self) {
        let spare = Self::begun(VERSIONS[0], |_| {}).engine;
        let engine = std::mem::replace(&mut self.engine, spare);
        self.engine = engine.settle().unwrap();
        let plain = |bytes: &[u8]| self.plain.extend_from_slice(bytes);
        self.engine.receive_kept(plain, &mut self.out);
    }

    /// The bytes that the client has to send.
    fn unsent(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        while self.client.wants_write() {
            self.client.write_tls(&mut bytes).unwrap();
        }
        bytes
    }

    fn data(&mut self, bytes: &[u8]) -> Vec<u8> {
        self.client.writer().write_all(bytes).unwrap();
        self.unsent()
    }

    fn closing(&mut self) -> Vec<u8> {
        self.client.send_close_notify();
        self.unsent()
    }

    /// Feeds bytes as a leg does: after the kept bytes.
    fn feed(&mut self, bytes: &[u8]) {
        let mut input = [self.engine.kept(), bytes].concat();
        let plain = |bytes: &[u8]| self.plain.extend_from_slice(bytes);
        self.engine.receive(&mut input, plain, &mut self.out);
    }

    /// Hands the waiting records to the client and returns the plaintext that it reads.
    fn answer(&mut self) -> Result<Vec<u8>, Error> {
        let bytes = self.out.bytes().unwrap().to_vec();
        self.out.clear();
        let mut bytes = bytes.as_slice();
        let mut plain = Vec::new();
        while !bytes.is_empty() && self.client.read_tls(&mut bytes).unwrap() > 0 {
            self.client.process_new_packets()?;
            // The end means that there is nothing more *for now*.
            let _ = self.client.reader().read_to_end(&mut plain);
        }
        Ok(plain)
    }

    /// The bodies of the records that wait to be sent.
    fn answers(&mut self) -> Vec<Vec<u8>> {
        let bytes = self.out.bytes().unwrap().to_vec();
        self.out.clear();
        let (mut rest, mut all) = (bytes.as_slice(), Vec::new());
        while let Some((header, behind)) = rest.split_first_chunk::<5>() {
            let length = usize::from(u16::from_be_bytes([header[3], header[4]]));
            let (body, next) = behind.split_at(length);
            all.push(body.to_vec());
            rest = next;
        }
        all
    }

    fn says(&mut self, bytes: &[u8]) -> Vec<u8> {
        self.engine.seal(bytes, &mut self.out).unwrap();
        self.answer().unwrap()
    }

    fn failed(&self) -> &Error {
        match self.engine.end() {
            Some(End::Failed(error)) => error,
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_handshake_byte_by_byte() {
    for version in VERSIONS {
        let mut pair = Pair::begun(version, |_| {});
        pair.shake(1);
        let bytes = pair.data(b"to the server");
        pair.feed(&bytes);
        assert_eq!(pair.plain, b"to the server");
        assert_eq!(pair.says(b"to the client"), b"to the client");
    }
}

/// Data that the client sends in one piece with its last handshake message.
#[test]
fn much_can_come_right_behind_the_handshake() {
    for version in VERSIONS {
        for new_keys in [false, version == VERSIONS[1]] {
            for cut in [0, 1, 7, 22, 30] {
                let mut pair = Pair::begun(version, |_| {});
                pair.shake_but_the_last();
                let mut burst = pair.unsent();
                burst.extend(pair.data(b"first "));
                if new_keys {
                    pair.client.refresh_traffic_keys().unwrap();
                }
                burst.extend(pair.data(b"second"));
                let (burst, tail) = burst.split_at(burst.len() - cut);
                pair.feed(burst);
                assert!(!pair.engine.is_handshaking());
                pair.answer().unwrap();
                pair.settle();
                pair.feed(tail);
                assert_eq!(pair.plain, b"first second", "{new_keys} {cut}");
                assert_eq!(pair.says(b"ours"), b"ours", "{new_keys} {cut}");
            }
        }
    }
}

/// An end right after the handshake is found by the library, as with TLS 1.2, or by our code.
#[test]
fn an_end_can_come_right_behind_the_handshake() {
    for version in VERSIONS {
        let mut pair = Pair::begun(version, |_| {});
        pair.shake_but_the_last();
        let mut burst = pair.unsent();
        burst.extend(pair.data(b"all there is"));
        burst.extend(pair.closing());
        pair.feed(&burst);
        pair.answer().unwrap();
        pair.settle();
        assert_eq!(pair.plain, b"all there is");
        assert!(matches!(pair.engine.end(), Some(End::Closed)));
        assert_eq!(pair.says(b"ours"), b"ours");
    }
}

/// One record for every byte of the first message.
#[test]
fn a_hello_in_many_records() {
    for version in VERSIONS {
        let mut pair = Pair::begun(version, |_| {});
        let hello = pair.unsent();
        for byte in &hello[5..] {
            pair.feed(&[0x16, 3, 1, 0, 1, *byte]);
        }
        pair.answer().unwrap();
        pair.shake(usize::MAX);
        assert_eq!(pair.says(b"hello"), b"hello");
    }
}

/// A message that was begun continues with other bytes.
#[test]
fn a_hello_that_is_broken_off() {
    let mut pair = Pair::begun(VERSIONS[1], |_| {});
    let hello = pair.unsent();
    pair.feed(&[0x16, 3, 1, 0, 2, hello[5], hello[6]]);
    pair.feed(&[0x17, 3, 3, 0, 1, 0]);
    pair.failed();
    assert!(pair.engine.seal(b"x", &mut pair.out).is_err());
    let mut pair = Pair::begun(VERSIONS[1], |_| {});
    pair.feed(b"GET / HTTP/1.1\r\n\r\n");
    assert!(matches!(pair.failed(), Error::InvalidMessage(_)));
    assert_eq!(
        pair.answer(),
        Err(Error::AlertReceived(AlertDescription::DecodeError))
    );
}

#[test]
fn a_record_can_be_cut_at_every_byte() {
    for version in VERSIONS {
        let mut pair = Pair::new(version);
        for at in 0.. {
            let burst = [pair.data(b"one"), pair.data(b"two and a half")].concat();
            let Some((front, back)) = burst.split_at_checked(at) else {
                break;
            };
            pair.feed(front);
            assert_eq!(pair.says(b"in between"), b"in between");
            pair.feed(back);
            assert_eq!(
                std::mem::take(&mut pair.plain),
                b"onetwo and a half",
                "{at}"
            );
            assert_eq!(pair.engine.kept.capacity(), 0);
        }
    }
}

#[test]
fn an_end_behind_data_can_be_cut_anywhere() {
    for version in VERSIONS {
        let mut length = usize::MAX;
        let mut at = 0;
        while at < length {
            let mut pair = Pair::new(version);
            let mut burst = pair.data(b"one");
            burst.extend(pair.data(b"two and a half"));
            burst.extend(pair.closing());
            burst.extend(b"nobody's");
            length = burst.len();
            pair.feed(&burst[..at]);
            pair.feed(&burst[at..]);
            assert_eq!(pair.plain, b"onetwo and a half", "{at}");
            assert!(matches!(pair.engine.end(), Some(End::Closed)), "{at}");
            assert_eq!(pair.engine.kept.capacity(), 0);
            assert_eq!(pair.says(b"still heard"), b"still heard");
            at += 7;
        }
    }
}

#[test]
fn both_sides_can_say_that_they_end() {
    for version in VERSIONS {
        for client_first in [true, false] {
            let mut pair = Pair::new(version);
            let bytes = pair.closing();
            if client_first {
                pair.feed(&bytes);
            }
            pair.engine.close(&mut pair.out);
            assert!(!pair.out.bytes().unwrap().is_empty());
            pair.answer().unwrap();
            assert_eq!(pair.client.reader().read(&mut [0; 8]).unwrap(), 0);
            if !client_first {
                pair.feed(&bytes);
            }
            assert!(matches!(pair.engine.end(), Some(End::Closed)));
            pair.engine.close(&mut pair.out);
            assert!(pair.out.bytes().unwrap().is_empty(), "said once");
        }
    }
}

#[test]
fn a_broken_record_ends_it_with_an_alert_behind_the_good_ones() {
    for version in VERSIONS {
        let mut pair = Pair::new(version);
        let mut burst = pair.data(b"good");
        burst.extend(pair.data(b"bad"));
        *burst.last_mut().unwrap() ^= 1;
        pair.feed(&burst);
        assert_eq!(pair.plain, b"good");
        assert_eq!(*pair.failed(), Error::DecryptError);
        assert_eq!(
            pair.answer(),
            Err(Error::AlertReceived(AlertDescription::BadRecordMac))
        );
        let error = pair.engine.seal(b"x", &mut pair.out).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
        pair.engine.close(&mut pair.out);
        assert!(pair.out.bytes().unwrap().is_empty());
    }
}

#[test]
fn the_client_takes_new_keys_and_asks_for_ours() {
    let mut pair = Pair::new(VERSIONS[1]);
    for round in 0..3 {
        let mut burst = pair.data(b"old ");
        pair.client.refresh_traffic_keys().unwrap();
        burst.extend(pair.data(b"new"));
        for bytes in burst.chunks(5 + round) {
            pair.feed(bytes);
        }
        assert_eq!(std::mem::take(&mut pair.plain), b"old new");
        assert_eq!(pair.says(b"by new keys"), b"by new keys");
        assert_eq!(pair.says(b"again"), b"again");
    }
}

#[test]
fn we_take_new_keys_before_one_has_sealed_too_much() {
    let mut pair = Pair::new(VERSIONS[1]);
    let before = pair.records().sealed();
    pair.records().limit_to(before + 2);
    for _ in 0..5 {
        // Three records: the third uses a new key, and the `KeyUpdate` comes before it.
        let long = vec![7; 40_000];
        assert_eq!(pair.says(&long), long);
        assert!(pair.records().sealed() <= before + 2);
        // The client's new key comes before its next data.
        let bytes = pair.data(b"understood");
        pair.feed(&bytes);
        assert_eq!(std::mem::take(&mut pair.plain), b"understood");
    }
}

#[test]
fn long_writes_are_several_records() {
    for version in VERSIONS {
        let mut pair = Pair::new(version);
        let long: Vec<u8> = (0..100_000_u32).map(|at| at.to_le_bytes()[0]).collect();
        assert_eq!(pair.says(&long), long);
        assert_eq!(pair.says(b""), b"");
        let pieces = long.chunks(999);
        pair.engine.seal_all(pieces, &mut pair.out).unwrap();
        assert_eq!(pair.answer().unwrap(), long);
    }
}

/// Each makes a new client key and requests one of ours, which is useless without data between
/// them.
#[test]
fn key_updates_without_data_are_few_and_are_answered_once() {
    let mut pair = Pair::new(VERSIONS[1]);
    let update = |pair: &mut Pair| {
        pair.client.refresh_traffic_keys().unwrap();
        let bytes = pair.unsent();
        pair.feed(&bytes);
    };
    for _ in 0..32 {
        update(&mut pair);
    }
    assert!(pair.engine.end().is_none());
    assert!(
        pair.out.bytes().unwrap().is_empty(),
        "nothing to say it before"
    );
    let data = b"written meanwhile";
    pair.engine.seal(data, &mut pair.out).unwrap();
    let unread = pair.out.bytes().unwrap().to_vec();
    let lengths: Vec<usize> = pair.answers().iter().map(Vec::len).collect();
    assert_eq!(lengths, [5 + 1 + 16, data.len() + 1 + 16]);
    let appended = pair.out.append(unread.len(), |room| {
        room.copy_from_slice(&unread);
        Some(())
    });
    appended.unwrap();
    assert_eq!(pair.answer().unwrap(), data);
    let bytes = pair.data(b"more");
    pair.feed(&bytes);
    for _ in 0..32 {
        update(&mut pair);
    }
    assert!(pair.engine.end().is_none());
    update(&mut pair);
    let many = rustls::PeerMisbehaved::TooManyKeyUpdateRequests;
    assert_eq!(*pair.failed(), many.into());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// The plaintext and the end are the same however the bytes are chunked.
    #[test]
    fn any_chunking_gives_the_same_plaintext(
        messages in proptest::collection::vec((0usize..40_000, any::<bool>()), 0..8),
        chunks in proptest::collection::vec(1usize..70_000, 1..40),
        closes: bool,
        tls13: bool,
    ) {
        let mut pair = Pair::new(VERSIONS[usize::from(tls13)]);
        let (mut burst, mut wanted) = (Vec::new(), Vec::new());
        for (at, (length, new_keys)) in messages.into_iter().enumerate() {
            let message = vec![u8::try_from(at).unwrap(); length];
            burst.extend(pair.data(&message));
            wanted.extend(message);
            if new_keys && tls13 {
                pair.client.refresh_traffic_keys().unwrap();
                burst.extend(pair.unsent());
            }
        }
        if closes {
            burst.extend(pair.closing());
        }
        let mut rest = burst.as_slice();
        for chunk in chunks.into_iter().cycle() {
            let (now, later) = rest.split_at(chunk.min(rest.len()));
            pair.feed(now);
            prop_assert!(pair.engine.kept().len() < 17 * 1024);
            rest = later;
            if rest.is_empty() {
                break;
            }
        }
        prop_assert!(pair.plain == wanted);
        prop_assert_eq!(matches!(pair.engine.end(), Some(End::Closed)), closes);
        prop_assert!(pair.engine.kept().is_empty());
        prop_assert_eq!(pair.says(b"answer"), b"answer");
    }
}

/// Every idle TLS session holds an engine, so its size is bounded.
#[test]
#[cfg(target_pointer_width = "64")]
fn an_engine_grows_by_nobodys_oversight() {
    let (engine, records) = (size_of::<TlsEngine>(), size_of::<Records>());
    assert!(engine <= 112, "an engine takes {engine} bytes");
    assert!(records <= 1728, "its records take {records} bytes");
}
