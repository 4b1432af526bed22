//! One large frame in pieces, a piece each time it is told. Exercises: every byte is passed on at
//! once, no frame is ever waited for, and a slow frame is activity for the idle timer.

use super::{Peer, Via, serve};
use crate::support::frame::Frame;

/// `frame` cut into `pieces`.
pub async fn start(via: &Via, frame: &Frame, pieces: usize) -> Peer {
    let bytes = frame.to_bytes();
    let size = bytes.len().div_ceil(pieces.max(1)).max(1);
    serve(via, move |mut conn, seat| {
        let bytes = bytes.clone();
        async move {
            if seat.upgrade(&mut conn).await.is_none() {
                return;
            }
            for piece in bytes.chunks(size) {
                seat.told().await;
                if seat.send(&mut conn, piece).await.is_none() {
                    return;
                }
            }
            seat.frames(&mut conn).await;
        }
    })
    .await
}
