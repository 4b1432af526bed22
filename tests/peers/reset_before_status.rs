//! Reads the request head and resets the connection. Exercises: RST before the status line.

use super::{Peer, Via, serve};

pub async fn start(via: &Via) -> Peer {
    serve(via, |mut conn, seat| async move {
        if seat.head(&mut conn).await.is_some() {
            conn.abort();
        }
    })
    .await
}
