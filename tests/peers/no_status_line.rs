//! Reads the request head and ends the connection without a byte. Exercises: a gateway that
//! accepts and gives no answer.

use super::{Peer, Via, serve};

pub async fn start(via: &Via) -> Peer {
    serve(via, |mut conn, seat| async move {
        if seat.head(&mut conn).await.is_some() {
            conn.finish().await;
            seat.frames(&mut conn).await;
        }
    })
    .await
}
