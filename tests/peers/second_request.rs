//! Keeps its connections, and does to every request but the first of a connection what the front of its path
//! says: `/fin` ends the connection, `/rst` resets it, `/half` ends it in the middle of the answer's head,
//! `/pause` reads no body for two seconds, `/unread` none at all until the peer is told (also as the first),
//! `/wait` is answered once the peer is told, and everything else at once. Exercises: requests on kept
//! connections that have just ended, or whose gateway is slow.

use std::time::Duration;

use super::{Peer, Seat, Via, serve};
use crate::support::conn::Conn;
use crate::support::head::response;

pub async fn start(via: &Via) -> Peer {
    serve(via, |mut conn: Conn, seat: Seat| async move {
        let answer = response("200 OK", &[("Content-Length", "0")]);
        let mut is_first = true;
        while let Some(head) = seat.head(&mut conn).await {
            let target = head.target();
            let fault = target.split('/').nth(1).unwrap_or_default();
            match fault {
                "pause" if !is_first => tokio::time::sleep(Duration::from_secs(2)).await,
                "unread" => seat.told().await,
                _ => {}
            }
            let length = head.value("content-length").unwrap_or_default();
            conn.exactly(length.parse().unwrap_or(0))
                .await
                .expect("the body");
            match fault {
                "fin" if !is_first => {
                    conn.finish().await;
                    return;
                }
                "rst" if !is_first => return conn.abort(),
                "half" if !is_first => {
                    seat.send(&mut conn, b"HTTP/1.1 20").await;
                    return;
                }
                "wait" if !is_first => seat.told().await,
                _ => {}
            }
            is_first = false;
            if seat.send(&mut conn, &answer).await.is_none() {
                return;
            }
        }
    })
    .await
}
