//! Reads the beginning of a request, answers (or not) and closes at once with the rest unread, which
//! causes a reset, as Node does for a head that is too long. Exercises: an answer that arrives while we
//! send.

use super::{Peer, Via, serve};

/// Closes after `front` bytes, with this answer.
pub async fn start(via: &Via, front: usize, answer: &'static str) -> Peer {
    serve(via, move |mut conn, _| async move {
        let mut read = std::mem::take(&mut conn.buf);
        while read.len() < front {
            if conn.wire.read_some(&mut read).await.is_err() {
                return;
            }
        }
        let _ = conn.send(answer.as_bytes()).await;
    })
    .await
}
