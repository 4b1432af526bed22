//! Connections that a packet filter redirects to us, and connections that keep the client's address.
//!
//! `wstap attach` has nftables redirect new connections made to the gateway's port to our listener. The
//! kernel keeps the original destination (`SO_ORIGINAL_DST`); we dial it from the client's own address, so
//! that the gateway sees the same client address as without the tap.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use socket2::{Domain, Protocol, SockRef, Socket, Type};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::Notify;

use super::listener::{self, canonical, is_about_one_connection};
use super::own_address::{is_own, source_for};

/// Firewall mark of our own connections ("wtap"): the redirect skips marked packets, and a policy
/// rule routes the replies to them back to us.
pub const MARK: u32 = 0x7774_6170;

/// The route of a redirected connection to the gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Course {
    /// The destination that the client had dialled.
    pub to: SocketAddr,
    /// The client, whose address the connection to the gateway keeps; `None` if it uses our own
    /// address.
    pub client: Option<SocketAddr>,
    /// The connection is a self-check of the tap.
    pub is_check: bool,
    /// Its bytes are passed on unread.
    pub is_unread: bool,
}

/// A listener for redirected connections. Others are reset, apart from our self-checks.
#[derive(Debug)]
pub struct Redirected {
    listener: TcpListener,
    checks: SelfChecks,
    unread: Arc<AtomicBool>,
    exhausted: Arc<Notify>,
}

/// Our own connections that check the tap's data path: the source address of each, and its course.
/// Clones share the list.
#[derive(Clone, Debug, Default)]
pub struct SelfChecks(Arc<Mutex<HashMap<SocketAddr, Course>>>);

/// Remote clients for self-checks: addresses that are reserved for benchmarks (RFC 2544, RFC 5180). Their packets
/// never leave this host.
const REMOTE_V4: Ipv4Addr = Ipv4Addr::new(198, 18, 77, 46);
const REMOTE_V6: Ipv6Addr = Ipv6Addr::new(0x2001, 2, 0, 0, 0, 0, 0x77, 0x46);

/// One self-check; its connection is recognised as one until this is dropped.
#[derive(Debug)]
pub struct SelfCheck {
    checks: SelfChecks,
    from: SocketAddr,
    socket: Option<TcpSocket>,
}

impl Redirected {
    /// Accepts from this socket; `checks` continue to their own server. While `unread` is set,
    /// connections are passed on without being inspected. `exhausted` is notified when there is no
    /// descriptor or memory for a connection.
    #[must_use]
    pub fn new(
        listener: TcpListener,
        checks: SelfChecks,
        unread: Arc<AtomicBool>,
        exhausted: Arc<Notify>,
    ) -> Self {
        Self {
            listener,
            checks,
            unread,
            exhausted,
        }
    }

    /// The listener's own address.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// The next connection that was redirected or is a self-check, its peer, and its course.
    pub async fn accept(&self) -> (TcpStream, SocketAddr, Course) {
        loop {
            let (stream, peer) = listener::patiently(|| self.accept_once()).await;
            let peer = canonical(peer);
            let is_unread = self.unread.load(Ordering::Relaxed);
            if let Some(course) = self.checks.course_of(peer) {
                return (
                    stream,
                    peer,
                    Course {
                        is_unread,
                        ..course
                    },
                );
            }
            match original_destination(&stream) {
                Ok(Some(to)) => {
                    let course = Course {
                        to,
                        client: Some(peer),
                        is_check: false,
                        is_unread,
                    };
                    return (stream, peer, course);
                }
                Ok(None) => tracing::debug!(%peer, "reset a connection that was not redirected"),
                Err(error) => {
                    tracing::debug!(%peer, %error, "reset a connection without a destination");
                }
            }
            // A scanner must see a closed port, not an open one.
            let _ = SockRef::from(&stream).set_linger(Some(Duration::ZERO));
        }
    }

    async fn accept_once(&self) -> io::Result<(TcpStream, SocketAddr)> {
        let accepted = self.listener.accept().await;
        if let Err(error) = &accepted
            && !is_about_one_connection(error)
        {
            self.exhausted.notify_one();
        }
        accepted
    }
}

impl SelfChecks {
    /// Starts a self-check: a connection to the tap at `to`, which the tap passes on to `server`
    /// instead of the gateway. With `as_remote` it continues like a remote client's connection, which needs
    /// the policy rules. The socket carries our mark.
    pub fn begin(
        &self,
        to: SocketAddr,
        server: SocketAddr,
        as_remote: bool,
    ) -> io::Result<SelfCheck> {
        let remote = match server {
            SocketAddr::V4(_) => REMOTE_V4.into(),
            SocketAddr::V6(_) => REMOTE_V6.into(),
        };
        let course = Course {
            to: server,
            client: as_remote.then_some(SocketAddr::new(remote, 0)),
            is_check: true,
            is_unread: false,
        };
        let socket = Socket::new(Domain::for_address(to), Type::STREAM, Some(Protocol::TCP))?;
        kernel::set_mark(&socket)?;
        socket.set_nonblocking(true)?;
        socket.bind(&SocketAddr::new(to.ip(), 0).into())?;
        let socket = TcpSocket::from_std_stream(socket.into());
        let from = canonical(socket.local_addr()?);
        self.running().insert(from, course);
        Ok(SelfCheck {
            checks: self.clone(),
            from,
            socket: Some(socket),
        })
    }

    fn course_of(&self, peer: SocketAddr) -> Option<Course> {
        self.running().get(&peer).copied()
    }

