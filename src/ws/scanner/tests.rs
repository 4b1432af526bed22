//! Tests, grouped by section of RFC 6455.

use proptest::prelude::*;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocket, WebSocketConfig};

use super::*;
use crate::ws::CloseCode;
use crate::ws::frame::encode_close;

/// The events of a scanner, with the payload of each frame reassembled.
#[derive(Debug, Default, PartialEq, Eq)]
struct Events {
    headers: Vec<FrameHeader>,
    payloads: Vec<Vec<u8>>,
    ends: usize,
    closes: Vec<CloseFrame>,
    heartbeats: Vec<(bool, Vec<u8>)>,
    violations: Vec<(usize, Violation)>,
}

impl FrameSink for Events {
    fn header(&mut self, header: &FrameHeader) {
        self.headers.push(*header);
        self.payloads.push(Vec::new());
    }
    fn payload(&mut self, _: &FrameHeader, offset: u64, wire: &[u8]) {
        let payload = self.payloads.last_mut().unwrap();
        assert_eq!(payload.len() as u64, offset);
        payload.extend_from_slice(wire);
    }
    fn end(&mut self, _: &FrameHeader) {
        self.ends += 1;
    }
    fn close(&mut self, close: CloseFrame) {
        self.closes.push(close);
    }
    fn heartbeat(&mut self, pong: bool, body: &[u8]) {
        self.heartbeats.push((pong, body.to_vec()));
    }
    fn violation(&mut self, kind: Violation) {
        self.violations.push((self.headers.len(), kind));
    }
}

impl Events {
    fn kinds(&self) -> Vec<Violation> {
        self.violations.iter().map(|(_, kind)| *kind).collect()
    }
}

fn scan(masking: Masking, pieces: &[&[u8]]) -> (Events, Scanner) {
    let mut scanner = Scanner::new(masking, Extensions::default());
    let mut events = Events::default();
    for piece in pieces {
        scanner.scan(piece, &mut events);
    }
    (events, scanner)
}

fn from_gateway(bytes: &[u8]) -> Events {
    scan(Masking::Unmasked, &[bytes]).0
}

#[test]
fn section_5_1_masking_direction() {
    assert_eq!(from_gateway(b"\x81\x80abcd").kinds(), [Violation::Masked]);
    assert_eq!(
        scan(Masking::Masked, &[b"\x81\x00"]).0.kinds(),
        [Violation::Unmasked]
    );
}

#[test]
fn section_5_2_reserved_bits_and_opcodes() {
    assert_eq!(from_gateway(b"\xc1\x00").kinds(), [Violation::Rsv]);
    assert_eq!(
        from_gateway(b"\x83\x00").kinds(),
        [Violation::ReservedOpcode]
    );
    assert_eq!(
        from_gateway(b"\x8b\x00").kinds(),
        [Violation::ReservedOpcode]
    );
}

#[test]
fn rfc_7692_section_6_rsv1_is_legal_on_first_frames_only() {
    let agreed = Extensions {
        permessage_deflate: true,
        ..Extensions::default()
    };
    let mut scanner = Scanner::new(Masking::Unmasked, agreed);
    let mut events = Events::default();
    scanner.scan(b"\x41\x01\xff\x80\x01\xff", &mut events);
    assert_eq!(events.kinds(), []);
    scanner.scan(b"\x01\x00\xc0\x00", &mut events);
    assert_eq!(events.kinds(), [Violation::Rsv]);
}

#[test]
fn per_frame_compression_sets_rsv1_on_any_data_frame() {
    let agreed = Extensions::from_response([b"x-webkit-deflate-frame".as_slice()]);
    let mut scanner = Scanner::new(Masking::Unmasked, agreed);
    let mut events = Events::default();
    // Text whose second frame is compressed, then a compressed message.
    scanner.scan(b"\x01\x01a\x40\x01\xff\x80\x01b\xc2\x01\xff", &mut events);
    assert_eq!(events.kinds(), []);
    scanner.scan(b"\xc9\x00", &mut events);
    assert_eq!(
        events.kinds(),
        [Violation::Rsv],
        "no control frame is compressed"
    );
}

