//! The gateway is not reached.

use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::time::Duration;

use socket2::{Domain, Socket, Type};
use wstap::session::SessionRecord;

use super::table::{Fault, fault, refused};
use crate::our_limits::without_descriptors;
use crate::peers::{Peer, Via, blurts, echo, never_answers, tls};
use crate::support::certs::{Ca, Validity};
use crate::support::head::upgrade;
use crate::support::tap::{Face, Setup};
use crate::together::restart::{Then, caller_after};

pub fn faults() -> Vec<Fault> {
    vec![
        fault("dns: no such name", "gateway.unreachable.dns", || {
            refused(Setup::before_url("http://no-such-host.invalid:18789"))
        }),
        fault(
            "tcp: refused on loopback",
            "gateway.unreachable.refused",
            || async {
                let nobody = Deaf::unheard();
                refused(nobody.setup()).await
            },
        ),
        fault(
            "tcp: refused, in a container",
            "gateway.unreachable.loopback_in_container",
            in_a_container,
        ),
        fault(
            "tcp: a full backlog",
            "gateway.unreachable.timeout",
            || async {
                let deaf = Deaf::full();
                refused(deaf.setup().set("timeouts.connect", "300ms")).await
            },
        ),
        fault(
            "tcp: a full backlog, and the client gives up at once",
            "client.left.dial",
            || a_client_that_waits(Duration::ZERO),
        ),
        fault(
            "tcp: a full backlog, and the client gives up after 3 s",
            "gateway.unreachable.no_answer",
            || a_client_that_waits(Duration::from_millis(3100)),
        ),
        fault(
            "tls: a gateway that never answers the handshake, and the client gives up after 3 s",
            "gateway.unreachable.no_answer",
            || async {
                let peer = never_answers::start(&Via::Plain).await;
                gives_up(over_tls(&peer), Duration::ZERO, Duration::from_millis(3100)).await
            },
        ),
        fault(
            "tcp: a full backlog, and the client of a spare connection gives up at once",
            "client.left.dial",
            || async {
                let deaf = Deaf::full();
                gives_up(deaf.setup(), Duration::from_millis(3100), Duration::ZERO).await
            },
        ),
        fault(
            "http: no answer, and the client of a spare connection gives up at once",
            "client.left.upgrade",
            || async {
                let peer = never_answers::start(&Via::Plain).await;
                let tap = Setup::before(&peer).start().await;
                let mut conn = tap.connect(Face::Plain).await;
                tokio::time::sleep(Duration::from_millis(5100)).await;
                conn.send(&upgrade("/", "localhost", &[])).await.unwrap();
                peer.log.head(0).await;
                conn.abort();
                tap.websocket().await
            },
        ),
        fault(
            "unix: no socket",
            "gateway.unreachable.socket_missing",
            || refused(Setup::before_url("unix:/nonexistent/gateway.sock")),
        ),
        fault(
            "unix: a socket that nobody listens on",
            "gateway.unreachable.refused",
            || async {
                let folder = tempfile::TempDir::new().unwrap();
                let path = folder.path().join("gateway.sock");
                drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
                refused(Setup::before_url(&format!("unix:{}", path.display()))).await
            },
        ),
        fault(
            "unix: more connections wait than may",
            "gateway.unreachable.backlog",
            a_full_socket,
        ),
        fault(
            "ours: no descriptor is left for the dial",
            "tap.fault.open_files",
            || async {
                let nobody = Deaf::unheard();
                without_descriptors(nobody.setup()).await
            },
        )
        .says("this process may open"),
        fault(
            "ours: no descriptor is left to look the gateway's name up",
            "tap.fault.open_files",
            || without_descriptors(Setup::before_url("http://no-such-host.invalid:18789")),
        ),
        fault(
            "unix: a socket that we may not open",
            "gateway.unreachable.socket_denied",
            a_forbidden_socket,
        ),
        fault(
            "tls: plain to a TLS gateway",
            "gateway.unreachable.wants_tls",
            || async {
                let (_, via) = tls::via(&["localhost"], Validity::Now);
                let peer = echo::start(&via).await;
                refused(Setup::before_url(&format!("http://{}", peer.addr()))).await
            },
        ),
        fault(
            "tls: TLS to a plain HTTP server",
            "gateway.unreachable.not_tls",
            || async {
                let answer = b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n";
                let peer = blurts::start(&Via::Plain, answer).await;
                refused(over_tls(&peer)).await
            },
        ),
        fault(
            "tls: a gateway that never answers the handshake",
            "gateway.unreachable.timeout",
            || async {
                let peer = never_answers::start(&Via::Plain).await;
                refused(over_tls(&peer).set("timeouts.connect", "300ms")).await
            },
        ),
        fault(
            "announced restart: a reset before the status line",
            "gateway.lifecycle.restarting",
            || caller_after("gateway restarting", Then::Reset),
        )
        .says("the gateway said that it restarts or stops"),
        fault(
            "announced restart: a proxy's 502",
            "gateway.lifecycle.restarting",
            || caller_after("gateway restarting", Then::BadGateway),
        ),
        fault(
            "announced stop: FIN before the status line",
            "gateway.lifecycle.stopping",
            || caller_after("gateway stopping", Then::Fin),
        ),
        fault(
            "tls: a gateway that ends the handshake",
            "gateway.unreachable.tls_cut",
            || async {
                let peer = blurts::start(&Via::Plain, b"").await;
                refused(over_tls(&peer)).await
            },
        ),
        fault(
            "tls: handshake_failure by the gateway",
            "gateway.unreachable.tls",
            || async {
                let alert = [0x15, 3, 3, 0, 2, 2, 40];
                let peer = blurts::start(&Via::Plain, &alert).await;
                refused(over_tls(&peer)).await
            },
        ),
        fault(
            "tls: the gateway's CA is not trusted",
            "gateway.unreachable.certificate_untrusted",
            || async {
                let (_, via) = tls::via(&["gateway.test"], Validity::Now);
                let peer = echo::start(&via).await;
                refused(Setup::before(&peer).gateway_ca(&Ca::new(), "gateway.test")).await
            },
        ),
        fault(
            "tls: the gateway's certificate is for another name",
            "gateway.unreachable.certificate_name",
            || certificate("other.test", Validity::Now),
        ),
        fault(
            "tls: the gateway's certificate has expired",
            "gateway.unreachable.certificate_expired",
            || certificate("gateway.test", Validity::Expired),
        ),
        fault(
            "tls: the gateway's certificate is not valid yet",
            "gateway.unreachable.certificate_expired",
            || certificate("gateway.test", Validity::NotYet),
        ),
    ]
}

