//! One text frame over TLS and then, when told, FIN without `close_notify`. Exercises: a truncated
//! TLS stream (RFC 8446 section 6.1), which must not be taken for an orderly end.

use super::{Peer, Via, serve};
use crate::support::frame::Frame;

pub async fn start(via: &Via) -> Peer {
    assert!(matches!(via, Via::Tls(_)), "only TLS can be truncated");
    serve(via, |mut conn, seat| async move {
        if seat.upgrade(&mut conn).await.is_none() {
            return;
        }
        if seat
            .send(&mut conn, &Frame::text("still here").to_bytes())
            .await
            .is_some()
        {
            seat.told().await;
            conn.fin();
            seat.frames(&mut conn).await;
        }
    })
    .await
}