#[test]
fn an_extension_that_is_not_known_may_mean_anything() {
    let agreed = Extensions::from_response([b"x-unknown".as_slice()]);
    let mut scanner = Scanner::new(Masking::Unmasked, agreed);
    let mut events = Events::default();
    scanner.scan(b"\xf1\x01\xff\x83\x00\x81\x01\xff\x9b\x00", &mut events);
    assert_eq!(events.kinds(), []);
    scanner.scan(b"\x89\x7e\x00\x7e", &mut events);
    assert_eq!(events.kinds(), [Violation::ControlTooLong]);
}

#[test]
fn section_5_5_1_what_a_close_frame_breaks_itself() {
    let breaks = |bytes: &[u8]| from_gateway(bytes).closes.remove(0).breaks;
    assert_eq!(breaks(b"\x88\x00"), []);
    assert_eq!(breaks(b"\x88\x02\x03\xe8"), []);
    assert_eq!(breaks(b"\x88\x01\x03"), [Violation::CloseBody1]);
    assert_eq!(breaks(b"\x88\x02\x03\xed"), [Violation::InvalidCloseCode]);
    assert_eq!(breaks(b"\x88\x03\x03\xe8\xff"), [Violation::InvalidUtf8]);
    assert_eq!(breaks(b"\x08\x00"), [Violation::ControlFragmented]);
    assert_eq!(breaks(b"\xc8\x00"), [Violation::Rsv]);
    assert_eq!(breaks(b"\x88\x80abcd"), [Violation::Masked]);
    // Every receiver can read it, and violations by other frames do not belong to this one.
    assert_eq!(breaks(b"\x88\x7e\x00\x00"), []);
    assert_eq!(breaks(b"\x83\x00\x88\x00"), []);
    let mut long = b"\x88\x7e\x01\x00\x03\xe8".to_vec();
    long.resize(4 + 256, b'x');
    let close = from_gateway(&long).closes.remove(0);
    assert_eq!(close.breaks, [Violation::ControlTooLong]);
    assert_eq!((close.reason.len(), close.cut), (123, 131));
}

#[test]
fn section_5_2_lengths() {
    assert_eq!(
        from_gateway(b"\x82\x7e\x00\x01a").kinds(),
        [Violation::NonMinimalLength]
    );
    let (events, scanner) = scan(
        Masking::Unmasked,
        &[b"\x82\x7f\xff\xff\xff\xff\xff\xff\xff\xff", b"\x81\x00"],
    );
    assert_eq!(events.kinds(), [Violation::LengthMsb]);
    assert_eq!(
        events.headers.len(),
        1,
        "no frame is counted after sync is lost"
    );
    assert!(scanner.lost_sync());
    assert!(!scanner.at_frame_boundary());
}

#[test]
fn length_2_pow_63_minus_1_is_followed_without_allocating() {
    let (events, scanner) = scan(
        Masking::Unmasked,
        &[b"\x82\x7f\x7f\xff\xff\xff\xff\xff\xff\xff", &[0; 100]],
    );
    assert_eq!(events.kinds(), []);
    let unfinished = scanner.in_progress().unwrap();
    assert_eq!(
        (unfinished.declared, unfinished.seen),
        (i64::MAX as u64, 100)
    );
}

#[test]
fn section_5_4_fragmentation() {
    assert_eq!(
        from_gateway(b"\x01\x01a\x89\x00\x00\x01b\x80\x01c").kinds(),
        []
    );
    assert_eq!(
        from_gateway(b"\x80\x00").kinds(),
        [Violation::UnexpectedContinuation]
    );
    assert_eq!(
        from_gateway(b"\x01\x00\x81\x00").kinds(),
        [Violation::InterleavedData]
    );
}

#[test]
fn section_5_5_control_frames() {
    assert_eq!(
        from_gateway(b"\x09\x00").kinds(),
        [Violation::ControlFragmented]
    );
    let mut long = b"\x89\x7e\x00\x7e".to_vec();
    long.extend([0; 126]);
    assert_eq!(from_gateway(&long).kinds(), [Violation::ControlTooLong]);
    assert_eq!(
        from_gateway(b"\x8a\x02hi").heartbeats,
        [(true, b"hi".to_vec())]
    );
}

