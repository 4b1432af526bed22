//! Records that only a client with the keys can make: bad ones get the right alert, and their
//! number is bounded.

use proptest::prelude::*;
use rustls::crypto::cipher::{
    InboundOpaqueMessage, MessageDecrypter, MessageEncrypter, OutboundChunks, OutboundPlainMessage,
};
use rustls::{
    AlertDescription, ConnectionTrafficSecrets, ContentType, ExtractedSecrets, ProtocolVersion,
};

use super::*;

/// The keys of a client after its handshake.
pub(super) struct Keys {
    encrypter: Box<dyn MessageEncrypter>,
    decrypter: Box<dyn MessageDecrypter>,
    next: u64,
    heard: u64,
}

impl Keys {
    /// Takes the keys of `client`, which has `enable_secret_extraction`.
    pub(super) fn of(client: ClientConnection) -> Self {
        let suite = client.negotiated_cipher_suite().unwrap();
        let ExtractedSecrets { tx, rx } = client.dangerous_extract_secrets().unwrap();
        let parts = |secrets| match secrets {
            ConnectionTrafficSecrets::Aes128Gcm { key, iv }
            | ConnectionTrafficSecrets::Aes256Gcm { key, iv }
            | ConnectionTrafficSecrets::Chacha20Poly1305 { key, iv } => (key, iv),
            _ => panic!("a suite that is not known"),
        };
        let aead = suite.tls13().unwrap().aead_alg;
        let ((our_key, our_iv), (key, iv)) = (parts(tx.1), parts(rx.1));
        Self {
            encrypter: aead.encrypter(our_key, our_iv),
            decrypter: aead.decrypter(key, iv),
            next: tx.0,
            heard: rx.0,
        }
    }

    pub(super) fn record(&mut self, typ: ContentType, payload: &[u8]) -> Vec<u8> {
        let message = OutboundPlainMessage {
            typ,
            version: ProtocolVersion::TLSv1_3,
            payload: OutboundChunks::Single(payload),
        };
        let record = self.encrypter.encrypt(message, self.next).unwrap().encode();
        self.next += 1;
        record
    }

    /// The alert in these record bodies, which must hold nothing else; `None` without bodies.
    pub(super) fn alert(&mut self, bodies: &[Vec<u8>]) -> Option<(u8, AlertDescription)> {
        let [body] = bodies else {
            assert!(bodies.is_empty(), "{bodies:?}");
            return None;
        };
        let mut body = body.clone();
        let message = InboundOpaqueMessage::new(
            ContentType::ApplicationData,
            ProtocolVersion::TLSv1_2,
            &mut body,
        );
        let message = self.decrypter.decrypt(message, self.heard).unwrap();
        assert_eq!(message.typ, ContentType::Alert);
        Some((message.payload[0], message.payload[1].into()))
    }
}

/// A client that has the keys and breaks the protocol.
pub(super) struct Hostile {
    pub(super) pair: Pair,
    keys: Keys,
}

impl Hostile {
    pub(super) fn new() -> Self {
        let mut pair = Pair::begun(VERSIONS[1], |config| config.enable_secret_extraction = true);
        pair.shake(usize::MAX);
        let spare = Pair::begun(VERSIONS[1], |_| {}).client;
        let keys = Keys::of(std::mem::replace(&mut pair.client, spare));
        Self { pair, keys }
    }

    fn record(&mut self, typ: ContentType, payload: &[u8]) -> Vec<u8> {
        self.keys.record(typ, payload)
    }

    pub(super) fn feed(&mut self, typ: ContentType, payload: &[u8]) {
        let record = self.record(typ, payload);
        self.pair.feed(&record);
    }

    /// A padded record, which the library would not make.
    fn padded(&mut self, data: &[u8], zeros: usize) -> Vec<u8> {
        let mut payload = [data, &[23]].concat();
        payload.resize(payload.len() + zeros, 0);
        // The last byte of a record is passed as its content type, so it is not part of the
        // payload.
        match payload.split_last() {
            Some((last, front)) => self.record((*last).into(), front),
            None => Vec::new(),
        }
    }

    /// The alert that waits to be sent; nothing else may wait.
    pub(super) fn alert(&mut self) -> Option<(u8, AlertDescription)> {
        let answers = self.pair.answers();
        self.keys.alert(&answers)
    }

    fn writes(&mut self) -> io::Result<()> {
        let Pair { engine, out, .. } = &mut self.pair;
        engine.seal(b"written meanwhile", out)
    }
}

/// No handshake message but `KeyUpdate` is allowed, and nothing in the middle of it.
#[test]
fn handshake_messages_that_are_refused() {
    let unexpected = AlertDescription::UnexpectedMessage;
    let illegal = AlertDescription::IllegalParameter;
    let decode = AlertDescription::DecodeError;
    for (typ, payload, alert) in [
        (
            ContentType::Handshake,
            b"\x01\0\0\x01\0" as &[u8],
            unexpected,
        ),
        (ContentType::Handshake, &[24, 0, 0, 1, 2], illegal),
        (
            ContentType::Handshake,
            &[24, 0, 0, 1, 0, 24, 0, 0, 1, 0],
            unexpected,
        ),
        (ContentType::Heartbeat, &[1], unexpected),
        (ContentType::ChangeCipherSpec, &[1], unexpected),
        (ContentType::Unknown(99), &[1], unexpected),
        (ContentType::Alert, &[1], decode),
        (ContentType::Alert, &[1, 0, 1, 0], decode),
        (ContentType::Alert, &[3, 90], illegal),
        (ContentType::Alert, &[1, 80], decode),
    ] {
        let mut hostile = Hostile::new();
        hostile.feed(ContentType::ApplicationData, b"good");
        hostile.feed(typ, payload);
        assert_eq!(hostile.pair.plain, b"good", "{typ:?} {payload:?}");
        hostile.pair.failed();
        hostile.writes().unwrap_err();
        assert_eq!(hostile.alert(), Some((2, alert)), "{typ:?} {payload:?}");
    }
}

