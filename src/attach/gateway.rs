//! The gateway to tap: its addresses, its protocol, and its certificate.

use std::io::{self, Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use data_encoding::HEXLOWER;
use rustls::ClientConnection;
use rustls::pki_types::ServerName;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::sync::oneshot;

use super::obstacle::Obstacle;
use super::routes::Ipv6;
use crate::config::{Config, ConfigErrors, ListenerTls};
use crate::transport::holder::{self, Holder};
use crate::transport::redirected;
use crate::upstream::pinned::{Fingerprint, Pinned};

/// Limit for a connection to a port of this host; a closed port refuses at once.
const REFUSED: Duration = Duration::from_millis(300);

/// Time limit for a request to the gateway.
const ASK: Duration = Duration::from_secs(2);

/// Time limit for the rest of its answer, of which only the beginning is needed.
const REST: Duration = Duration::from_millis(200);

/// Limit on the bytes of its answer that are read.
const ANSWER: u64 = 64 * 1024;

/// The listeners on the gateway's port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Listeners {
    /// The addresses; empty if nothing listens now.
    pub(super) addresses: Vec<IpAddr>,
    /// `::` takes no IPv4 connections.
    pub(super) v6_only: bool,
    /// The process that has the first of them.
    pub(super) holder: Option<Holder>,
}

impl Listeners {
    /// The listeners of this namespace.
    pub(super) fn on(port: u16) -> Self {
        let addresses = holder::addresses(port);
        let first = addresses.first().copied();
        let holder = first.map(|ip| holder::of(SocketAddr::new(ip, port)));
        Self {
            v6_only: is_v6_only(&addresses, port),
            addresses,
            holder,
        }
    }

    /// The addresses to redirect; empty for all of this namespace.
    ///
    /// `0.0.0.0` does not include IPv6: a client that dials `::1` first must be refused there, or
    /// it never tries IPv4.
    pub(super) fn to_redirect(&self) -> Vec<IpAddr> {
        let all_v6 = self.addresses.contains(&Ipv6Addr::UNSPECIFIED.into());
        if all_v6 && !self.v6_only {
            return Vec::new();
        }
        let all_v4 = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
        let has_all_v4 = self.addresses.contains(&all_v4);
        let covered = |ip: &IpAddr| {
            (has_all_v4 && ip.is_ipv4() || all_v6 && ip.is_ipv6()) && !ip.is_unspecified()
        };
        let addresses = self.addresses.iter().copied();
        addresses.filter(|ip| !covered(ip)).collect()
    }

    /// The obstacle if an engine's proxy for published ports listens here: then the gateway is in a
    /// container's namespace.
    pub(super) fn obstacle(&self, port: u16) -> Option<Obstacle> {
        let Some(Holder::Process { name, pid }) = &self.holder else {
            return None;
        };
        let is_publisher = PUBLISHERS
            .iter()
            .any(|known| name.as_str().starts_with(known));
        is_publisher.then(|| {
            Obstacle::new(
                format!(
                    "port {port} is a container's, published here by {name} (pid {pid}): a redirect here \
                     would lose the clients' addresses"
                ),
                format!(
                    "attach inside the container: `wstap attach --port PORT --in container:NAME` \
                     (`docker ps --filter publish={port}` shows the name, and the container's port after `->`)"
                ),
            )
        })
    }
}

/// Whether `::` among these addresses takes no IPv4 connections. With another IPv4 listener on the port it
/// cannot take any; otherwise one is tried.
fn is_v6_only(addresses: &[IpAddr], port: u16) -> bool {
    if !addresses.contains(&Ipv6Addr::UNSPECIFIED.into()) {
        return false;
    }
    let v4 = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    addresses.iter().any(IpAddr::is_ipv4)
        || connect(v4, REFUSED).is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused)
}

/// An address at which the gateway can be asked; `None` if nothing listens.
fn address(listeners: &Listeners, port: u16) -> Option<SocketAddr> {
    let ip = match listeners.addresses.first()? {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        // A dual-stack listener exists even in a namespace without IPv6, such as that of a Docker
        // container.
        IpAddr::V6(ip) if ip.is_unspecified() && Ipv6::here() != Ipv6::Usable => {
            Ipv4Addr::LOCALHOST.into()
        }
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => *ip,
    };
    Some(SocketAddr::new(ip, port))
}

