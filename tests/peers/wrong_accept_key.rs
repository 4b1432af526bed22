//! A 101 whose `Sec-WebSocket-Accept` answers another key. Exercises: the tunnel opens only on a
//! verified 101 (RFC 6455 section 4.1).

use super::{Peer, Via, serve};
use crate::support::head;

pub async fn start(via: &Via) -> Peer {
    serve(via, |mut conn, seat| async move {
        if seat.head(&mut conn).await.is_none() {
            return;
        }
        let wrong = head::switching("AAAAAAAAAAAAAAAAAAAAAAAAAAA=", None);
        if seat.send(&mut conn, &wrong).await.is_some() {
            seat.frames(&mut conn).await;
        }
    })
    .await
}
