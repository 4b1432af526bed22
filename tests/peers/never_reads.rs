//! A correct 101 and then it never reads again, with a small receive buffer, until told. Exercises:
//! backpressure towards the client.

use super::{Peer, Via, serve};
use socket2::SockRef;

pub async fn start(via: &Via) -> Peer {
    serve(via, |mut conn, seat| async move {
        if let Some(tcp) = conn.wire.tcp() {
            SockRef::from(tcp)
                .set_recv_buffer_size(64 * 1024)
                .expect("set SO_RCVBUF");
        }
        if seat.upgrade(&mut conn).await.is_some() {
            seat.told().await;
            seat.frames(&mut conn).await;
        }
    })
    .await
}
