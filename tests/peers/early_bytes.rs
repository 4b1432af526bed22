//! Frames in the same segment as the head of the 101. Exercises: bytes that were read together with
//! the head belong to the stream.

use super::{Peer, Via, serve};
use crate::support::frame::Frame;
use crate::support::head;

pub async fn start(via: &Via, frames: &[Frame]) -> Peer {
    let glued: Vec<u8> = frames.iter().flat_map(Frame::to_bytes).collect();
    serve(via, move |mut conn, seat| {
        let glued = glued.clone();
        async move {
            let Some(head) = seat.head(&mut conn).await else {
                return;
            };
            let mut bytes = head::switching(&head.accept_key(), None);
            bytes.extend(glued);
            if seat.send(&mut conn, &bytes).await.is_some() {
                seat.frames(&mut conn).await;
            }
        }
    })
    .await
}