/// Asks in the background which protocol the gateway speaks, so that a gateway that hangs does not
/// delay attaching.
pub(super) fn ask_in_background(listeners: &Listeners, port: u16) -> oneshot::Receiver<Spoken> {
    let (answer, answered) = oneshot::channel();
    let listeners = listeners.clone();
    // A plain thread, because a runtime that shuts down waits for its blocking tasks. If it cannot
    // be started, there is no answer.
    let asking = move || answer.send(spoken(&listeners, port));
    if let Err(error) = thread::Builder::new().spawn(asking) {
        tracing::debug!(%error, "failed to ask what the gateway speaks");
    }
    answered
}

/// The protocol that the gateway speaks, found by a request for `/healthz`, as health checks send
/// it.
pub(super) fn spoken(listeners: &Listeners, port: u16) -> Spoken {
    let Some(to) = address(listeners, port) else {
        return Spoken::Unknown;
    };
    let request = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    // Only asked when necessary: a plain gateway may log a ClientHello as a bad request.
    let speaks_tls = || {
        let is_tls = |hello: Vec<u8>| answer(to, &hello).is_ok_and(|it| is_record(&it));
        client_hello().is_some_and(is_tls)
    };
    match answer(to, request) {
        Ok(answer) if is_record(&answer) => Spoken::Tls,
        // nginx answers 400 to plain HTTP on a TLS port.
        Ok(answer) if is_bad_request(&answer) && speaks_tls() => Spoken::Tls,
        Ok(_) => Spoken::Plain,
        // OpenSSL closes a connection that starts with plain HTTP without an answer.
        Err(_) if speaks_tls() => Spoken::Tls,
        Err(_) => Spoken::Unknown,
    }
}

/// The protocol that a gateway speaks on its port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Spoken {
    Plain,
    Tls,
    /// It did not answer, or nothing listens.
    Unknown,
}

/// The obstacle to reading a gateway's TLS with the given certificate and key.
pub(super) fn tls(spoken: Spoken, port: u16) -> Option<Obstacle> {
    match spoken {
        Spoken::Tls => None,
        Spoken::Plain => Some(Obstacle::new(
            format!("the gateway speaks plain HTTP on port {port}"),
            "leave out --cert and --key",
        )),
        Spoken::Unknown => Some(Obstacle::new(
            format!("no gateway answers on port {port}, so its certificate cannot be pinned"),
            "attach once it runs",
        )),
    }
}

/// The certificate that the gateway shows.
pub(super) fn certificate(listeners: &Listeners, port: u16) -> io::Result<(Fingerprint, usize)> {
    let to = address(listeners, port).ok_or(io::ErrorKind::NotConnected)?;
    let seen = Pinned::to_any();
    let config = seen.client().map_err(io::Error::other)?;
    let name = ServerName::from(to.ip());
    let mut connection = ClientConnection::new(Arc::new(config), name).map_err(io::Error::other)?;
    let mut stream = connect(to, ASK)?;
    stream.set_read_timeout(Some(ASK))?;
    stream.set_write_timeout(Some(ASK))?;
    let completed = connection.complete_io(&mut stream);
    match (seen.shown(), completed) {
        (Some(shown), _) => Ok(shown),
        (None, Err(error)) => Err(error),
        (None, Ok(_)) => Err(io::ErrorKind::InvalidData.into()),
    }
}

/// Advice about `--cert` and `--key`.
pub(super) const OWN_CERTIFICATE: &str =
    "give the gateway's own certificate and key (OpenClaw: gateway.tls.certPath and keyPath)";

/// Errors in the files of `--cert` and `--key`, under the names of these flags; empty unless all
/// errors are of this kind.
pub(super) fn identity(errors: &ConfigErrors) -> Vec<Obstacle> {
    let flag = |key: &str| match key.strip_prefix("listeners[0].tls.certificates[0].") {
        Some("cert") => Some("--cert"),
        Some("key") => Some("--key"),
        _ => None,
    };
    let named = errors.iter().map(|error| {
        let (flag, expected, found) = (flag(error.key_path())?, error.expected(), error.found());
        let advice = error.advice().unwrap_or(OWN_CERTIFICATE);
        let what = format!("{flag}: expected {expected}, found {found}");
        Some(Obstacle::new(what, advice))
    });
    named.collect::<Option<_>>().unwrap_or_default()
}

