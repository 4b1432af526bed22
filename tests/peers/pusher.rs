//! Sends binary frames as fast as it can, whether anyone reads or not, and counts what the kernel
//! took. Exercises: backpressure. What the kernel took and the client did not read is what the tap
//! and the kernel hold.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use socket2::SockRef;
use tokio::io::AsyncWriteExt as _;

use super::{Peer, Seat, Via, serve};
use crate::support::conn::Conn;
use crate::support::frame::Frame;

/// Payload of each frame.
pub const FRAME: usize = 64 * 1024;
/// Its own send buffer, so that it feels the far end soon.
const SEND_BUFFER: usize = 128 * 1024;

/// Bytes that the kernel took so far.
#[derive(Clone, Default)]
pub struct Pushed(Arc<AtomicU64>);

impl Pushed {
    pub fn bytes(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Stops after `frames` frames, then reads.
pub async fn start(via: &Via, frames: u64) -> (Peer, Pushed) {
    let pushed = Pushed::default();
    let count = pushed.clone();
    let peer = serve(via, move |conn, seat| {
        push(conn, seat, frames, count.clone())
    })
    .await;
    (peer, pushed)
}

async fn push(mut conn: Conn, seat: Seat, frames: u64, pushed: Pushed) {
    if let Some(tcp) = conn.wire.tcp() {
        SockRef::from(tcp)
            .set_send_buffer_size(SEND_BUFFER)
            .expect("set SO_SNDBUF");
    }
    if seat.upgrade(&mut conn).await.is_none() {
        return;
    }
    let frame = Frame::binary(vec![0x5a; FRAME]).to_bytes();
    for _ in 0..frames {
        let mut rest = frame.as_slice();
        while !rest.is_empty() {
            let Ok(written) = conn.wire.write(rest).await else {
                return;
            };
            pushed.0.fetch_add(written as u64, Ordering::Relaxed);
            rest = &rest[written..];
        }
    }
    if conn.wire.flush().await.is_ok() {
        seat.frames(&mut conn).await;
    }
}
