//! Caps on one session: the bytes before the frame that exceeds a cap pass, no byte of that frame
//! does, and both ends get Close 1009 where a Close is allowed.

use wstap::session::SessionRecord;
use wstap::session::party::{Direction, Party};
use wstap::session::record::{CapFact, CapKey};

use crate::peers::tunnel::{Control, Do};
use crate::peers::{Peer, Via, tunnel};
use crate::support::conn::Conn;
use crate::support::deflate::Deflate;
use crate::support::frame::{BINARY, CONTINUATION, Frame, TEXT, header};
use crate::support::tap::{Face, Setup, Tap};
use crate::support::wire::Ending;

struct Session {
    peer: Peer,
    control: Control,
    tap: Tap,
    conn: Conn,
}

async fn session(face: Face, caps: &[(&str, &str)]) -> Session {
    let (peer, control) = tunnel::start(&Via::Plain).await;
    let mut setup = Setup::before(&peer).set("timeouts.close", "500ms");
    for (key, value) in caps {
        let value = match value.parse::<u64>() {
            Ok(number) => number.into(),
            Err(_) => serde_json::Value::from(*value),
        };
        setup = setup.set(&format!("limits.session.{key}"), value);
    }
    let tap = setup.start().await;
    let mut conn = tap.connect(face).await;
    conn.open("/").await;
    Session {
        peer,
        control,
        tap,
        conn,
    }
}

impl Session {
    /// Sends frames one way, each by itself or all at once.
    async fn send(&mut self, direction: Direction, frames: &[Frame]) {
        let bytes: Vec<u8> = frames
            .iter()
            .flat_map(|frame| match direction {
                Direction::ToGateway => frame.clone().masked().to_bytes(),
                Direction::ToClient => frame.to_bytes(),
            })
            .collect();
        match direction {
            // It may be cut off in the middle.
            Direction::ToGateway => drop(self.conn.send(&bytes).await),
            Direction::ToClient => self.control.send(Do::Send(bytes)).unwrap(),
        }
    }

    /// Asserts that these frames pass and that both ends are then closed; returns the record.
    async fn closed_after(mut self, direction: Direction, passed: &[Frame]) -> SessionRecord {
        let size: usize = passed
            .iter()
            .map(|frame| frame.clone().to_bytes().len())
            .sum();
        let mut to_client = Vec::new();
        let code = loop {
            let frame = self.conn.frame().await.expect("a frame");
            match frame.as_close() {
                Some((code, reason)) => {
                    assert!(reason.starts_with("wstap: "), "{reason}");
                    break code;
                }
                None => to_client.push(frame),
            }
        };
        assert_eq!(code, Some(1009));
        let reason = "wstap: ";
        let mut bytes = self.peer.log.bytes(0, 2).await;
        let masked_size = if direction == Direction::ToGateway {
            size + 4 * passed.len()
        } else {
            0
        };
        bytes.clear();
        bytes.extend(
            self.peer
                .log
                .bytes(0, masked_size + 6 + 2 + reason.len())
                .await,
        );
        // The Close is written at once, and nothing may follow it.
        let mut to_gateway = Vec::new();
        let close = loop {
            let frame = Frame::take(&mut bytes).expect("a whole frame");
            match frame.as_close() {
                Some(close) => break close,
                None => to_gateway.push(frame),
            }
        };
        assert_eq!(close.0, Some(1009));
        assert!(close.1.starts_with(reason), "{}", close.1);
        assert!(bytes.is_empty(), "{bytes:?}");
        let strip = |frames: Vec<Frame>| -> Vec<Frame> {
            let strip = |frame| Frame {
                mask: None,
                ..frame
            };
            frames.into_iter().map(strip).collect()
        };
        let (went, quiet) = match direction {
            Direction::ToGateway => (strip(to_gateway), to_client),
            Direction::ToClient => (to_client, strip(to_gateway)),
        };
        assert_eq!(went, passed);
        assert!(quiet.is_empty(), "{quiet:?}");
        self.conn.rest().await;
        let record = self.tap.websocket().await;
        assert_eq!(record.close.first, Some(Party::Tap));
        assert_eq!(record.close.tap.as_ref().unwrap().code.unwrap().0, 1009);
        for saw in [record.close.client_saw, record.close.gateway_saw] {
            assert_eq!(saw.unwrap().code.0, 1009);
        }
        assert_eq!(record.close.cap.unwrap().direction, direction);
        record
    }
}

