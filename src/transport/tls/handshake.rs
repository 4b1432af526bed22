//! The handshake with a client: reads, has them looked at, and writes what is to be answered.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::Poll;

use rustls::{CommonState, ProtocolVersion};
use tokio::io::{AsyncReadExt as _, AsyncWrite as _, AsyncWriteExt as _};

use super::greeting::Greeting;
use super::out::{End, Out};
use super::session::{Session, of_tls};
use crate::transport::socket::ClientSocket;

/// Bytes that are read at once.
const READ: usize = 4096;

/// Does the handshake, once everything that has come is in the session. `ahead` gets what the client
/// has sent behind its part of it. Returns what can wait for the first answer.
pub(super) async fn complete(
    socket: &mut ClientSocket,
    session: &mut Session,
    ahead: &mut Vec<u8>,
    greeting: &mut Greeting<'_>,
) -> io::Result<Vec<u8>> {
    loop {
        let mut out = Out::default();
        session.receive_kept(|bytes| ahead.extend_from_slice(bytes), &mut out);
        greeting.looked();
        match session.end() {
            Some(End::Failed(error)) => {
                let error = of_tls(error.clone());
                last_words(socket, out.bytes()).await;
                return Err(error);
            }
            Some(End::Closed) if session.is_handshaking() => {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            Some(End::Closed) | None => {}
        }
        let is_done = !session.is_handshaking();
        let version = session.state().and_then(CommonState::protocol_version);
        // With TLS 1.3 the client has the last word of the handshake: what follows are tickets for
        // later sessions. By themselves they would cost a packet and wake the client.
        if is_done && version == Some(ProtocolVersion::TLSv1_3) {
            return Ok(out.bytes().to_vec());
        }
        socket.write_all(out.bytes()).await?;
        if is_done {
            return Ok(Vec::new());
        }
        let kept = session.kept_mut();
        let before = kept.len();
        read_more(socket, kept).await?;
        greeting.came(kept.get(before..).unwrap_or_default());
    }
}

/// Reads what has come of a connection, whatever it is; nothing when it has ended.
pub async fn first(socket: &mut ClientSocket) -> io::Result<Vec<u8>> {
    let mut read = Vec::with_capacity(READ);
    socket.read_buf(&mut read).await?;
    Ok(read)
}

async fn read_more(socket: &mut ClientSocket, read: &mut Vec<u8>) -> io::Result<()> {
    read.reserve(READ);
    match socket.read_buf(read).await? {
        0 => Err(io::ErrorKind::UnexpectedEof.into()),
        _ => Ok(()),
    }
}

/// Writes an alert if it can be written at once: the handshake's own fault is what matters.
async fn last_words(socket: &mut ClientSocket, bytes: &[u8]) {
    poll_fn(|cx| {
        let _ = Pin::new(&mut *socket).poll_write(cx, bytes);
        Poll::Ready(())
    })
    .await;
}
