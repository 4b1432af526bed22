//! A 101 and at once a Close frame of the test's choice, then an ending of its choice. Exercises:
//! close codes and reasons pass byte for byte, and decide the verdict whatever TCP does after them.

use super::{Peer, Via, serve};
use crate::support::frame::Frame;

/// What follows the Close frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum After {
    /// The far end's Close is awaited, then the connection ends cleanly.
    Echo,
    /// FIN at once.
    Fin,
    /// RST, when told.
    Rst,
    /// Nothing: the connection is left open.
    Stay,
}

/// `code: None` is a Close without a body.
pub async fn start(via: &Via, code: Option<u16>, reason: &str, after: After) -> Peer {
    let close = code
        .map_or_else(Frame::empty_close, |code| Frame::close(code, reason))
        .to_bytes();
    serve(via, move |mut conn, seat| {
        let close = close.clone();
        async move {
            if seat.upgrade(&mut conn).await.is_none() {
                return;
            }
            if seat.send(&mut conn, &close).await.is_none() {
                return;
            }
            match after {
                After::Echo => {
                    if let Ok(frame) = conn.frame().await {
                        seat.note(crate::support::log::Seen::Frame(frame));
                    }
                    conn.finish().await;
                }
                After::Fin => conn.finish().await,
                After::Rst => {
                    seat.told().await;
                    return conn.abort();
                }
                After::Stay => {}
            }
            seat.frames(&mut conn).await;
        }
    })
    .await
}
