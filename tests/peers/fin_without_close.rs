//! One text frame and then, when told, the end of the connection without a Close frame (with
//! `close_notify` under TLS). Exercises: the commonest 1006.

use super::{Peer, Via, serve};
use crate::support::frame::Frame;

pub async fn start(via: &Via) -> Peer {
    serve(via, |mut conn, seat| async move {
        if seat.upgrade(&mut conn).await.is_none() {
            return;
        }
        if seat
            .send(&mut conn, &Frame::text("still here").to_bytes())
            .await
            .is_some()
        {
            seat.told().await;
            conn.finish().await;
            seat.frames(&mut conn).await;
        }
    })
    .await
}
