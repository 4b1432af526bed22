//! Answers an upgrade with 200 and a page, as a hop does that has lost the Upgrade header. The test
//! chooses headers and body, for example another server's name. Exercises: answers that do not
//! open a tunnel.

use super::{Peer, Via, serve};
use crate::support::head;

pub async fn start(via: &Via, headers: &[(&str, &str)], body: &str) -> Peer {
    answer(via, "200 OK", headers, body).await
}

/// The same with any status: the connection closes after the answer.
pub async fn answer(via: &Via, status: &str, headers: &[(&str, &str)], body: &str) -> Peer {
    let length = body.len().to_string();
    let mut all = headers.to_vec();
    all.extend([("Content-Length", length.as_str()), ("Connection", "close")]);
    let mut bytes = head::response(status, &all);
    bytes.extend_from_slice(body.as_bytes());
    serve(via, move |mut conn, seat| {
        let bytes = bytes.clone();
        async move {
            if seat.head(&mut conn).await.is_none() {
                return;
            }
            if seat.send(&mut conn, &bytes).await.is_some() {
                conn.finish().await;
                seat.frames(&mut conn).await;
            }
        }
    })
    .await
}
