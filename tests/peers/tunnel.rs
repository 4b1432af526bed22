//! A correct 101 and then whatever the test says, byte for byte; it notes raw bytes, not frames.
//! For byte identity in both directions and for endings that the other peers do not have.

use std::sync::Arc;

use tokio::sync::{Mutex, mpsc};

use super::{Peer, Seat, Via, serve};
use crate::support::conn::Conn;
use crate::support::log::Seen;

/// What the test tells it to do.
pub enum Do {
    Send(Vec<u8>),
    /// `close_notify` where there is TLS, then FIN; it goes on reading.
    Finish,
    /// FIN alone; it goes on reading.
    Fin,
    /// RST.
    Abort,
}

/// Steers the first connection.
pub type Control = mpsc::UnboundedSender<Do>;

pub async fn start(via: &Via) -> (Peer, Control) {
    let (control, orders) = mpsc::unbounded_channel();
    let orders = Arc::new(Mutex::new(orders));
    let peer = serve(via, move |conn, seat| obey(conn, seat, Arc::clone(&orders))).await;
    (peer, control)
}

async fn obey(mut conn: Conn, seat: Seat, orders: Arc<Mutex<mpsc::UnboundedReceiver<Do>>>) {
    if seat.upgrade(&mut conn).await.is_none() {
        return;
    }
    let early = std::mem::take(&mut conn.buf);
    if !early.is_empty() {
        seat.note(Seen::Bytes(early));
    }
    let mut orders = orders.lock().await;
    let mut readable = true;
    loop {
        let mut read = Vec::new();
        tokio::select! {
            order = orders.recv() => match order {
                Some(Do::Send(bytes)) => drop(conn.send(&bytes).await),
                Some(Do::Finish) => conn.finish().await,
                Some(Do::Fin) => conn.fin(),
                Some(Do::Abort) => return conn.abort(),
                None => return,
            },
            got = conn.wire.read_some(&mut read), if readable => match got {
                Ok(_) => seat.note(Seen::Bytes(read)),
                Err(ending) => {
                    readable = false;
                    seat.note(Seen::Ended(ending));
                }
            },
        }
    }
}