/// Checks that the certificate of `--cert` is the one that clients have seen so far.
pub(super) fn same_certificate(
    config: &Config,
    (shown, length): (Fingerprint, usize),
) -> Option<Obstacle> {
    let Some(ListenerTls::Files { identities, .. }) = config.listeners().first().map(|it| &it.tls)
    else {
        return None;
    };
    let shown = HEXLOWER.encode(&shown);
    let given = identities.first()?;
    let fingerprint = given.sha256_hex();
    let advice = OWN_CERTIFICATE;
    if fingerprint != shown {
        let what = format!(
            "--cert has the fingerprint sha256:{fingerprint}, and the gateway shows sha256:{shown}: clients would \
             see another certificate"
        );
        return Some(Obstacle::new(what, advice));
    }
    let own = given.chain_length();
    (own < length).then(|| {
        let what = format!(
            "the gateway shows {length} certificates, and --cert has {own}: clients may need the others"
        );
        Obstacle::new(what, advice)
    })
}

/// Whether the answer is a TLS handshake record or an alert (RFC 8446 section 5.1).
fn is_record(answer: &[u8]) -> bool {
    matches!(answer, [0x15 | 0x16, ..])
}

fn is_bad_request(answer: &[u8]) -> bool {
    answer.starts_with(b"HTTP/1.1 400") || answer.starts_with(b"HTTP/1.0 400")
}

fn client_hello() -> Option<Vec<u8>> {
    let config = Pinned::to_any().client().ok()?;
    let name = ServerName::try_from("localhost").ok()?;
    let mut connection = ClientConnection::new(Arc::new(config), name).ok()?;
    let mut hello = Vec::new();
    connection.write_tls(&mut hello).ok()?;
    Some(hello)
}

/// A connection to the gateway that an attached tap does not mistake for a client's.
fn connect(to: SocketAddr, limit: Duration) -> io::Result<TcpStream> {
    let socket = Socket::new(Domain::for_address(to), Type::STREAM, Some(Protocol::TCP))?;
    // Without the capability to set it, no tap can be attached either.
    let _ = socket.set_mark(redirected::MARK);
    socket.connect_timeout(&to.into(), limit)?;
    Ok(socket.into())
}

/// The beginning of the answer; fails if there is none.
fn answer(to: SocketAddr, request: &[u8]) -> io::Result<Vec<u8>> {
    let mut stream = connect(to, ASK)?;
    stream.set_read_timeout(Some(ASK))?;
    stream.write_all(request)?;
    let mut answer = vec![0; 16];
    let read = stream.read(&mut answer)?;
    if read == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    answer.truncate(read);
    // Read to the end: closing a connection with unread data resets it, which a gateway may log.
    stream.set_read_timeout(Some(REST))?;
    let _ = io::copy(&mut stream.take(ANSWER), &mut io::sink());
    Ok(answer)
}

/// Names of processes that hold published ports: of Docker, rootless Docker and Docker Desktop, and
/// of Podman with and without root.
const PUBLISHERS: [&str; 7] = [
    "docker-proxy",
    "rootlesskit",
    "com.docker.",
    "conmon",
    "rootlessport",
    "slirp4netns",
    "pasta",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_of_ipv4_is_not_all_of_ipv6() {
        let to_redirect = |addresses: &[&str]| {
            let addresses: Vec<IpAddr> = addresses.iter().map(|ip| ip.parse().unwrap()).collect();
            let listeners = Listeners {
                v6_only: addresses.iter().any(IpAddr::is_ipv4),
                addresses,
                holder: None,
            };
            let found = listeners.to_redirect();
            found.iter().map(IpAddr::to_string).collect::<Vec<_>>()
        };
        assert!(to_redirect(&[]).is_empty(), "nobody listens yet");
        assert!(to_redirect(&["::", "::1"]).is_empty());
        assert_eq!(to_redirect(&["0.0.0.0", "::"]), ["0.0.0.0", "::"]);
        assert_eq!(to_redirect(&["10.0.0.9", "::", "::1"]), ["10.0.0.9", "::"]);
        assert_eq!(to_redirect(&["0.0.0.0"]), ["0.0.0.0"]);
        assert_eq!(
            to_redirect(&["0.0.0.0", "127.0.0.1", "::1"]),
            ["0.0.0.0", "::1"]
        );
        assert_eq!(to_redirect(&["127.0.0.1", "::1"]), ["127.0.0.1", "::1"]);
    }
}