#[test]
fn section_5_5_1_close() {
    let events = from_gateway(b"\x88\x04\x03\xf0no\x81\x00");
    assert_eq!(events.closes[0].code, Some(CloseCode(1008)));
    assert_eq!(events.closes[0].reason, b"no");
    assert_eq!(events.kinds(), [Violation::DataAfterClose]);
    assert_eq!(
        from_gateway(b"\x88\x01\x03").kinds(),
        [Violation::CloseBody1]
    );
    assert_eq!(
        from_gateway(b"\x88\x02\x03\xee").kinds(),
        [Violation::InvalidCloseCode]
    );
    assert_eq!(
        from_gateway(b"\x88\x03\x03\xe8\xff").kinds(),
        [Violation::InvalidUtf8]
    );
    assert_eq!(
        from_gateway(b"\x88\x00").closes[0].seen_as(),
        CloseCode::NO_STATUS
    );
}

#[test]
fn section_8_1_text_is_utf8_over_fragments() {
    assert_eq!(from_gateway(b"\x01\x01\xc3\x80\x01\xa9").kinds(), []);
    assert_eq!(
        from_gateway(b"\x81\x01\xc3").kinds(),
        [Violation::InvalidUtf8]
    );
    assert_eq!(
        from_gateway(b"\x81\x02\xc3\x28").kinds(),
        [Violation::InvalidUtf8]
    );
    assert_eq!(from_gateway(b"\x82\x02\xc3\x28").kinds(), []);
}

#[test]
fn own_close_frames_scan_clean() {
    for masking in [Masking::Masked, Masking::Unmasked] {
        let (events, scanner) = scan(
            masking,
            &[&encode_close(CloseCode(1001), "wstap: drain", masking)],
        );
        assert_eq!(events.kinds(), []);
        assert_eq!(events.closes[0].reason, b"wstap: drain");
        assert!(scanner.at_frame_boundary());
    }
}

fn cut<'a>(bytes: &'a [u8], cuts: &[prop::sample::Index]) -> Vec<&'a [u8]> {
    let mut at: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
    at.extend([0, bytes.len()]);
    at.sort_unstable();
    at.windows(2).map(|pair| &bytes[pair[0]..pair[1]]).collect()
}

prop_compose! {
    /// Frames that are often legal and often not.
    fn frame()(
        first in prop_oneof![Just(0x81u8), Just(0x82), Just(0x01), Just(0x80), Just(0x00), Just(0x88), Just(0x89), Just(0x8a), any::<u8>()],
        key in proptest::option::of(any::<[u8; 4]>()),
        payload in proptest::collection::vec(any::<u8>(), 0..300),
        wide in 0..3,
    ) -> Vec<u8> {
        let mask = if key.is_some() { 0x80 } else { 0 };
        let mut frame = vec![first];
        match (payload.len(), wide) {
            (len @ 0..126, 0) => frame.push(mask | u8::try_from(len).unwrap()),
            (len, 0 | 1) => {
                frame.push(mask | 0x7e);
                frame.extend(u16::try_from(len).unwrap().to_be_bytes());
            }
            (len, _) => {
                frame.push(mask | 0x7f);
                frame.extend((len as u64).to_be_bytes());
            }
        }
        frame.extend(key.unwrap_or_default().iter().take(if key.is_some() { 4 } else { 0 }));
        frame.extend(payload);
        frame
    }
}

