//! Listening sockets.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::{TcpListener, TcpStream};

/// Maximum number of connections that wait in the kernel to be accepted.
pub(super) const BACKLOG: i32 = 1024;

/// First pause after an accept error that lasts, such as EMFILE. Each further error doubles it.
const ERROR_PAUSE: Duration = Duration::from_millis(10);

/// Maximum pause. Clients wait in the backlog meanwhile.
const MAX_PAUSE: Duration = Duration::from_secs(1);

/// Binds one address. `[::]` takes IPv4 clients too, whatever the system's default is.
pub(crate) fn bind(addr: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(addr), Type::STREAM, Some(Protocol::TCP))?;
    if addr.is_ipv6() {
        socket.set_only_v6(false)?;
    }
    // A restart must not wait for old connections in TIME_WAIT.
    socket.set_reuse_address(true)?;
    socket.bind(&addr.into())?;
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    TcpListener::from_std(socket.into())
}

/// The next connection.
pub(crate) async fn accept(listener: &TcpListener) -> (TcpStream, SocketAddr) {
    let (stream, peer) = patiently(|| listener.accept()).await;
    (stream, canonical(peer))
}

/// Retries `accept` until it succeeds. Errors of a single connection are skipped; when the system
/// is out of descriptors or memory, this waits a little instead of spinning.
pub(crate) async fn patiently<T, F: Future<Output = io::Result<T>>>(accept: impl Fn() -> F) -> T {
    let mut pause = ERROR_PAUSE;
    loop {
        match accept().await {
            Ok(accepted) => return accepted,
            Err(error) if is_about_one_connection(&error) => {}
            Err(error) => {
                if pause == ERROR_PAUSE {
                    tracing::warn!(%error, "failed to accept a connection; pausing until it works");
                }
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(MAX_PAUSE);
            }
        }
    }
}

/// The address of an IPv4 client of a dual-stack socket, in its IPv4 form.
#[must_use]
pub(crate) fn canonical(addr: SocketAddr) -> SocketAddr {
    SocketAddr::new(addr.ip().to_canonical(), addr.port())
}

pub(super) fn is_about_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionRefused
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_dual_stack_listener_shows_ipv4_clients_by_their_address() {
        let listener = bind("[::]:0".parse().unwrap()).unwrap();
        let port = listener.local_addr().unwrap().port();
        let client = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
        let (_, peer) = accept(&listener).await;
        assert_eq!(peer, client.local_addr().unwrap());
    }
}
