//! Options of TCP sockets, the same on both legs: small frames go out at once, and a peer that
//! vanished is detected.

use std::io;
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tokio::net::TcpStream;

use crate::config::Tcp;

/// Sets the options on a connected socket. An option that the system refuses is skipped.
pub(crate) fn apply(stream: &TcpStream, tcp: &Tcp) {
    if let Err(error) = try_apply(&SockRef::from(stream), tcp) {
        tracing::debug!(%error, "failed to set options of a TCP socket");
    }
}

/// Sets how long the peer may leave sent bytes unacknowledged, from now on. Linux only.
pub(crate) fn set_user_timeout(stream: &TcpStream, limit: Duration) {
    #[cfg(any(target_os = "linux", target_os = "android"))]
    if let Err(error) = SockRef::from(stream).set_tcp_user_timeout(Some(limit)) {
        tracing::debug!(%error, "failed to set the user timeout of a TCP socket");
    }
    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    let _ = (stream, limit);
}

fn try_apply(socket: &SockRef<'_>, tcp: &Tcp) -> io::Result<()> {
    // Frames are small and must not wait for the last one's acknowledgement.
    socket.set_tcp_nodelay(true)?;
    let keepalive = TcpKeepalive::new()
        .with_time(tcp.keepalive)
        .with_interval(tcp.keepalive_interval);
    socket.set_tcp_keepalive(&keepalive)?;
    #[cfg(any(target_os = "linux", target_os = "android"))]
    socket.set_tcp_user_timeout(Some(tcp.user_timeout))?;
    Ok(())
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn every_option_is_set() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap())
            .await
            .unwrap();
        let socket = SockRef::from(&stream);
        assert!(!socket.tcp_nodelay().unwrap() && !socket.keepalive().unwrap());
        let tcp = Tcp {
            keepalive: Duration::from_secs(7),
            keepalive_interval: Duration::from_secs(3),
            user_timeout: Duration::from_millis(12_500),
        };
        apply(&stream, &tcp);
        assert!(socket.tcp_nodelay().unwrap() && socket.keepalive().unwrap());
        assert_eq!(socket.tcp_keepalive_time().unwrap(), tcp.keepalive);
        let interval = socket.tcp_keepalive_interval().unwrap();
        assert_eq!(interval, tcp.keepalive_interval);
        let user_timeout = socket.tcp_user_timeout().unwrap();
        assert_eq!(user_timeout, Some(tcp.user_timeout));
    }
}
