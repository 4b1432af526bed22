//! Gateways to put behind the tap: one well-behaved stand-in, the others with one fault each.
//!
//! Every file has a `start` that gives a [`Peer`]: where it listens, a [`Log`] of what it saw, and
//! [`Peer::go`] for those that wait for a signal. Dropping the peer ends everything it runs.

pub mod answers_early;
pub mod answers_when_told;
pub mod attribution;
pub mod blurts;
pub mod buried_close;
pub mod close_code;
pub mod draining;
pub mod early_bytes;
pub mod echo;
pub mod fin_mid_frame;
pub mod fin_without_close;
pub mod half_closer;
pub mod holds_back;
pub mod http_plain;
pub mod huge_declared_length;
pub mod leaves_after;
pub mod mangling_hop;
pub mod missing_accept_key;
pub mod names_its_client;
pub mod never_answers;
pub mod never_reads;
pub mod no_status_line;
pub mod node_recorder;
pub mod ok_instead_of_101;
pub mod openclaw;
pub mod pusher;
pub mod quoting;
pub mod reset_before_status;
pub mod reset_mid_frame;
pub mod scripted;
pub mod second_request;
pub mod slow_frame;
pub mod tls;
pub mod truncated_tls;
pub mod tunnel;
pub mod unix_socket;
pub mod wrong_accept_key;

use std::future::Future;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;

use rustls::ServerConfig;
use tempfile::TempDir;
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::Semaphore;
use tokio::task::{JoinHandle, JoinSet};
use tokio_rustls::{TlsAcceptor, TlsStream};

use crate::support::conn::Conn;
use crate::support::head::{self, Head};
use crate::support::log::{Log, Seen};
use crate::support::wire::{Ending, Wire};

/// What a peer listens on.
#[derive(Clone)]
pub enum Via {
    Plain,
    /// See [`tls`].
    Tls(Arc<ServerConfig>),
    /// See [`unix_socket`].
    Unix,
    /// Plain, on this address.
    At(SocketAddr),
    /// Plain, on this listener of another network.
    Bound(Arc<std::net::TcpListener>),
}

/// A running peer.
pub struct Peer {
    pub log: Log,
    target: Target,
    told: Arc<Semaphore>,
    task: JoinHandle<()>,
}

enum Target {
    Tcp { addr: SocketAddr, tls: bool },
    Unix { path: PathBuf, _folder: TempDir },
}

impl Peer {
    /// Where it listens; panics for a unix socket.
    pub fn addr(&self) -> SocketAddr {
        match &self.target {
            Target::Tcp { addr, .. } => *addr,
            Target::Unix { path, .. } => panic!("it listens on {}", path.display()),
        }
    }

    /// As `gateway.url` has it.
    pub fn url(&self) -> String {
        match &self.target {
            Target::Tcp { addr, tls: false } => format!("http://{addr}"),
            Target::Tcp { addr, tls: true } => format!("https://{addr}"),
            Target::Unix { path, .. } => format!("unix:{}", path.display()),
        }
    }

