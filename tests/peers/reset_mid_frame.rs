//! A frame header, half of its payload and then, when told, RST. Exercises: an abortive end of the
//! gateway's leg in the middle of a frame, which must reach the client as a reset.

use super::{Peer, Via, serve};
use crate::support::frame::{BINARY, header};

/// Payload bytes that the header declares.
pub const DECLARED: usize = 10_000;
/// Payload bytes that come.
pub const SENT: usize = 5_000;

pub async fn start(via: &Via) -> Peer {
    serve(via, |mut conn, seat| async move {
        if seat.upgrade(&mut conn).await.is_none() {
            return;
        }
        let mut half = header(true, 0, BINARY, None, DECLARED as u64);
        half.resize(half.len() + SENT, 0xab);
        if seat.send(&mut conn, &half).await.is_some() {
            seat.told().await;
            conn.abort();
        }
    })
    .await
}
