//! A proxy that passes the handshake on and then holds back what comes from one side, as one does
//! that fills a buffer before it sends. Exercises: a challenge or a connect request that never
//! arrives.

use std::net::SocketAddr;

use super::{Peer, Via, serve};
use crate::support::client::connect;
use crate::support::conn::Conn;

/// Whose bytes it holds back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    Client,
    Gateway,
}

pub async fn start(upstream: SocketAddr, silenced: Side) -> Peer {
    serve(&Via::Plain, move |mut conn, seat| async move {
        let Some(head) = seat.head(&mut conn).await else {
            return;
        };
        let mut gateway = Conn::patient(connect(upstream).await.wire);
        if gateway.send(&head.raw).await.is_err() {
            return;
        }
        let Ok(answer) = gateway.head().await else {
            return;
        };
        if seat.send(&mut conn, &answer.raw).await.is_some() {
            relay(conn, gateway, silenced).await;
        }
    })
    .await
}

/// Until one side ends; then both do. What is held back is never sent.
async fn relay(mut client: Conn, mut gateway: Conn, silenced: Side) {
    // What came with the heads.
    let (mut up, mut down) = (
        std::mem::take(&mut client.buf),
        std::mem::take(&mut gateway.buf),
    );
    loop {
        let passed = match silenced {
            Side::Client => client.send(&down).await,
            Side::Gateway => gateway.send(&up).await,
        };
        up.clear();
        down.clear();
        let read = tokio::select! {
            read = client.wire.read_some(&mut up) => read,
            read = gateway.wire.read_some(&mut down) => read,
        };
        if read.is_err() || passed.is_err() {
            break;
        }
    }
    client.finish().await;
    gateway.finish().await;
}