/// A fatal alert from the client gets no answer.
#[test]
fn a_fatal_alert_is_the_last_word() {
    let mut hostile = Hostile::new();
    hostile.feed(ContentType::Alert, &[2, 80]);
    assert_eq!(
        *hostile.pair.failed(),
        Error::AlertReceived(AlertDescription::InternalError)
    );
    hostile.pair.engine.close(&mut hostile.pair.out);
    assert_eq!(hostile.alert(), None);
}

#[test]
fn warnings_that_mean_nothing_are_few() {
    let mut hostile = Hostile::new();
    for _ in 0..4 {
        hostile.feed(ContentType::Alert, &[1, 90]);
        assert!(hostile.pair.engine.end().is_none());
    }
    hostile.feed(ContentType::Alert, &[1, 90]);
    let many = rustls::PeerMisbehaved::TooManyWarningAlertsReceived;
    assert_eq!(*hostile.pair.failed(), many.into());
}

/// A read skips such records and would not return.
#[test]
fn records_without_anything_are_few() {
    let mut hostile = Hostile::new();
    for round in 0..3 {
        for _ in 0..32 {
            hostile.feed(ContentType::ApplicationData, b"");
        }
        hostile.feed(ContentType::ApplicationData, b"x");
        assert_eq!(hostile.pair.plain.len(), round + 1);
    }
    for _ in 0..33 {
        hostile.feed(ContentType::ApplicationData, b"");
    }
    let many = rustls::PeerMisbehaved::TooManyEmptyFragments;
    assert_eq!(*hostile.pair.failed(), many.into());
}

/// Detected by its header, before the rest of the record comes.
#[test]
fn a_record_that_cannot_be_one() {
    for (header, alert) in [
        (*b"\x17\x03\x03\x41\x01", AlertDescription::RecordOverflow),
        (*b"\x17\x02\x03\x00\x20", AlertDescription::DecodeError),
        (*b"GET /", AlertDescription::DecodeError),
        (
            *b"\x16\x03\x03\x00\x05",
            AlertDescription::UnexpectedMessage,
        ),
        (
            *b"\x15\x03\x03\x00\x02",
            AlertDescription::UnexpectedMessage,
        ),
        (
            *b"\x14\x03\x03\x00\x01",
            AlertDescription::UnexpectedMessage,
        ),
        (*b"\x17\x03\x03\x00\x0f", AlertDescription::BadRecordMac),
    ] {
        let mut hostile = Hostile::new();
        hostile.pair.feed(&header);
        hostile.pair.feed(&[0; 15]);
        hostile.pair.failed();
        assert_eq!(hostile.alert(), Some((2, alert)), "{header:?}");
        assert_eq!(hostile.pair.engine.kept.capacity(), 0);
    }
}

/// Padding, and records without data (RFC 8446 section 5.4).
#[test]
fn padded_records() {
    let mut hostile = Hostile::new();
    for (data, zeros) in [
        (b"a" as &[u8], 0),
        (b"b", 1),
        (b"", 0),
        (b"", 900),
        (b"c", 16_383),
    ] {
        let record = hostile.padded(data, zeros);
        hostile.pair.feed(&record);
    }
    assert_eq!(hostile.pair.plain, b"abc");
    assert!(hostile.pair.engine.end().is_none());
    let record = hostile.padded(b"c", 16_384);
    hostile.pair.feed(&record);
    assert_eq!(*hostile.pair.failed(), Error::PeerSentOversizedRecord);
    assert_eq!(hostile.alert(), Some((2, AlertDescription::RecordOverflow)));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// A client with the keys can put anything into records: the connection ends or goes on, and a
    /// write succeeds or returns an error.
    #[test]
    fn no_order_of_records_makes_it_panic(
        records in proptest::collection::vec(
            (0u8..5, proptest::collection::vec(prop_oneof![Just(0), Just(1), Just(24), 0u8..=255], 0..12)),
            0..24,
        ),
        chunk in 1usize..80,
    ) {
        let mut hostile = Hostile::new();
        let mut burst = Vec::new();
        for (kind, payload) in records {
            burst.extend(match kind {
                // An unprotected payload, too.
                0 => payload,
                1 => hostile.record(ContentType::Alert, &payload),
                2 => hostile.record(ContentType::ApplicationData, &payload),
                // The beginning of a `KeyUpdate`, or the rest of one, or both.
                3 => hostile.record(ContentType::Handshake, &[24, 0, 0, 1, 0][..payload.len().min(5)]),
                _ => hostile.record(ContentType::Handshake, &payload),
            });
        }
        for bytes in burst.chunks(chunk) {
            hostile.pair.feed(bytes);
            let failed = matches!(hostile.pair.engine.end(), Some(End::Failed(_)));
            prop_assert_eq!(hostile.writes().is_err(), failed);
            prop_assert!(hostile.pair.engine.kept().len() <= KEPT);
        }
        hostile.pair.engine.close(&mut hostile.pair.out);
    }
}
