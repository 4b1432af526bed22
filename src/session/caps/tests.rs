use proptest::prelude::*;

use super::*;
use crate::ws::{FrameSink, Masking, Scanner};

const OFF: Caps = Caps {
    bytes: None,
    message_bytes: None,
    messages: None,
    byte_rate: None,
};

fn frame(fin: bool, opcode: u8, len: usize) -> Vec<u8> {
    let mut frame = header(fin, opcode, len as u64);
    frame.resize(frame.len() + len, b'x');
    frame
}

fn header(fin: bool, opcode: u8, len: u64) -> Vec<u8> {
    let mut header = vec![u8::from(fin) << 7 | opcode];
    if let Some(short) = u8::try_from(len).ok().filter(|len| *len < 126) {
        header.push(short);
    } else if let Ok(medium) = u16::try_from(len) {
        header.push(126);
        header.extend(medium.to_be_bytes());
    } else {
        header.push(127);
        header.extend(len.to_be_bytes());
    }
    header
}

fn meter(caps: Caps, now: Instant) -> Meter {
    Meter::new(&caps, Direction::ToGateway, now).unwrap()
}

#[test]
fn without_caps_there_is_no_meter() {
    let now = Instant::now();
    assert!(Meter::new(&OFF, Direction::ToGateway, now).is_none());
    let rate = Some(Rate {
        per_second: 1,
        burst: 1,
    });
    let of_clients = Caps {
        messages: rate,
        byte_rate: rate,
        ..OFF
    };
    assert!(Meter::new(&of_clients, Direction::ToGateway, now).is_some());
    assert!(Meter::new(&of_clients, Direction::ToClient, now).is_none());
}

#[test]
fn a_message_of_exactly_the_cap_passes_and_fragments_are_summed() {
    let now = Instant::now();
    let caps = Caps {
        message_bytes: Some(300),
        ..OFF
    };
    for whole in [vec![300], vec![100, 200], vec![0, 299, 0, 1]] {
        let mut meter = meter(caps, now);
        let mut bytes = Vec::new();
        for _ in 0..2 {
            for (n, len) in whole.iter().enumerate() {
                let opcode = if n == 0 { 2 } else { 0 };
                bytes.extend(frame(n + 1 == whole.len(), opcode, *len));
                // Between fragments, and not part of the message.
                bytes.extend(frame(true, 9, 125));
            }
        }
        assert_eq!(meter.look(&bytes, now), None, "{whole:?}");
        bytes = frame(false, 1, 300);
        let front = bytes.len();
        bytes.extend(frame(true, 0, 1));
        let over = meter.look(&bytes, now).unwrap();
        assert_eq!(
            (over.passes, over.key, over.limit, over.observed),
            (front, CapKey::MessageBytes, 300, 301)
        );
        let nothing = meter.look(b"more", now).map(|over| over.passes);
        assert_eq!(nothing, Some(0));
    }
}

#[test]
fn a_giant_is_found_by_its_header() {
    let now = Instant::now();
    for len in [1 << 62, u64::MAX] {
        for caps in [
            Caps {
                message_bytes: Some(1 << 40),
                ..OFF
            },
            Caps {
                bytes: Some(1 << 40),
                ..OFF
            },
            Caps {
                byte_rate: Some(Rate {
                    per_second: 1 << 40,
                    burst: u64::MAX >> 3,
                }),
                ..OFF
            },
        ] {
            let mut meter = meter(caps, now);
            assert_eq!(meter.look(&header(true, 1, len)[..9], now), None);
            let over = meter.look(&header(true, 1, len)[9..], now).unwrap();
            assert_eq!(over.passes, 0);
            assert!(over.observed >= len, "{over:?}");
        }
    }
}

#[test]
fn a_session_may_carry_exactly_its_bytes_and_then_close() {
    let now = Instant::now();
    let bytes = [frame(true, 1, 98), frame(true, 1, 98)].concat();
    let caps = Caps {
        bytes: Some(bytes.len() as u64),
        ..OFF
    };
    let mut exact = meter(caps, now);
    assert_eq!(exact.look(&bytes, now), None);
    assert_eq!(exact.look(&frame(true, 8, 2), now), None);
    // Nothing after a Close is counted.
    assert_eq!(exact.look(&frame(true, 1, 9), now), None);
    let mut one_more = meter(caps, now);
    assert_eq!(one_more.look(&bytes, now), None);
    let over = one_more.look(&frame(true, 9, 0), now).unwrap();
    assert_eq!((over.key, over.observed), (CapKey::Bytes, 202));
}

