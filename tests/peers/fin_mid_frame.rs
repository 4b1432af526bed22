//! A frame header, a part of its payload and then, when told, FIN. Exercises: a truncated frame,
//! as a gateway leaves it that gives up on a slow consumer.

use super::{Peer, Via, serve};
use crate::support::frame::{TEXT, header};

/// Payload bytes that the header declares.
pub const DECLARED: usize = 100_000;
/// Payload bytes that come.
pub const SENT: usize = 1_000;

pub async fn start(via: &Via) -> Peer {
    serve(via, |mut conn, seat| async move {
        if seat.upgrade(&mut conn).await.is_none() {
            return;
        }
        let mut part = header(true, 0, TEXT, None, DECLARED as u64);
        part.resize(part.len() + SENT, b'x');
        if seat.send(&mut conn, &part).await.is_some() {
            seat.told().await;
            conn.finish().await;
            seat.frames(&mut conn).await;
        }
    })
    .await
}
