//! What the tap accepts connections on: TCP and unix sockets, its own or passed by systemd.

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
        /// Where it is.
        path: PathBuf,
        /// Its file, where we have made it: removed with this.
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
    /// Who is at its other end.
    pub peer: Peer,
    /// The address that the client dialled, as records name it.
    pub local: String,
    /// How it continues to the gateway, where the client had dialled that.
    pub course: Option<Course>,
}

/// Where a socket listens: displays as `address:port` or `unix:/path`.
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
    /// Where it listens.
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

/// The kernel always tells; `nobody` stands for whom it could not name.
const UNKNOWN: Process = Process {
    pid: None,
    uid: 65534,
};
