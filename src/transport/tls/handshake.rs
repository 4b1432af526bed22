//! I/O of the handshake with a client.

use std::future::{Future as _, poll_fn};
use std::io;
use std::pin::{Pin, pin};
use std::task::Poll;

use tokio::io::{AsyncReadExt as _, AsyncWrite as _, AsyncWriteExt as _};

use super::engine::{Out, TlsEngine};
use super::greeting::Greeting;
use crate::transport::socket::ClientSocket;

/// Maximum number of bytes per read.
const READ: usize = 4096;

/// Does the handshake; everything read so far is in the engine. `ahead` gets the plaintext that the client sent right
/// after its part of the handshake. Returns records that can wait for the first answer.
pub(super) async fn complete(
    socket: &mut ClientSocket,
    engine: &mut TlsEngine,
    ahead: &mut Vec<u8>,
    greeting: &mut Greeting<'_>,
) -> io::Result<Vec<u8>> {
    loop {
        let mut out = Out::default();
        engine.receive_kept(|bytes| ahead.extend_from_slice(bytes), &mut out);
        greeting.looked();
        let is_done = !engine.is_handshaking();
        if let Some(end) = engine.end() {
            if let Some(error) = end.failure() {
                if let Ok(alert) = out.bytes() {
                    last_words(socket, alert).await;
                }
                return Err(error);
            }
            if !is_done {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        // In TLS 1.3 the client completes the handshake. The server then sends only session tickets, which by
        // themselves would cost a packet and wake the client.
        if is_done && engine.is_tls13() {
            return Ok(out.bytes()?.to_vec());
        }
        socket.write_all(out.bytes()?).await?;
        if is_done {
            return Ok(Vec::new());
        }
        let before = engine.kept().len();
        read_more(socket, engine).await?;
        greeting.came(engine.kept().get(before..).unwrap_or_default());
    }
}

/// Reads the available bytes; an empty result means that the connection has ended.
pub(crate) async fn first(socket: &mut ClientSocket) -> io::Result<Vec<u8>> {
    let mut read = Vec::with_capacity(READ);
    socket.read_buf(&mut read).await?;
    Ok(read)
}

async fn read_more(socket: &mut ClientSocket, engine: &mut TlsEngine) -> io::Result<()> {
    let count = poll_fn(|cx| engine.read_with(READ, |kept| pin!(socket.read_buf(kept)).poll(cx)));
    match count.await? {
        0 => Err(io::ErrorKind::UnexpectedEof.into()),
        _ => Ok(()),
    }
}

/// Writes an alert if that is possible without waiting: the fault of the handshake matters more.
async fn last_words(socket: &mut ClientSocket, bytes: &[u8]) {
    poll_fn(|cx| {
        let _ = Pin::new(&mut *socket).poll_write(cx, bytes);
        Poll::Ready(())
    })
    .await;
}
