//! Sends one frame in slow pieces and measures when the other side gets the first of them.
//!
//! The client runs here, the gateway in its own process: each reports times of the clock that they
//! share.

use std::thread::sleep;
use std::time::Duration;

use super::client::Client;
use super::frames::{self, BINARY, TEXT};
use super::{Fallible, clock, order};

/// Direction of the frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    ToGateway,
    ToClient,
}

impl Way {
    pub const BOTH: [Self; 2] = [Self::ToGateway, Self::ToClient];
}

/// How the frame is cut.
#[derive(Clone, Copy, Debug)]
pub struct Pieces {
    pub count: usize,
    pub size: usize,
    pub pause: Duration,
}

/// Time from before the first piece is written until its first byte is read at the other end.
pub fn first_piece(client: &mut Client, way: Way, pieces: Pieces) -> Fallible<Duration> {
    let (began, came) = match way {
        Way::ToGateway => {
            let frame = frames::of_client(BINARY, &vec![b'x'; pieces.count * pieces.size]);
            let began = clock::now()?;
            for (index, piece) in frame.chunks(frame.len().div_ceil(pieces.count)).enumerate() {
                if index > 0 {
                    sleep(pieces.pause);
                }
                client.stream.write_all(piece)?;
            }
            (began, told(client, Vec::new())?)
        }
        Way::ToClient => {
            let order = order::order_of_pieces(pieces.count, pieces.size, pieces.pause);
            client.stream.write_all(&frames::of_client(TEXT, &order))?;
            let first = client.read_some()?;
            let came = clock::now()?;
            (told(client, first)?, came)
        }
    };
    let took = came.checked_sub(began);
    took.ok_or_else(|| "a frame came before it was sent".into())
}

/// The frame in which the gateway reports a time.
pub fn tell(time: Duration) -> Vec<u8> {
    frames::of_server(TEXT, time.as_nanos().to_string().as_bytes())
}

/// The time that the gateway reports; other frames before it are skipped.
fn told(client: &mut Client, mut bytes: Vec<u8>) -> Fallible<Duration> {
    loop {
        while let Some(frame) = frames::first(&mut bytes)? {
            if frame.opcode == TEXT {
                let nanos = std::str::from_utf8(frame.payload)?.parse()?;
                return Ok(Duration::from_nanos(nanos));
            }
            let size = frame.size;
            bytes.drain(..size);
        }
        bytes.extend(client.read_some()?);
    }
}