#[test]
fn a_rate_allows_its_burst_and_then_as_much_as_flows_in() {
    let start = Instant::now();
    let at = |ms| start + Duration::from_millis(ms);
    let caps = Caps {
        messages: Some(Rate {
            per_second: 10,
            burst: 3,
        }),
        ..OFF
    };
    let mut meter = meter(caps, start);
    // Fragments and pings are not messages.
    let message = [frame(false, 1, 3), frame(true, 9, 0), frame(true, 0, 3)].concat();
    for _ in 0..3 {
        assert_eq!(meter.look(&message, at(5)), None);
    }
    for n in 1..=5 {
        assert_eq!(meter.look(&message, at(5 + n * 100)), None, "{n}");
    }
    let over = meter.clone().look(&message, at(604)).unwrap();
    assert_eq!((over.limit, over.burst), (10, Some(3)));
    assert_eq!(over.observed, 9);
    assert_eq!(over.within, Some(Duration::from_millis(599)));
    assert_eq!(meter.look(&message, at(605)), None);
    // After a pause it is full again, and not more than full.
    let slice = message.repeat(4);
    let over = meter.look(&slice, at(60_000)).unwrap();
    assert_eq!((over.passes, over.observed), (message.len() * 3, 4));
}

#[test]
fn no_frame_is_larger_than_a_burst_of_bytes() {
    let start = Instant::now();
    let caps = Caps {
        byte_rate: Some(Rate {
            per_second: 100,
            burst: 1000,
        }),
        ..OFF
    };
    let mut exact = meter(caps, start);
    assert_eq!(exact.look(&frame(true, 2, 996), start), None);
    let over = meter(caps, start)
        .look(&frame(true, 2, 997), start)
        .unwrap();
    assert_eq!((over.key, over.observed), (CapKey::BytesPerSecond, 1001));
    let later = start + Duration::from_secs(1);
    assert_eq!(exact.look(&frame(true, 2, 98), later), None);
    assert!(exact.look(&frame(true, 2, 0), later).is_some());
}

#[derive(Default)]
struct Ends(Vec<FrameHeader>);

impl FrameSink for Ends {
    fn end(&mut self, header: &FrameHeader) {
        self.0.push(*header);
    }
}

proptest! {
    /// However the bytes are cut, the same frames pass: only whole frames, and as many as the caps
    /// allow.
    #[test]
    fn what_passes_is_whole_frames_within_the_caps(
        frames in prop::collection::vec((any::<bool>(), 0u8..3, 0usize..400), 1..30),
        cuts in prop::collection::vec(1usize..300, 1..20),
        (total, message) in (0u64..4000, 0u64..600),
    ) {
        let now = Instant::now();
        let mut bytes = Vec::new();
        for (fin, opcode, len) in frames {
            bytes.extend(frame(fin, opcode, len));
        }
        let caps = Caps { bytes: Some(total), message_bytes: Some(message), ..OFF };
        let whole = meter(caps, now).look(&bytes, now);
        let passes = whole.map_or(bytes.len(), |over| over.passes);

        let mut pieces = meter(caps, now);
        let (mut at, mut passed, mut found) = (0, 0, None);
        for cut in cuts.iter().cycle() {
            let slice = &bytes[at..bytes.len().min(at + cut)];
            if slice.is_empty() {
                break;
            }
            match pieces.look(slice, now) {
                None => passed += slice.len(),
                Some(over) => {
                    passed += over.passes;
                    found = Some(over);
                    break;
                }
            }
            at += slice.len();
        }
        let strip = |over: Option<Over>| over.map(|over| Over { passes: 0, ..over });
        prop_assert_eq!(strip(found), strip(whole));
        // When the bytes come in pieces, part of the next header may have passed before it was
        // complete.
        prop_assert!(passed >= passes && passed < passes + MAX_HEADER, "{} {}", passed, passes);

        let mut ends = Ends::default();
        let mut scanner = Scanner::new(Masking::Unmasked, crate::ws::extensions::Extensions::default());
        scanner.scan(&bytes[..passes], &mut ends);
        prop_assert!(scanner.at_frame_boundary());
        prop_assert!(passes as u64 <= total);
        let mut sum = 0;
        for header in ends.0 {
            sum = if header.opcode == Opcode::Continuation { sum + header.len } else { header.len };
            prop_assert!(sum <= message);
        }
        if let Some(over) = whole {
            prop_assert!(over.observed > over.limit);
        }
    }
}
