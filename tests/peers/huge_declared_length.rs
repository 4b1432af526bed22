//! A frame that claims an absurd length, followed by a few bytes. Exercises: nothing is allocated
//! by a peer's claim, and the top bit is a violation (RFC 6455 section 5.2), not an overflow.

use super::{Peer, Via, serve};
use crate::support::frame::{BINARY, header};

/// The largest length that the protocol allows.
pub const LARGEST: u64 = (1 << 63) - 1;
/// One with the bit that must be 0.
pub const TOP_BIT: u64 = (1 << 63) | 5;
/// What follows the header.
pub const PAYLOAD: &[u8] = b"not that much";

pub async fn start(via: &Via, declared: u64) -> Peer {
    serve(via, move |mut conn, seat| async move {
        if seat.upgrade(&mut conn).await.is_none() {
            return;
        }
        let mut bytes = header(true, 0, BINARY, None, declared);
        bytes.extend_from_slice(PAYLOAD);
        if seat.send(&mut conn, &bytes).await.is_some() {
            seat.frames(&mut conn).await;
        }
    })
    .await
}