fn rule(record: &SessionRecord) -> &str {
    &record.verdict.as_ref().expect("a verdict").rule
}

fn cap(record: &SessionRecord) -> CapFact {
    record.close.cap.expect("a cap")
}

const BOTH: [Direction; 2] = [Direction::ToGateway, Direction::ToClient];

#[tokio::test]
async fn a_message_over_the_cap_never_passes() {
    for face in Face::BOTH {
        for direction in BOTH {
            let mut session = session(face, &[("message_bytes", "1000B")]).await;
            let fits = [Frame::text(&"a".repeat(1000)), Frame::ping(b"")];
            let mut all = fits.to_vec();
            all.push(Frame::binary(vec![1; 1001]));
            session.send(direction, &all).await;
            let record = session.closed_after(direction, &fits).await;
            let cap = cap(&record);
            assert_eq!(
                (cap.key, cap.limit, cap.observed),
                (CapKey::MessageBytes, 1000, 1001)
            );
            assert_eq!(rule(&record), "tap.denied.message_bytes");
            let verdict = record.verdict.unwrap();
            assert!(
                verdict.next.contains("message_bytes: 1001B"),
                "{}",
                verdict.next
            );
        }
    }
}

#[tokio::test]
async fn fragments_are_one_message() {
    for direction in BOTH {
        let mut session = session(Face::Plain, &[("message_bytes", "1000B")]).await;
        let piece = |fin, opcode, len| Frame {
            fin,
            ..Frame::new(opcode, vec![b'x'; len])
        };
        let passes = [
            piece(false, TEXT, 400),
            Frame::ping(b"between"),
            piece(true, CONTINUATION, 600),
            piece(false, BINARY, 600),
        ];
        session.send(direction, &passes).await;
        session
            .send(direction, &[piece(true, CONTINUATION, 401)])
            .await;
        let record = session.closed_after(direction, &passes).await;
        assert_eq!(cap(&record).observed, 1001);
    }
}

#[tokio::test]
async fn a_compressed_message_counts_as_it_is_on_the_wire() {
    let mut session = session(Face::Plain, &[("message_bytes", "2000B")]).await;
    let small = Deflate::new(true).deflated(Frame::text(&"x".repeat(100_000)));
    assert!(small.payload.len() < 2000);
    let large = Frame {
        rsv: 4,
        ..Frame::text(&"x".repeat(2001))
    };
    let direction = Direction::ToClient;
    session.send(direction, &[small.clone(), large]).await;
    let record = session.closed_after(direction, &[small]).await;
    assert_eq!(cap(&record).observed, 2001);
}

#[tokio::test]
async fn a_giant_is_refused_by_what_it_declares() {
    let mut session = session(Face::Plain, &[("message_bytes", "1GiB")]).await;
    let mask = Some([1, 2, 3, 4]);
    let mut bytes = Frame::text("before").masked().to_bytes();
    bytes.extend(header(true, 0, BINARY, mask, 1 << 62));
    bytes.extend([0; 5000]);
    session.conn.send(&bytes).await.unwrap();
    let record = session
        .closed_after(Direction::ToGateway, &[Frame::text("before")])
        .await;
    assert_eq!(cap(&record).observed, 1 << 62);
    let frames = record.frames.as_ref().unwrap();
    // The record has the frame's declared length as well.
    assert_eq!(frames.to_gateway.in_progress.unwrap().declared, 1 << 62);
    assert_eq!(rule(&record), "tap.denied.message_bytes");
}

#[tokio::test]
async fn a_session_carries_so_much_each_way() {
    for direction in BOTH {
        let mask = match direction {
            Direction::ToGateway => 4,
            Direction::ToClient => 0,
        };
        let mut session = session(Face::Plain, &[("bytes", "2KiB")]).await;
        // Exactly all of it.
        let fits = vec![Frame::binary(vec![0; 508 - mask]); 4];
        session.send(direction, &fits).await;
        session.send(direction, &[Frame::pong(b"")]).await;
        let record = session.closed_after(direction, &fits).await;
        let cap = cap(&record);
        assert_eq!((cap.key, cap.limit), (CapKey::Bytes, 2048));
        assert_eq!(cap.observed, 2048 + 2 + mask as u64);
        assert_eq!(rule(&record), "tap.denied.session_bytes");
    }
}