async fn certificate(name: &str, validity: Validity) -> SessionRecord {
    let (ca, via) = tls::via(&[name], validity);
    let peer = echo::start(&via).await;
    refused(Setup::before(&peer).gateway_ca(&ca, "gateway.test")).await
}

fn over_tls(peer: &Peer) -> Setup {
    Setup::before_url(&format!("https://{}", peer.addr()))
}

/// Docker's host name of a container is the first twelve digits of its id.
async fn in_a_container() -> SessionRecord {
    let nobody = Deaf::unheard();
    let script = "echo 0123456789ab > /proc/sys/kernel/hostname && exec \"$0\" \"$@\"";
    // No mount is needed: the file shows the host name of the namespace that reads it.
    let words = [
        "unshare",
        "--user",
        "--map-root-user",
        "--uts",
        "sh",
        "-c",
        script,
    ];
    refused(nobody.setup().under(&words)).await
}

async fn a_forbidden_socket() -> SessionRecord {
    let folder = tempfile::TempDir::new().unwrap();
    let inner = folder.path().join("private");
    std::fs::create_dir(&inner).unwrap();
    let path = inner.join("gateway.sock");
    let _gateway = std::os::unix::net::UnixListener::bind(&path).unwrap();
    let mode = |mode| std::fs::set_permissions(&inner, std::fs::Permissions::from_mode(mode));
    mode(0o000).unwrap();
    let mut setup = Setup::before_url(&format!("unix:{}", path.display()));
    if std::fs::metadata(&inner).unwrap().uid() == 0 {
        // Permissions stop root only without these.
        setup = setup.under(&["setpriv", "--bounding-set=-dac_override,-dac_read_search"]);
    }
    let record = refused(setup).await;
    mode(0o700).unwrap();
    record
}

/// The gateway's process is stuck and accepts no connections.
async fn a_full_socket() -> SessionRecord {
    let folder = tempfile::TempDir::new().unwrap();
    let path = folder.path().join("gateway.sock");
    let address = socket2::SockAddr::unix(&path).unwrap();
    let listener = Socket::new(Domain::UNIX, Type::STREAM, None).unwrap();
    listener.bind(&address).unwrap();
    listener.listen(0).unwrap();
    let mut waiting = Vec::new();
    loop {
        let client = Socket::new(Domain::UNIX, Type::STREAM, None).unwrap();
        client.set_nonblocking(true).unwrap();
        if client.connect(&address).is_err() {
            break;
        }
        waiting.push(client);
    }
    refused(Setup::before_url(&format!("unix:{}", path.display()))).await
}

async fn a_client_that_waits(patience: Duration) -> SessionRecord {
    let deaf = Deaf::full();
    gives_up(deaf.setup(), Duration::ZERO, patience).await
}

/// A client that connects `early`, asks, and leaves after its `patience`.
async fn gives_up(setup: Setup, early: Duration, patience: Duration) -> SessionRecord {
    let tap = setup.start().await;
    let mut conn = tap.connect(Face::Plain).await;
    tokio::time::sleep(early).await;
    conn.send(&upgrade("/", "localhost", &[])).await.unwrap();
    tokio::time::sleep(patience).await;
    conn.abort();
    tap.websocket().await
}

/// A port at which nobody answers.
struct Deaf {
    addr: SocketAddr,
    _sockets: Vec<Socket>,
}

impl Deaf {
    /// Bound and not listening, so that it stays ours and refuses.
    fn unheard() -> Self {
        let socket = bound();
        Self::of(vec![socket])
    }

    /// Listening with every place taken: the kernel drops further attempts.
    fn full() -> Self {
        let listener = bound();
        listener.listen(0).unwrap();
        let addr = listener.local_addr().unwrap();
        let mut sockets = vec![listener];
        for _ in 0..4 {
            let client = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
            client.set_nonblocking(true).unwrap();
            // It cannot be done at once.
            let _ = client.connect(&addr);
            sockets.push(client);
        }
        Self::of(sockets)
    }

    fn of(sockets: Vec<Socket>) -> Self {
        let addr = sockets[0].local_addr().unwrap().as_socket().unwrap();
        Self {
            addr,
            _sockets: sockets,
        }
    }

    fn setup(&self) -> Setup {
        Setup::before_url(&format!("http://{}", self.addr))
    }
}

fn bound() -> Socket {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    socket.bind(&any.into()).unwrap();
    socket
}