    /// Lets it take its next step: for the peers that wait with their fault.
    pub fn go(&self) {
        self.told.add_permits(1);
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// One connection's state in the peer: its number, the log, and the signal that it waits for.
#[derive(Clone)]
pub struct Seat {
    pub connection: usize,
    pub log: Log,
    told: Arc<Semaphore>,
}

impl Seat {
    pub fn note(&self, seen: Seen) {
        self.log.push(self.connection, seen);
    }

    /// Waits for [`Peer::go`].
    pub async fn told(&self) {
        self.told.acquire().await.expect("never closed").forget();
    }

    /// Reads and notes a request head; `None` when the connection ended before.
    pub async fn head(&self, conn: &mut Conn) -> Option<Head> {
        match conn.head().await {
            Ok(head) => {
                self.note(Seen::Head(head.clone()));
                Some(head)
            }
            Err(ending) => {
                self.note(Seen::Ended(ending));
                None
            }
        }
    }

    /// Reads a request and answers it with a correct 101.
    pub async fn upgrade(&self, conn: &mut Conn) -> Option<Head> {
        self.upgrade_with(conn, None).await
    }

    /// The same, agreeing to extensions.
    pub async fn upgrade_with(&self, conn: &mut Conn, extensions: Option<&str>) -> Option<Head> {
        let head = self.head(conn).await?;
        let answer = head::switching_with(&head.accept_key(), None, extensions);
        self.send(conn, &answer).await?;
        Some(head)
    }

    /// Sends; `None` when the far end no longer takes it.
    pub async fn send(&self, conn: &mut Conn, bytes: &[u8]) -> Option<()> {
        conn.send(bytes).await.ok()
    }

    /// Notes every frame and the ending.
    pub async fn frames(&self, conn: &mut Conn) -> Ending {
        loop {
            match conn.frame().await {
                Ok(frame) => self.note(Seen::Frame(frame)),
                Err(ending) => {
                    self.note(Seen::Ended(ending.clone()));
                    return ending;
                }
            }
        }
    }
}

/// Accepts forever and hands each connection to `handler`. The connection ends with the handler.
pub async fn serve<H, F>(via: &Via, handler: H) -> Peer
where
    H: Fn(Conn, Seat) -> F + Send + Sync + 'static,
    F: Future<Output = ()> + Send + 'static,
{
    let log = Log::new();
    let told = Arc::new(Semaphore::new(0));
    let (door, target) = Door::open(via).await;
    let seat = {
        let (log, told) = (log.clone(), Arc::clone(&told));
        move |connection| Seat {
            connection,
            log: log.clone(),
            told: Arc::clone(&told),
        }
    };
    let task = tokio::spawn(accept(door, seat, Arc::new(handler)));
    Peer {
        log,
        target,
        told,
        task,
    }
}

async fn accept<H, F>(door: Door, seat: impl Fn(usize) -> Seat, handler: Arc<H>)
where
    H: Fn(Conn, Seat) -> F + Send + Sync + 'static,
    F: Future<Output = ()> + Send + 'static,
{
    // Dropped, and with it every connection, when this task is aborted.
    let mut connections = JoinSet::new();
    for connection in 0.. {
        let wire = door.accept().await;
        let seat = seat(connection);
        let handler = Arc::clone(&handler);
        let tls = door.tls();
        connections.spawn(async move {
            let wire = match (wire, tls) {
                (Wire::Plain(tcp), Some(acceptor)) => match acceptor.accept(tcp).await {
                    Ok(tls) => Wire::Tls(Box::new(TlsStream::Server(tls))),
                    Err(error) => return seat.note(Seen::Ended(Ending::Other(error.to_string()))),
                },
                (wire, _) => wire,
            };
            seat.note(Seen::Accepted);
            handler(Conn::patient(wire), seat).await;
        });
    }
}

enum Door {
    Tcp(TcpListener, Option<TlsAcceptor>),
    Unix(UnixListener),
}

impl Door {
    async fn open(via: &Via) -> (Self, Target) {
        let acceptor = match via {
            Via::Plain | Via::At(_) | Via::Bound(_) => None,
            Via::Tls(config) => Some(TlsAcceptor::from(Arc::clone(config))),
            Via::Unix => {
                let folder = TempDir::new().expect("a temporary folder");
                let path = folder.path().join("gateway.sock");
                let listener = UnixListener::bind(&path).expect("bind the unix socket");
                return (
                    Self::Unix(listener),
                    Target::Unix {
                        path,
                        _folder: folder,
                    },
                );
            }
        };
        let addr = match via {
            Via::At(addr) => *addr,
            _ => (Ipv4Addr::LOCALHOST, 0).into(),
        };
        let listener = match via {
            Via::Bound(bound) => {
                let bound = bound.try_clone().expect("a second handle");
                bound.set_nonblocking(true).expect("set non-blocking");
                TcpListener::from_std(bound).expect("a tokio listener")
            }
            _ => TcpListener::bind(addr).await.expect("bind"),
        };
        let addr = listener.local_addr().expect("its address");
        let tls = acceptor.is_some();
        (Self::Tcp(listener, acceptor), Target::Tcp { addr, tls })
    }

    async fn accept(&self) -> Wire {
        match self {
            Self::Tcp(listener, _) => {
                let (tcp, _) = listener.accept().await.expect("accept");
                tcp.set_nodelay(true).expect("set TCP_NODELAY");
                Wire::Plain(tcp)
            }
            Self::Unix(listener) => Wire::Unix(listener.accept().await.expect("accept").0),
        }
    }

    fn tls(&self) -> Option<TlsAcceptor> {
        match self {
            Self::Tcp(_, acceptor) => acceptor.clone(),
            Self::Unix(_) => None,
        }
    }
}
