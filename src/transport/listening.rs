//! The sockets on which the tap accepts connections: TCP and unix sockets, its own or passed by
//! systemd.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use tokio::net::{TcpListener, UnixListener};

use super::listener;
use super::redirected::{Course, Redirected};
use super::socket::ClientSocket;
use super::unix::SocketFile;
use crate::admission::peer::Peer;
use crate::session::address;
use crate::session::record::client::Process;

/// A bound socket.
#[derive(Debug)]
pub enum Listening {
    /// TCP.
    Tcp(TcpListener),
    /// A unix socket.
    Unix {
        /// The socket.
        listener: UnixListener,
        /// Its path.
        path: PathBuf,
        /// Its file if we made it; removed when this is dropped.
        file: Option<SocketFile>,
    },
    /// TCP connections that a packet filter redirects to us.
    Redirected(Redirected),
}

/// An accepted connection.
#[derive(Debug)]
pub struct Accepted {
    /// The connection.
    pub socket: ClientSocket,
    /// The peer.
    pub peer: Peer,
    /// The address that the client dialled, as records name it.
    pub local: String,
    /// The route to the gateway, if the client had dialled the gateway itself.
    pub course: Option<Course>,
}

/// The address on which a socket listens; displays as `address:port` or `unix:/path`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ListenAddr {
    /// TCP.
    Tcp(SocketAddr),
    /// A unix socket.
    Unix(PathBuf),
}

impl ListenAddr {
    /// The TCP address.
    #[must_use]
    pub fn addr(&self) -> Option<SocketAddr> {
        match self {
            Self::Tcp(addr) => Some(*addr),
            Self::Unix(_) => None,
        }
    }
}

impl fmt::Display for ListenAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(addr) => addr.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

impl Listening {
    /// The address on which this socket listens.
    pub fn place(&self) -> io::Result<ListenAddr> {
        match self {
            Self::Tcp(tcp) => tcp.local_addr().map(ListenAddr::Tcp),
            Self::Unix { path, .. } => Ok(ListenAddr::Unix(path.clone())),
            Self::Redirected(redirected) => redirected.local_addr().map(ListenAddr::Tcp),
        }
    }

    /// The next connection.
    pub async fn accept(&self) -> Accepted {
        match self {
            Self::Tcp(tcp) => {
                let (stream, peer) = listener::accept(tcp).await;
                let local = stream.local_addr().unwrap_or(peer);
                Accepted {
                    socket: ClientSocket::Tcp(stream),
                    peer: Peer::inet(peer),
                    local: address::text(listener::canonical(local)),
                    course: None,
                }
            }
            Self::Unix { listener, path, .. } => {
                let stream = listener::patiently(|| listener.accept()).await.0;
                let peer = stream.peer_cred().map_or(UNKNOWN, |cred| Process {
                    pid: cred.pid(),
                    uid: cred.uid(),
                });
                Accepted {
                    socket: ClientSocket::Unix(stream),
                    peer: Peer::Unix(peer),
                    local: format!("unix:{}", path.display()),
                    course: None,
                }
            }
            Self::Redirected(redirected) => {
                let (stream, peer, course) = redirected.accept().await;
                Accepted {
                    socket: ClientSocket::Tcp(stream),
                    peer: Peer::inet(peer),
                    local: address::text(course.to),
                    course: Some(course),
                }
            }
        }
    }
}

/// Fallback for a peer without credentials, with the uid of `nobody`; the kernel always supplies
/// them.
const UNKNOWN: Process = Process {
    pid: None,
    uid: 65534,
};