#[tokio::test]
async fn a_session_at_its_cap_still_closes_by_itself() {
    let mut session = session(Face::Plain, &[("bytes", "100B")]).await;
    let fits = Frame::binary(vec![0; 94]);
    session
        .send(Direction::ToGateway, &[fits, Frame::close(1000, "bye")])
        .await;
    let mut bytes = session.peer.log.bytes(0, 100 + 6 + 5).await;
    Frame::take(&mut bytes);
    let close = Frame::take(&mut bytes).unwrap().as_close();
    assert_eq!(close, Some((Some(1000), "bye".to_owned())));
    session
        .send(Direction::ToClient, &[Frame::close(1000, "")])
        .await;
    session.control.send(Do::Finish).unwrap();
    session.conn.rest().await;
    session.conn.finish().await;
    let record = session.tap.websocket().await;
    assert_eq!(
        (record.close.cap, rule(&record)),
        (None, "ok.client_closed")
    );
}

#[tokio::test]
async fn a_burst_passes_and_a_flood_does_not() {
    for (caps, key, observed) in [
        (
            [("messages_per_second", "1"), ("messages_burst", "5")],
            CapKey::MessagesPerSecond,
            6,
        ),
        (
            [("bytes_per_second", "1B"), ("bytes_burst", "75B")],
            CapKey::BytesPerSecond,
            90,
        ),
    ] {
        let mut session = session(Face::Plain, &caps).await;
        // The gateway may send as it likes.
        let free = vec![Frame::text("123456789"); 20];
        session.send(Direction::ToClient, &free).await;
        for frame in &free {
            assert_eq!(session.conn.frame().await.unwrap(), *frame);
        }
        // 15 bytes each.
        let flood = vec![Frame::text("123456789"); 200];
        session.send(Direction::ToGateway, &flood).await;
        let record = session
            .closed_after(Direction::ToGateway, &flood[..5])
            .await;
        let cap = cap(&record);
        assert_eq!((cap.key, cap.limit, cap.observed), (key, 1, observed));
        assert!(cap.burst.is_some() && cap.within_ms.is_some());
        assert_eq!(rule(&record), "tap.denied.session_rate");
    }
}

/// If a part of the frame has already gone out, that leg is cut off, and the other one gets a
/// Close.
#[tokio::test]
async fn in_the_middle_of_a_frame_there_is_no_close() {
    let mut session = session(Face::Plain, &[("message_bytes", "1000B")]).await;
    let bytes = Frame::binary(vec![0; 1001]).masked().to_bytes();
    session.conn.send(&bytes[..3]).await.unwrap();
    assert_eq!(session.peer.log.bytes(0, 3).await, bytes[..3]);
    session.conn.send(&bytes[3..]).await.unwrap();
    let (code, _) = session.conn.frame().await.unwrap().as_close().unwrap();
    assert_eq!(code, Some(1009));
    assert_eq!(session.peer.log.ending(0).await, Ending::Rst);
    assert_eq!(session.peer.log.bytes(0, 3).await, bytes[..3]);
    session
        .conn
        .send_masked(Frame::close(1009, ""))
        .await
        .unwrap();
    session.conn.rest().await;
    let record = session.tap.websocket().await;
    assert_eq!(rule(&record), "tap.denied.message_bytes");
    assert_eq!(record.close.client_saw.unwrap().code.0, 1009);
    assert_eq!(record.close.gateway_saw.unwrap().code.0, 1006);
}

/// Both legs in the middle of a frame: both are cut off.
#[tokio::test]
async fn a_cap_in_the_middle_of_both_ways_cuts_both() {
    let mut session = session(Face::Plain, &[("message_bytes", "1000B")]).await;
    let bytes = Frame::binary(vec![0; 1001]).to_bytes();
    session.control.send(Do::Send(bytes[..1].to_vec())).unwrap();
    session.conn.exactly(1).await.unwrap();
    let half = Frame::text("half of it").masked().to_bytes();
    session.conn.send(&half[..8]).await.unwrap();
    session.peer.log.bytes(0, 8).await;
    session.control.send(Do::Send(bytes[1..].to_vec())).unwrap();
    assert_eq!(session.conn.rest().await, (Vec::new(), Ending::Rst));
    assert_eq!(session.peer.log.ending(0).await, Ending::Rst);
    let record = session.tap.websocket().await;
    assert_eq!(rule(&record), "tap.denied.message_bytes");
    assert_eq!(record.close.tap, None);
}
