//! One text frame, then FIN at once; it goes on reading. Exercises: the half-close, in which the
//! client may still talk.

use super::{Peer, Via, serve};
use crate::support::frame::Frame;

pub async fn start(via: &Via) -> Peer {
    serve(via, |mut conn, seat| async move {
        if seat.upgrade(&mut conn).await.is_none() {
            return;
        }
        if seat
            .send(&mut conn, &Frame::text("that was all").to_bytes())
            .await
            .is_some()
        {
            conn.finish().await;
            seat.frames(&mut conn).await;
        }
    })
    .await
}
