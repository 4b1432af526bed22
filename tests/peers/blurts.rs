//! Misreads whatever comes first: answers it with bytes of the test's choice and
//! ends. Exercises: servers of other protocols on the gateway's port.

use super::{Peer, Via, serve};

pub async fn start(via: &Via, answer: &[u8]) -> Peer {
    let answer = answer.to_vec();
    serve(via, move |mut conn, seat| {
        let answer = answer.clone();
        async move {
            let mut got = Vec::new();
            if conn.wire.read_some(&mut got).await.is_ok() {
                seat.send(&mut conn, &answer).await;
                conn.finish().await;
                seat.frames(&mut conn).await;
            }
        }
    })
    .await
}