proptest! {
    #[test]
    fn any_chunking_gives_the_same_events(
        frames in proptest::collection::vec(frame(), 0..6),
        tail in proptest::collection::vec(any::<u8>(), 0..20),
        cuts in proptest::collection::vec(any::<prop::sample::Index>(), 0..12),
        masked in any::<bool>(),
    ) {
        let mut bytes = frames.concat();
        bytes.extend(tail);
        let masking = if masked { Masking::Masked } else { Masking::Unmasked };
        let (whole, at_once) = scan(masking, &[&bytes]);
        let (cut, in_pieces) = scan(masking, &cut(&bytes, &cuts));
        prop_assert_eq!(whole, cut);
        prop_assert_eq!(at_once.in_progress(), in_pieces.in_progress());
        prop_assert_eq!(at_once.partial_header(), in_pieces.partial_header());
    }

    #[test]
    fn one_byte_at_a_time_gives_the_same_events(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        let pieces: Vec<&[u8]> = bytes.chunks(1).collect();
        prop_assert_eq!(scan(Masking::Masked, &[&bytes]).0, scan(Masking::Masked, &pieces).0);
    }

    /// Differential: whatever tungstenite writes as a client, and reads back as a server, the
    /// scanner reports as the same frames and messages without a violation.
    #[test]
    fn agrees_with_tungstenite_on_valid_streams(
        messages in proptest::collection::vec(message(), 0..8),
        cuts in proptest::collection::vec(any::<prop::sample::Index>(), 0..12),
    ) {
        use tokio_tungstenite::tungstenite::Message;
        let config = WebSocketConfig::default();
        let mut client = WebSocket::from_raw_socket(std::io::Cursor::new(Vec::new()), Role::Client, Some(config));
        for message in &messages {
            client.write(message.clone()).unwrap();
        }
        client.flush().unwrap();
        let bytes = client.get_ref().get_ref().clone();

        let (events, scanner) = scan(Masking::Masked, &cut(&bytes, &cuts));
        prop_assert_eq!(events.kinds(), []);
        prop_assert!(scanner.at_frame_boundary());
        let mut server = WebSocket::from_raw_socket(ReadOnly(std::io::Cursor::new(bytes)), Role::Server, Some(config));
        let mut scanned = events.headers.iter().zip(&events.payloads);
        for expected in messages {
            let read = server.read().unwrap();
            prop_assert_eq!(&read, &expected);
            let (header, wire) = scanned.next().unwrap();
            let mut plain = wire.clone();
            apply_mask(&mut plain, header.mask.unwrap(), 0);
            let opcode = match read {
                Message::Text(_) => Opcode::Text,
                Message::Binary(_) => Opcode::Binary,
                _ => Opcode::Ping,
            };
            prop_assert_eq!(header.opcode, opcode);
            prop_assert_eq!(plain, read.into_data().to_vec());
        }
        prop_assert!(scanned.next().is_none());
    }
}

/// A peer that reads these bytes and drops its answers (pongs).
struct ReadOnly(std::io::Cursor<Vec<u8>>);

impl std::io::Read for ReadOnly {
    fn read(&mut self, buf: &mut [u8]) -> std::io::Result<usize> {
        self.0.read(buf)
    }
}

impl std::io::Write for ReadOnly {
    fn write(&mut self, buf: &[u8]) -> std::io::Result<usize> {
        Ok(buf.len())
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// No pongs: tungstenite delays those and sends only the last one.
fn message() -> impl Strategy<Value = tokio_tungstenite::tungstenite::Message> {
    use tokio_tungstenite::tungstenite::Message;
    prop_oneof![
        ".{0,200}".prop_map(Message::text),
        prop_oneof![0..200usize, 65_500..65_600usize]
            .prop_map(|len| Message::binary(vec![0xa5; len])),
        proptest::collection::vec(any::<u8>(), 0..126).prop_map(|body| Message::Ping(body.into())),
    ]
}

#[test]
fn kinds_are_spelled_as_records_document_them() {
    let spelled: Vec<String> = Violation::ALL
        .iter()
        .map(|kind| {
            serde_json::to_value(kind)
                .unwrap()
                .as_str()
                .unwrap()
                .to_owned()
        })
        .collect();
    assert_eq!(
        spelled.join(" "),
        "unmasked masked rsv reserved_opcode control_too_long control_fragmented \
         non_minimal_length length_msb unexpected_continuation interleaved_data data_after_close \
         invalid_utf8 invalid_close_code close_body_1"
    );
    // The spelling in records of earlier versions.
    let old: Violation = serde_json::from_str("\"close_body1\"").unwrap();
    assert_eq!(old, Violation::CloseBody1);
}
