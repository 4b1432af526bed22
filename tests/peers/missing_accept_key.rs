//! A 101 without `Sec-WebSocket-Accept`. Exercises: the tunnel opens only on a verified 101.

use super::{Peer, Via, serve};
use crate::support::head;

pub async fn start(via: &Via) -> Peer {
    serve(via, |mut conn, seat| async move {
        if seat.head(&mut conn).await.is_none() {
            return;
        }
        let headers = [("Upgrade", "websocket"), ("Connection", "Upgrade")];
        let bare = head::response("101 Switching Protocols", &headers);
        if seat.send(&mut conn, &bare).await.is_some() {
            seat.frames(&mut conn).await;
        }
    })
    .await
}
