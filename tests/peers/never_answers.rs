//! Accepts, reads, and never says a word. Exercises: the upgrade timer.

use super::{Peer, Via, serve};

pub async fn start(via: &Via) -> Peer {
    serve(via, |mut conn, seat| async move {
        if seat.head(&mut conn).await.is_some() {
            seat.frames(&mut conn).await;
        }
    })
    .await
}