    fn running(&self) -> MutexGuard<'_, HashMap<SocketAddr, Course>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl SelfCheck {
    /// Connects.
    pub async fn connect(&mut self, to: SocketAddr) -> io::Result<TcpStream> {
        match self.socket.take() {
            Some(socket) => socket.connect(to).await,
            None => Err(io::ErrorKind::AlreadyExists.into()),
        }
    }
}

impl Drop for SelfCheck {
    fn drop(&mut self) {
        self.checks.running().remove(&self.from);
    }
}

/// The destination that the client dialled; `None` if that is our own listener, so the connection
/// was not redirected.
fn original_destination(stream: &TcpStream) -> io::Result<Option<SocketAddr>> {
    let local = canonical(stream.local_addr()?);
    let socket = SockRef::from(stream);
    let original = kernel::original_destination(&socket, local)?.map(canonical);
    Ok(original.filter(|original| *original != local))
}

impl Course {
    /// Connects to `addr` with our mark, from the client's address.
    pub async fn connect(self, addr: SocketAddr) -> io::Result<TcpStream> {
        let Some(client) = self.client else {
            return TcpStream::connect(addr).await;
        };
        if source_for(addr.ip()).is_ok_and(|source| source == client.ip()) {
            // Unbound, so that the kernel needs a port that is free only for this destination.
            return connect_marked(addr).await;
        }
        if is_own(client.ip()) {
            // The client's port is in use, by the client itself.
            return connect_from(SocketAddr::new(client.ip(), 0), addr, Foreign::No).await;
        }
        // The client's own port cannot collide with another client. If an earlier connection of
        // this client still occupies it, let the kernel choose one.
        match connect_from(client, addr, Foreign::Yes).await {
            Err(error) if is_taken(&error) => {
                connect_from(SocketAddr::new(client.ip(), 0), addr, Foreign::Yes).await
            }
            connected => connected,
        }
    }
}

/// A listener on this loopback address whose packets carry our mark: the policy rules bring its replies to a remote
/// client of a self-check back to us.
pub fn listen_marked(loopback: IpAddr) -> io::Result<TcpListener> {
    let addr = SocketAddr::new(loopback, 0);
    let socket = Socket::new(Domain::for_address(addr), Type::STREAM, Some(Protocol::TCP))?;
    kernel::set_mark(&socket)?;
    socket.bind(&addr.into())?;
    socket.listen(listener::BACKLOG)?;
    socket.set_nonblocking(true)?;
    TcpListener::from_std(socket.into())
}

/// Whether a source address belongs to another host.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Foreign {
    Yes,
    No,
}

async fn connect_marked(to: SocketAddr) -> io::Result<TcpStream> {
    let socket = Socket::new(Domain::for_address(to), Type::STREAM, Some(Protocol::TCP))?;
    kernel::set_mark(&socket)?;
    socket.set_nonblocking(true)?;
    TcpSocket::from_std_stream(socket.into()).connect(to).await
}

async fn connect_from(from: SocketAddr, to: SocketAddr, foreign: Foreign) -> io::Result<TcpStream> {
    let socket = Socket::new(Domain::for_address(to), Type::STREAM, Some(Protocol::TCP))?;
    kernel::set_mark(&socket)?;
    if foreign == Foreign::Yes {
        kernel::set_transparent(&socket, to)?;
        socket.set_reuse_address(true)?;
    }
    socket.set_nonblocking(true)?;
    socket.bind(&from.into())?;
    TcpSocket::from_std_stream(socket.into()).connect(to).await
}

fn is_taken(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::AddrInUse | io::ErrorKind::AddrNotAvailable
    )
}

/// Whether this process may do what redirected connections need: mark sockets (`SO_MARK`), and bind them
/// to addresses of other hosts (`IP_TRANSPARENT`).
pub fn permitted() -> Result<(), (&'static str, io::Error)> {
    let socket = || Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP));
    let marked = socket().and_then(|socket| kernel::set_mark(&socket));
    marked.map_err(|error| ("SO_MARK", error))?;
    let any = SocketAddr::from(([0, 0, 0, 0], 0));
    let transparent = socket().and_then(|socket| kernel::set_transparent(&socket, any));
    transparent.map_err(|error| ("IP_TRANSPARENT", error))
}

#[cfg(target_os = "linux")]
mod kernel {
    use super::{MARK, SockRef, Socket, SocketAddr, io};

    pub(super) fn set_mark(socket: &Socket) -> io::Result<()> {
        socket.set_mark(MARK)
    }

    pub(super) fn set_transparent(socket: &Socket, to: SocketAddr) -> io::Result<()> {
        if to.is_ipv4() {
            socket.set_ip_transparent_v4(true)
        } else {
            socket.set_ip_transparent_v6(true)
        }
    }

    pub(super) fn original_destination(
        socket: &SockRef<'_>,
        local: SocketAddr,
    ) -> io::Result<Option<SocketAddr>> {
        let original = if local.is_ipv4() {
            socket.original_dst_v4()
        } else {
            socket.original_dst_v6()
        };
        Ok(original?.as_socket())
    }
}

/// Only Linux redirects connections in this way; `wstap attach` says so before it comes here.
#[cfg(not(target_os = "linux"))]
mod kernel {
    use super::{SockRef, Socket, SocketAddr, io};

    pub(super) fn set_mark(_: &Socket) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    pub(super) fn set_transparent(_: &Socket, _: SocketAddr) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    pub(super) fn original_destination(
        _: &SockRef<'_>,
        _: SocketAddr,
    ) -> io::Result<Option<SocketAddr>> {
        Err(io::ErrorKind::Unsupported.into())
    }
}
