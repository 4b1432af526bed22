//! A backlog of data and a Close after it, more than can be sent to a client that does not read. It
//! notes a byte once its kernel has taken all. Exercises: a Close that cannot be
//! delivered.

use socket2::SockRef;

use super::{Peer, Via, serve};
use crate::support::frame::Frame;
use crate::support::log::Seen;

/// More than the tap's kernel takes for a client with small segments, and less than what the tap
/// reads of a leg when the other one broke.
const BACKLOG: usize = 512 * 1024;

pub async fn start(via: &Via, code: u16, reason: &str) -> Peer {
    let mut bytes = Vec::new();
    for _ in 0..BACKLOG / 16_384 {
        bytes.extend(Frame::binary(vec![0x5a; 16_384]).to_bytes());
    }
    bytes.extend(Frame::close(code, reason).to_bytes());
    serve(via, move |mut conn, seat| {
        let bytes = bytes.clone();
        async move {
            if let Some(tcp) = conn.wire.tcp() {
                let kept = SockRef::from(tcp).set_send_buffer_size(2 * BACKLOG);
                kept.expect("set SO_SNDBUF");
            }
            if seat.upgrade(&mut conn).await.is_some()
                && seat.send(&mut conn, &bytes).await.is_some()
            {
                seat.note(Seen::Bytes(vec![0]));
                seat.frames(&mut conn).await;
            }
        }
    })
    .await
}
